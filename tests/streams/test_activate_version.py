"""Deletes that can't eat good rows: ACTIVATE_VERSION after the last record, if all was read."""

from __future__ import annotations

from typing import Any

import pytest

from tap_compose.sandbox.faults import Fault
from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.server import Sandbox
from tests.support.contract import FIELDS, REPLICATION_KEYS
from tests.support.tap_runs import Output, config_for, sync

SIZE = Size(deployments=4, events=120, recipes=2, seed=5)
ACCOUNT = Account(SIZE)


def _run(*faults: str, streams: list[str] | None = None, **settings: Any) -> Output:
    with Sandbox(SIZE, faults=[Fault.parse(each) for each in faults]) as sandbox:
        config = config_for(sandbox, emit_activate_version_messages=True, **settings)
        return sync(config, streams=streams)


def _activated(output: Output) -> set[str]:
    return {message["stream"] for message in output.of_type("ACTIVATE_VERSION")}


@pytest.mark.parametrize("is_plain", [True, False], ids=["fast", "by the SDK"])
def test_it_comes_after_the_last_record_of_a_full_table(is_plain: bool) -> None:
    settings: dict[str, Any] = (
        {} if is_plain else {"flattening_enabled": True, "flattening_max_depth": 0}
    )
    output = _run(**settings)
    # The deployment that is leaving answers 404 and 410, but 401 for two: those are refused.
    refused = {"deployment_roles", "deployment_team_roles"}
    assert _activated(output) == {*FIELDS, "coverage"} - set(REPLICATION_KEYS) - refused
    versions = {message["version"] for message in output.of_type("ACTIVATE_VERSION")}
    assert len(versions) == 1
    for stream in _activated(output):
        messages = [each for each in output.messages if each.get("stream") == stream]
        assert [each["type"] for each in messages][-1] == "ACTIVATE_VERSION"
        assert {each["version"] for each in messages if each["type"] == "RECORD"} == versions


def test_without_the_setting_there_is_none() -> None:
    with Sandbox(SIZE) as sandbox:
        output = sync(config_for(sandbox))
    assert output.of_type("ACTIVATE_VERSION") == []
    assert all("version" not in message for message in output.of_type("RECORD"))


@pytest.mark.parametrize("fault", ["503", "403", "401", "no-id", "null", "422"])
def test_not_if_anything_is_missing(fault: str) -> None:
    path = f"/deployments/{ACCOUNT.deployment_ids[0]}/backups"
    output = _run(f"{fault}:1:{path}", f"{fault}:1:/clusters")
    if fault == "no-id":
        assert output.status == 1
    assert not {"deployment_backups", "clusters"} & _activated(output)
    assert {"deployment_portals", "teams"} <= _activated(output)


def test_not_if_every_deployment_is_gone() -> None:
    output = _run("404:1:/deployments/*/whitelist", "410:1:/deployments/*/portals")
    assert not {"deployment_whitelist", "deployment_portals"} & _activated(output)


def test_not_if_an_account_level_stream_is_missing() -> None:
    activated = _activated(_run("404:1:/billables", streams=["billables", "teams"]))
    assert activated == {"teams"}


def test_a_gone_deployment_does_not_hold_it_back() -> None:
    output = _run(f"410:1:/deployments/{ACCOUNT.deployment_ids[0]}/whitelist")
    assert "deployment_whitelist" in _activated(output)


def test_not_if_only_some_deployments_were_wanted() -> None:
    for settings in ({"deployment_ids": ACCOUNT.deployment_ids[:2]}, {"deployment_shard": "1/2"}):
        assert _activated(_run(**settings)) == set()


def test_not_if_a_deployment_in_the_list_has_no_id() -> None:
    output = _run("no-id:1:/deployments")
    assert output.status == 1
    assert not {each for each in _activated(output) if each.startswith("deployment")}


def test_not_if_the_list_cannot_be_read() -> None:
    assert not {each for each in _activated(_run("503:1:/deployments")) if "deployment" in each}


def test_an_account_without_deployments_has_no_rows() -> None:
    with Sandbox(Size(deployments=0, events=0)) as sandbox:
        config = config_for(sandbox, emit_activate_version_messages=True)
        output = sync(config, streams=["deployments", "deployment_addons"])
    assert _activated(output) == {"deployments", "deployment_addons"}


def test_coverage_keeps_what_a_run_did_not_ask_for() -> None:
    path = f"/deployments/{ACCOUNT.deployment_ids[0]}/backups"
    assert "coverage" in _activated(_run(f"503:1:{path}", "422:1:/clusters"))
    assert "coverage" not in _activated(_run(streams=[*set(FIELDS) - {"user"}, "coverage"]))
    for fault in ("503:1:/deployments", "403:1:/accounts", "no-id:1:/deployments", "dead-token:20"):
        output = _run(fault, max_concurrency=1)
        assert any(each["stream"] == "coverage" for each in output.of_type("SCHEMA"))
        assert "coverage" not in _activated(output)
