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
IDS = Account(SIZE).deployment_ids
OF_DEPLOYMENTS = {each for each in FIELDS if each.startswith("deployment_")}


def _run(*faults: str, streams: list[str] | None = None, **settings: Any) -> Output:
    with Sandbox(SIZE, faults=[Fault.parse(each) for each in faults]) as sandbox:
        config = config_for(sandbox, emit_activate_version_messages=True, **settings)
        return sync(config, streams=streams)


def _activated(output: Output) -> set[str]:
    return {message["stream"] for message in output.of_type("ACTIVATE_VERSION")}


@pytest.mark.parametrize(
    "settings",
    [{}, {"flattening_enabled": True, "flattening_max_depth": 0}],
    ids=["by the tap", "by the SDK"],
)
def test_it_comes_after_the_last_record_of_a_full_table(settings: dict[str, Any]) -> None:
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


def test_without_the_setting_there_is_none(whole: Output) -> None:
    assert whole.of_type("ACTIVATE_VERSION") == []
    assert all("version" not in message for message in whole.of_type("RECORD"))


@pytest.mark.parametrize(
    ("faults", "missing"),
    [
        *(
            (
                [f"{fault}:1:/deployments/{IDS[0]}/backups", f"{fault}:1:/clusters"],
                {"deployment_backups", "clusters"},
            )
            for fault in ("503", "403", "no-id")
        ),
        (["404:1:/deployments/*/whitelist"], {"deployment_whitelist"}),  # of every deployment
        (["410:1:/deployments/*/portals"], {"deployment_portals"}),
        (["404:1:/billables"], {"billables"}),
        (["no-id:1:/deployments"], {"deployments", *OF_DEPLOYMENTS, "coverage"}),
        (["503:1:/deployments"], {"deployments", *OF_DEPLOYMENTS, "coverage"}),
        (["403:1:/accounts"], {"accounts", "account_users", "coverage"}),
    ],
    ids=lambda each: "-".join(sorted(map(str, each))),
)
def test_not_if_anything_is_missing(faults: list[str], missing: set[str]) -> None:
    activated = _activated(_run(*faults))
    assert not activated & missing
    assert activated >= {"teams", "coverage"} - missing


def test_a_gone_deployment_does_not_hold_it_back() -> None:
    output = _run(f"410:1:/deployments/{IDS[0]}/whitelist", streams=["deployment_whitelist"])
    assert _activated(output) == {"deployment_whitelist"}


def test_not_if_only_some_deployments_or_streams_were_wanted() -> None:
    for settings in ({"deployment_ids": IDS[:2]}, {"deployment_shard": "1/2"}):
        assert _activated(_run(**settings)) == set()
    output = _run(streams=[*set(FIELDS) - {"user"}, "coverage"])
    assert "teams" in _activated(output)
    assert "coverage" not in _activated(output)


def test_an_account_without_deployments_has_no_rows() -> None:
    with Sandbox(Size(deployments=0, events=0)) as sandbox:
        config = config_for(sandbox, emit_activate_version_messages=True)
        output = sync(config, streams=["deployments", "deployment_addons"])
    assert _activated(output) == {"deployments", "deployment_addons"}
