"""Whole runs in which a request, a response, a row or the code fails."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from tap_compose.rows import Report
from tap_compose.sandbox.faults import Fault
from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.server import Sandbox
from tests.support.bodies import listed, sync_bodies
from tests.support.tap_runs import Output, config_for, sync

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SIZE = Size(deployments=4, events=300, recipes=3, seed=5)
ACCOUNT = Account(SIZE)
FIRST, SECOND = ACCOUNT.deployment_ids[:2]
(ID,) = ACCOUNT.ids
NOT_ALLOWED = "this token may not read it"
GONE = "it no longer exists or is being deprovisioned"
STREAMS = ("audit_events", "deployment_recipes", "deployments", "teams", "user")
REASON = "unexpected AttributeError: 'NoneType' object has no attribute 'encode'"


@pytest.fixture(scope="module")
def calm() -> Iterator[Output]:
    with Sandbox(SIZE) as sandbox:
        yield sync(config_for(sandbox))


def _run(*faults: str, streak: int = 0, **settings: Any) -> Output:
    parsed = [Fault.parse(each) for each in faults]
    with Sandbox(SIZE, faults=parsed, streak=streak) as sandbox:
        return sync(config_for(sandbox, **settings))


def _missing(output: Output) -> set[tuple[str, str, str]]:
    """What is missing, but for what the sandbox's leaving deployment always lacks."""
    return {each[:3] for each in output.missing if each[2] != ACCOUNT.leaving}


def _missing_rows(calm: Output, output: Output) -> set[tuple[str, str | None]]:
    """Stream and deployment of every row of the calm run that did not go out."""
    gone = set()
    for stream, rows in calm.rows.items():
        there = [json.dumps(row, default=str) for row in output.rows.get(stream, [])]
        for row in rows:
            if json.dumps(row, default=str) not in there:
                place = row.get("deployment_id") if stream.startswith("deployment_") else None
                gone.add((stream, row["id"] if stream == "deployment_details" else place))
    return gone


@pytest.mark.parametrize(
    ("fault", "stream", "deployment_id", "reason"),
    [
        (f"401:1:/deployments/{SECOND}/backups", "deployment_backups", SECOND, NOT_ALLOWED),
        (f"403:1:/deployments/{SECOND}/backups", "deployment_backups", SECOND, NOT_ALLOWED),
        (f"404:1:/deployments/{SECOND}/backups", "deployment_backups", SECOND, GONE),
        (f"410:1:/deployments/{SECOND}/backups", "deployment_backups", SECOND, GONE),
        ("401:1:/teams", "teams", "", NOT_ALLOWED),
        ("403:1:/audit_events", "audit_events", "", NOT_ALLOWED),
        ("404:1:/billables", "billables", "", "this account does not have it"),
        ("410:1:/billables", "billables", "", "this account does not have it"),
        (f"403:1:/accounts/{ID}/users", "account_users", "", f"account {ID}: {NOT_ALLOWED}"),
    ],
)
def test_what_is_refused_is_skipped_and_the_rest_goes_on(
    fault: str, stream: str, deployment_id: str, reason: str, calm: Output
) -> None:
    output = _run(fault)
    assert output.status == 0
    assert _missing(output) == {("skipped", stream, deployment_id)}
    assert f"{reason} (HTTP {fault[:3]} " in "".join(each[3] for each in output.missing)
    assert _missing_rows(calm, output) == {(stream, deployment_id or None)}


