"""States of every kind: what a run reads from them, and what it writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import pytest

from tests.support.bodies import listed, sync_bodies
from tests.support.contract import REPLICATION_KEYS
from tests.support.tap_runs import config_for, sync

if TYPE_CHECKING:
    from tap_compose.sandbox.server import Sandbox
    from tests.support.tap_runs import Output

BOOKMARK = "2018-05-01T00:00:00.000Z"


def _state(**streams: Any) -> dict[str, Any]:
    return {"bookmarks": streams}


def _at(value: str, key: str = "created_at") -> dict[str, str]:
    return {"replication_key": key, "replication_key_value": value}


def test_two_full_reads_are_identical_at_any_concurrency(sandbox: Sandbox, whole: Output) -> None:
    def lines(output: Output) -> list[Any]:
        return [(each["stream"], each["record"]) for each in output.of_type("RECORD")]

    for row in whole.coverage:
        row["read_at"] = ANY
    for concurrency in (1, 16):
        again = sync(config_for(sandbox, max_concurrency=concurrency))
        assert lines(again) == lines(whole)


def test_full_table_streams_write_no_partitions(whole: Output) -> None:
    for stream, bookmark in whole.bookmarks.items():
        if stream not in REPLICATION_KEYS:
            assert bookmark == {}


def test_the_first_and_the_last_time_there_is(
    sandbox: Sandbox, whole: Output, caplog: pytest.LogCaptureFixture
) -> None:
    streams = list(REPLICATION_KEYS)
    ids = sandbox.account.deployment_ids
    for time, is_first in (("0001-01-01", True), ("9999-12-31T23:59:59.999Z", False)):
        recipes = [{"context": {"deployment_id": each}, **_at(time, "updated_at")} for each in ids]
        state = _state(audit_events=_at(time), deployment_recipes={"partitions": recipes})
        for output in (
            sync(config_for(sandbox, start_date=time), streams=streams),
            sync(config_for(sandbox), streams=streams, state=state),
        ):
            assert output.status == 0
            for stream in streams:
                wanted = whole.rows[stream] if is_first else None
                assert output.rows.get(stream) == wanted
    assert output.bookmarks["audit_events"] == _at(time)
    assert f"the bookmark of audit_events is in the future ({time})" in caplog.text


@pytest.mark.parametrize(
    "state",
    [
        {"type": "STATE", "value": _state(audit_events=_at(BOOKMARK))},
        {"singer_state": _state(audit_events=_at(BOOKMARK))},
        _state(audit_events=_at("2018-05-01T02:00:00+02:00")),
        _state(audit_events={"replication_key_value": BOOKMARK}),
        _state(
            audit_events={
                **_at(BOOKMARK),
                "starting_replication_value": "2017-01-01",
                "progress_markers": {"Note": "x", **_at("2018-05-20T00:00:00Z")},
            }
        ),
    ],
    ids=[
        "a whole message",
        "of Meltano",
        "another spelling",
        "no key",
        "of an interrupted run of the SDK's",
    ],
)
def test_states_that_are_understood(state: dict[str, Any], sandbox: Sandbox) -> None:
    output = sync(config_for(sandbox, lookback_seconds=0), streams=["audit_events"], state=state)
    times = [row["created_at"] for row in output.rows["audit_events"]]
    assert times
    assert min(times) >= BOOKMARK
    bookmark = output.bookmarks["audit_events"]
    assert bookmark == _at(max(times))


def test_a_bookmark_never_moves_back(sandbox: Sandbox) -> None:
    late = _at("2018-06-01T11:59:59.000Z")
    for state in (late, {"replication_key_value": late["replication_key_value"]}):
        output = sync(
            config_for(sandbox, lookback_seconds=10**7),
            streams=["audit_events"],
            state=_state(audit_events=dict(state)),
        )
        assert output.rows["audit_events"]
        assert output.bookmarks["audit_events"] == state


def test_a_bookmark_is_never_later_than_the_start_of_the_run() -> None:
    """Whatever a clock that is ahead made of a recipe."""
    recipe = {"id": "r", "updated_at": "2999-01-01T00:00:00.000Z"}
    bodies = {"/deployments/d/recipes": listed("recipes", recipe)}
    first = sync_bodies(bodies, "deployment_recipes")
    assert first.tap is not None
    (partition,) = first.bookmarks["deployment_recipes"]["partitions"]
    assert partition["replication_key_value"] == first.tap.run.started
    (row,) = sync_bodies(bodies, "deployment_recipes", state=first.state).rows["deployment_recipes"]
    assert row["updated_at"] == recipe["updated_at"]
