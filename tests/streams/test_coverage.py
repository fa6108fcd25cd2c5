"""The stream ``coverage``: what a run read of each stream and deployment, and what not."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import Any

import pytest

from tap_compose.sandbox.faults import Fault
from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.server import Sandbox
from tests.support.contract import FIELDS
from tests.support.tap_runs import Output, config_for, sync

SIZE = Size(deployments=4, events=120, recipes=2, seed=5)
ACCOUNT = Account(SIZE)
FIRST, SECOND = ACCOUNT.deployment_ids[:2]
BY_DEPLOYMENT = sorted(each for each in FIELDS if each.startswith("deployment_"))
OF_ACCOUNT = sorted(FIELDS.keys() - set(BY_DEPLOYMENT))
SDK = {"flattening_enabled": True, "flattening_max_depth": 0}


def _run(*faults: str, streams: list[str] | None = None, **settings: Any) -> Output:
    with Sandbox(SIZE, faults=[Fault.parse(each) for each in faults]) as sandbox:
        return sync(config_for(sandbox, **settings), streams=streams)


def _outcomes(output: Output) -> dict[tuple[str, str], tuple[str, int | None, int]]:
    place = itemgetter("stream", "deployment_id")
    outcome = itemgetter("outcome", "http_status", "row_count")
    return {place(row): outcome(row) for row in output.coverage}


def test_a_row_for_each_stream_and_deployment_written_last() -> None:
    output = _run()
    outcomes = _outcomes(output)
    ids = ACCOUNT.deployment_ids
    assert len(output.coverage) == len(outcomes)
    assert outcomes.keys() == {
        *((stream, "") for stream in OF_ACCOUNT),
        *((stream, each) for stream in BY_DEPLOYMENT for each in ids),
    }
    written = Counter(
        (stream, (row.get("deployment_id") or row["id"]) if stream in BY_DEPLOYMENT else "")
        for stream, rows in output.rows.items()
        for row in rows
    )
    for place, (outcome, status, count) in outcomes.items():
        assert count == written[place]
        if place[1] == ACCOUNT.leaving:
            assert (outcome, count) == ("skipped", 0)
            assert status in {401, 404, 410}
        else:
            assert (outcome, status) == ("read", 200)
    assert all((row["reason"] is None) == (row["outcome"] == "read") for row in output.coverage)
    kinds = [each for each in output.messages if each["type"] != "STATE"]
    schema = next(each for each in kinds if each["stream"] == "coverage")
    assert schema["key_properties"] == ["stream", "deployment_id"]
    last = kinds[kinds.index(schema) :]
    assert {each["stream"] for each in last} == {"coverage"}
    assert output.messages[-1]["type"] == "STATE"


def test_what_was_not_read() -> None:
    output = _run(
        f"403:1:/deployments/{FIRST}/backups",
        f"503:1:/deployments/{SECOND}/alerts",
        "404:1:/billables",
        "422:1:/clusters",
        "no-id:1:/teams",
    )
    outcomes = _outcomes(output)
    assert outcomes["deployment_backups", FIRST] == ("skipped", 403, 0)
    assert outcomes["deployment_alerts", SECOND] == ("failed", 503, 0)
    assert outcomes["deployment_health", SECOND] == ("failed", 503, 0)
    assert outcomes["billables", ""] == ("skipped", 404, 0)
    assert outcomes["clusters", ""] == ("failed", 422, 0)
    assert outcomes["teams", ""] == ("failed", 200, len(output.rows["teams"]))
    reasons = {(row["stream"], row["deployment_id"]): row["reason"] for row in output.coverage}
    assert reasons["teams", ""] == "a row without its id"
    assert reasons["deployment_backups", FIRST] == (
        "this token may not read it (HTTP 403 Forbidden: struck by a fault)"
    )
    # The summary has the same.
    assert Counter(each[0] for each in output.missing) == Counter(
        row["outcome"] for row in output.coverage if row["outcome"] != "read"
    )


@pytest.mark.parametrize("settings", [{}, SDK], ids=["fast", "by the SDK"])
def test_no_row_was_extracted_before_its_read_at(settings: dict[str, Any]) -> None:
    output = _run(**settings)
    read_at = {(row["stream"], row["deployment_id"]): row["read_at"] for row in output.coverage}
    times: dict[tuple[str, str], set[str]] = {}
    for message in output.of_type("RECORD"):
        stream, row = message["stream"], message["record"]
        if stream != "coverage":
            deployment_id = row.get("deployment_id") or row["id"] if stream in BY_DEPLOYMENT else ""
            times.setdefault((stream, deployment_id), set()).add(message["time_extracted"])
    assert len(times) > len(FIELDS)
    for place, extracted in times.items():
        at = read_at[place]
        assert len(at) == len("2018-01-01T00:00:00.000Z")
        assert all(f"{each.rstrip('Z'):0<26}" >= at[:-1] for each in extracted)


def test_only_what_was_asked_for() -> None:
    streams = ["teams", "deployment_roles", "coverage"]
    output = _run(deployment_ids=[FIRST, "unknown"], streams=streams)
    assert _outcomes(output).keys() == {("teams", ""), ("deployment_roles", FIRST)}