@pytest.mark.parametrize(
    "fault",
    ["408", "429", "503", "reset", "close", "cut", "length", "html", "empty", "list", "null"],
)
def test_what_may_pass_is_tried_again(
    fault: str, calm: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How requests are spaced after a 429 depends on the time, and is in tests/client/test_pace.py.
    monkeypatch.setattr("tap_compose.api.pace._SHORTEST_MEASUREMENT", 3600)
    # A connection that a fault spoiled may cost the next request on it a try of its own.
    output = _run(f"{fault}:1", streak=1, max_retries=4)
    assert (output.status, _missing(output)) == (0, set())
    assert (output.rows, output.bookmarks) == (calm.rows, calm.bookmarks)


@pytest.mark.parametrize("fault", ["503", "reset", "null", "redirect", "422"])
def test_what_stays_fails_alone(fault: str, calm: Output) -> None:
    output = _run(f"{fault}:1:/deployments/{FIRST}/alerts", f"{fault}:1:/datacenters")
    assert output.status == 1
    assert _missing(output) == {
        ("failed", "deployment_alerts", FIRST),
        ("failed", "deployment_health", FIRST),
        ("failed", "datacenters", ""),
    }
    assert _missing_rows(calm, output) <= {
        ("deployment_alerts", FIRST),
        ("deployment_health", FIRST),
        ("datacenters", None),
    }
    assert "datacenters" not in output.rows


def test_a_list_of_deployments_that_cannot_be_read_fails_their_streams(calm: Output) -> None:
    output = _run("503:1:/deployments")
    assert output.status == 1
    scoped = {each for each in calm.rows if each.startswith("deployment_")}
    assert output.rows.keys() == calm.rows.keys() - scoped - {"deployments"}
    assert _missing(output) == {("failed", each, "") for each in (*scoped, "deployments")}
    failed = [row for row in output.coverage if row["outcome"] == "failed"]
    assert {row["stream"] for row in failed} == {*scoped, "deployments"}
    assert {(row["deployment_id"], row["http_status"], row["row_count"]) for row in failed} == {
        ("", 503, 0)
    }


def test_a_token_that_dies_stops_the_run_and_coverage_and_state_are_out(
    calm: Output, caplog: pytest.LogCaptureFixture
) -> None:
    output = _run("dead-token:20", max_concurrency=1)
    assert output.status == 1
    assert 0 < len(output.rows) < len(calm.rows)
    assert output.bookmarks["audit_events"] == calm.bookmarks["audit_events"]
    errors = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert len(errors) == 1
    assert errors[0].startswith("stopped early: the API rejects this api_token")
    assert {row["outcome"] for row in output.coverage} == {"read"}
    counts = {row["stream"]: row["row_count"] for row in output.coverage}
    assert counts["account_users"] == len(output.rows["account_users"])
    assert "user" not in counts
    assert output.messages[-1]["type"] == "STATE"


def test_a_failed_deployment_keeps_its_bookmark(calm: Output) -> None:
    output = _run(f"503:1:/deployments/{SECOND}/recipes")
    partitions = output.bookmarks["deployment_recipes"]["partitions"]
    whole = calm.bookmarks["deployment_recipes"]["partitions"]
    assert partitions == [each for each in whole if each["context"]["deployment_id"] != SECOND]
    with Sandbox(SIZE) as sandbox:
        second = sync(
            config_for(sandbox, lookback_seconds=0),
            streams=["deployment_recipes"],
            state=output.state,
        )
    ids = {row["id"] for row in calm.rows["deployment_recipes"] if row["deployment_id"] == SECOND}
    assert ids <= {row["id"] for row in second.rows["deployment_recipes"]}


def test_a_stream_map_that_fails_on_a_row(
    sandbox: Sandbox, whole: Output, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    maps = {"user": {"name": "md5(name)"}, "teams": {"name": "name.nosuch"}}
    config = config_for(sandbox, stream_maps=maps, emit_activate_version_messages=True)
    output = sync(config, streams=list(STREAMS))
    assert output.status == 1
    assert [each["stream"] for each in output.of_type("ACTIVATE_VERSION")] == ["deployments"]
    complete = ("audit_events", "deployment_recipes", "deployments")
    assert output.rows == {each: whole.rows[each] for each in complete}
    assert output.bookmarks == {each: whole.bookmarks[each] for each in STREAMS}
    errors = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert errors[0].startswith("failed: teams: unexpected MapExpressionError: ")
    assert errors[1] == f"failed: user: {REASON}; LOGLEVEL=DEBUG shows where"
    assert errors[2].startswith("incomplete with 1 skipped, 2 failed: ")
    assert len(errors) == 3
    assert [each.levelname for each in caplog.records if each.exc_info] == ["DEBUG"] * 2


def test_a_bookmark_covers_only_what_was_written_before() -> None:
    """A recipe of the second of three deployments has no name."""

    def recipes(*names: str | None) -> dict[str, Any]:
        at = "2017-08-30T12:46:29Z"
        entries = ({"id": f"{n}", "name": each, "updated_at": at} for n, each in enumerate(names))
        return listed("recipes", *entries)

    bodies = {
        "/deployments": listed("deployments", {"id": "1"}, {"id": "2"}, {"id": "3"}),
        "/deployments/1/recipes": recipes("a", "b"),
        "/deployments/2/recipes": recipes("a", None),
        "/deployments/3/recipes": recipes("a", "b"),
        "/user": {"id": "u", "name": "U"},
    }
    streams = ("deployment_recipes", "user", "coverage")
    maps = {"deployment_recipes": {"name": "md5(name)"}}
    output = sync_bodies(bodies, *streams, stream_maps=maps)
    assert output.status == 1
    assert output.rows.keys() == {"deployment_recipes", "user"}
    partitions = output.bookmarks["deployment_recipes"]["partitions"]
    assert [each["context"]["deployment_id"] for each in partitions] == ["1"]
    assert {row["deployment_id"] for row in output.rows["deployment_recipes"]} <= {"1", "2"}
    outcomes = {row["deployment_id"]: row["outcome"] for row in output.coverage}
    assert outcomes == {"1": "read", "2": "failed", "3": "failed", "": "read"}


def test_a_bug_in_a_reader_fails_one_deployment(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_for(sandbox, emit_activate_version_messages=True)
    streams = ["deployment_backups", "deployment_portals", "teams"]
    expected = sync(config, streams=streams).rows
    deployment = expected["deployment_backups"][0]["deployment_id"]
    read = Report.read

    def broken(report: Report, body: bytes, injected: Mapping[str, Any]) -> Any:
        if injected.get("deployment_id") == deployment and b'"backups"' in body:
            raise StopIteration("made up")
        return read(report, body, injected)

    monkeypatch.setattr(Report, "read", broken)
    output = sync(config, streams=streams)
    assert output.status == 1
    (failed,) = (each for each in output.missing if each[0] == "failed")
    reason = "unexpected StopIteration: made up; LOGLEVEL=DEBUG shows where"
    assert failed == ("failed", "deployment_backups", deployment, reason)
    backups = expected.pop("deployment_backups")
    assert output.rows.pop("deployment_backups") == [
        row for row in backups if row["deployment_id"] != deployment
    ]
    assert output.rows == expected
    versions = [each["stream"] for each in output.of_type("ACTIVATE_VERSION")]
    assert versions == ["deployment_portals", "teams"]
