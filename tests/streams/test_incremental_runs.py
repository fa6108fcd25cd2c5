"""A second run with the first one's state brings what is new, and the overlap."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pytest

from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.server import Sandbox
from tests.support.tap_runs import config_for, sync

if TYPE_CHECKING:
    from tests.support.tap_runs import Output

STREAMS = ["audit_events", "deployment_recipes"]


def _before(text: str, seconds: float) -> str:
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ") - timedelta(seconds=seconds)
    return f"{moment.isoformat(timespec='milliseconds')}Z"


@pytest.fixture(scope="module")
def first(sandbox: Sandbox) -> Output:
    return sync(config_for(sandbox), streams=STREAMS)


@pytest.mark.parametrize("lookback", [0, 60, 86400])
def test_a_second_run_brings_only_the_overlap(
    lookback: int, sandbox: Sandbox, first: Output
) -> None:
    second = sync(
        config_for(sandbox, lookback_seconds=lookback), streams=STREAMS, state=first.state
    )
    events = first.rows["audit_events"]
    bookmark = events[-1]["created_at"]
    assert first.bookmarks["audit_events"]["replication_key_value"] == bookmark
    since = _before(bookmark, lookback)
    wanted = [row["id"] for row in events if row["created_at"] >= since]
    assert sorted(row["id"] for row in second.rows["audit_events"]) == sorted(wanted)

    recipes = first.rows["deployment_recipes"]
    oldest_first = sorted(recipes, key=itemgetter("updated_at"))
    newest = {row["deployment_id"]: row["updated_at"] for row in oldest_first}
    wanted = [
        row["id"]
        for row in recipes
        if row["updated_at"] >= _before(newest[row["deployment_id"]], lookback)
    ]
    assert sorted(row["id"] for row in second.rows["deployment_recipes"]) == sorted(wanted)
    assert second.bookmarks == first.bookmarks


def test_bookmarks_of_deployments_that_are_gone_are_pruned(first: Output, sandbox: Sandbox) -> None:
    gone = {
        "context": {"deployment_id": "f" * 24},
        "replication_key": "updated_at",
        "replication_key_value": "2018-01-01T00:00:00.000Z",
    }
    partitions = [*first.bookmarks["deployment_recipes"]["partitions"], gone]
    state = {"bookmarks": {"deployment_recipes": {"partitions": partitions}}}
    chosen = sandbox.account.deployment_ids[:1]
    second = sync(
        config_for(sandbox, deployment_ids=chosen), streams=["deployment_recipes"], state=state
    )
    # What deployment_ids leaves out is not gone.
    assert second.bookmarks["deployment_recipes"] == first.bookmarks["deployment_recipes"]


def test_a_shard_may_be_halved_and_both_halves_begin_with_its_state(sandbox: Sandbox) -> None:
    def recipes(shard: str, state: dict[str, Any] | None = None) -> list[tuple[str, str]]:
        output = sync(
            config_for(sandbox, deployment_shard=shard), streams=["deployment_recipes"], state=state
        )
        states.append(output.state)
        rows = output.rows.get("deployment_recipes", [])
        return sorted((row["deployment_id"], row["id"]) for row in rows)

    states: list[dict[str, Any]] = []
    recipes("1/2")
    again = recipes("1/2", states[0])
    halves = [recipes("1/4", states[0]), recipes("3/4", states[0])]
    assert all(halves)
    assert sorted(halves[0] + halves[1]) == again
    assert states == [states[0]] * 4


def test_an_event_of_the_time_after_the_start_waits_for_the_next_run() -> None:
    with Sandbox(account=Account(Size(deployments=1, events=120, recipes=1))) as sandbox:
        sandbox.account.events.add(datetime.now(timezone.utc) + timedelta(hours=1))
        output = sync(config_for(sandbox), streams=["audit_events"])
    assert len(output.rows["audit_events"]) == 120


@pytest.mark.parametrize(
    ("settings", "keep"),
    [
        ({"start_date": "2017-06-01"}, lambda at: at >= "2017-06-01"),
        ({"end_date": "2016-01-01T00:00:00+02:00"}, lambda at: at < "2015-12-31T22"),
        (
            {"start_date": "2016-01-01", "end_date": "2016-03-01"},
            lambda at: "2016-01-01" <= at < "2016-03-01",
        ),
    ],
)
def test_slices_of_the_audit_log(
    settings: dict[str, str], keep: Any, sandbox: Sandbox, first: Output
) -> None:
    output = sync(config_for(sandbox, **settings), streams=["audit_events"])
    wanted = [row for row in first.rows["audit_events"] if keep(row["created_at"])]
    assert wanted
    assert output.rows["audit_events"] == wanted


def test_an_event_on_the_edge_of_two_slices_is_in_the_later_one(
    sandbox: Sandbox, first: Output
) -> None:
    events = first.rows["audit_events"]
    edge = events[700]["created_at"]
    earlier, later = (
        sync(config_for(sandbox, **{bound: edge}), streams=["audit_events"])
        for bound in ("end_date", "start_date")
    )
    assert earlier.rows["audit_events"] + later.rows["audit_events"] == events
    assert later.rows["audit_events"][0]["created_at"] == edge


def test_a_slice_that_is_over_costs_two_requests_when_it_is_read_again(sandbox: Sandbox) -> None:
    config = config_for(sandbox, start_date="2016-01-01", end_date="2017-01-01")
    whole = sync(config, streams=["audit_events"])
    sandbox.log.clear()
    again = sync(config, streams=["audit_events"], state=whole.state)
    assert len(sandbox.log.paths) == 2  # the second one: is this all, or does the server cap limit?
    since = _before(whole.rows["audit_events"][-1]["created_at"], 60)
    overlap = [row for row in whole.rows["audit_events"] if row["created_at"] >= since]
    assert again.rows["audit_events"] == overlap
    assert again.bookmarks == whole.bookmarks


def test_the_later_of_start_date_and_bookmark_counts(sandbox: Sandbox, first: Output) -> None:
    start = first.rows["audit_events"][-5]["created_at"]
    output = sync(
        config_for(sandbox, start_date=start, lookback_seconds=10**7),
        streams=["audit_events"],
        state=first.state,
    )
    wanted = [row for row in first.rows["audit_events"] if row["created_at"] >= start]
    assert output.rows["audit_events"] == wanted


def test_an_end_date_before_the_bookmark_fetches_nothing(
    sandbox: Sandbox, first: Output, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.log.clear()
    output = sync(
        config_for(sandbox, end_date="2017-01-01"), streams=["audit_events"], state=first.state
    )
    assert output.rows == {}
    assert sandbox.log.paths == []
    assert output.bookmarks["audit_events"] == first.bookmarks["audit_events"]
    assert "end_date 2017-01-01T00:00:00.000Z is before the bookmark" in caplog.text
    assert output.status == 0
