"""Runs that read the audit log over HTTP: rows, states and exit statuses."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from starlette.exceptions import HTTPException
from typing_extensions import override

from tap_compose.sandbox.data import NOW
from tap_compose.sandbox.events import EventLog
from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.server import Sandbox
from tap_compose.streams import audit_windows
from tests.support.tap_runs import Output, config_for, sync

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR = 3600 * 1000
FIRST = int(datetime(2016, 5, 4, 3, 2, 1, tzinfo=timezone.utc).timestamp() * 1000)
SPREADS: dict[str, list[int]] = {
    "none": [],
    "two pages": [*range(0, 200_000, 1000)],
    "a burst on one instant": sorted([5000] * 730 + [*range(0, 60_000, 100)]),
    "dense, then a gap of years, then dense": [
        *range(0, 900_000, 1000),
        *range(15_000 * HOUR, 15_000 * HOUR + 900_000, 1000),
    ],
    "before 2010": [-100_000 * HOUR, 0],
}


class _Log(EventLog):
    """An audit log."""

    def __init__(self, times: list[int]) -> None:
        super().__init__("a" * 24, [], events=0, seed=1)
        self.times = [FIRST + each for each in times]


def _sandbox(log: EventLog, *, inclusive: bool = True) -> Sandbox:
    account = Account(Size(deployments=0, events=0, recipes=0))
    account.events = log
    return Sandbox(account=account, inclusive_bounds=inclusive)


def _ids(output: Output) -> list[str]:
    return [row["id"] for row in output.rows.get("audit_events", [])]


@pytest.mark.parametrize("inclusive", [True, False], ids=["inclusive", "exclusive"])
@pytest.mark.parametrize("spread", SPREADS)
def test_every_event_once_and_the_rest_from_every_state(spread: str, inclusive: bool) -> None:
    log = _Log(SPREADS[spread])
    with _sandbox(log, inclusive=inclusive) as sandbox:
        whole = sync(config_for(sandbox), streams=["audit_events"])
        assert whole.status == 0
        assert sorted(_ids(whole)) == [log.id_at(each) for each in range(len(log))]
        times = [row["created_at"] for row in whole.rows.get("audit_events", [])]
        assert times == sorted(times)
        states = [each["value"] for each in whole.of_type("STATE")]
        for state in states[len(states) // 2 :][:2]:
            entry = state["bookmarks"].get("audit_events", {})
            bookmark = entry.get("replication_key_value", "")
            rest = sync(
                config_for(sandbox, lookback_seconds=0), streams=["audit_events"], state=state
            )
            wanted = [
                row for row in whole.rows.get("audit_events", []) if row["created_at"] >= bookmark
            ]
            assert rest.rows.get("audit_events", []) == wanted


def test_the_number_of_requests_stays_close_to_events_by_100() -> None:
    """With one in flight; with more of them it depends on the order of the responses."""
    with Sandbox(Size(deployments=3, events=10_000, recipes=0)) as sandbox:
        output = sync(config_for(sandbox, max_concurrency=1), streams=["audit_events"])
        assert len(_ids(output)) == 10_000
        assert sandbox.log.counts["/audit_events"] <= 140


def test_an_account_without_events_costs_one_request() -> None:
    with _sandbox(_Log([])) as sandbox:
        output = sync(config_for(sandbox), streams=["audit_events"])
        assert sandbox.log.counts == {"/audit_events": 1}
    assert output.bookmarks == {"audit_events": {}}


EMPTY = b'{"_embedded": {"audit_events": []}}'


class _Odd(_Log):
    """An audit log of 300 events whose pages are not as they should be."""

    def __init__(self, how: Callable[[_Odd, Callable[..., bytes], dict[str, Any]], bytes]) -> None:
        super().__init__([*range(0, 300 * HOUR, HOUR)])
        self.how, self.numbers = how, count(1 << 60)

    @override
    def index_of(self, event_id: str) -> int:
        return int(event_id[8:], 16)

    @override
    def page(self, **query: Any) -> bytes:
        return self.how(self, super().page, query)

    def new(self, at: int) -> dict[str, Any]:
        """Return an event that was not there before."""
        return self.event_at(at) | {"id": f"{next(self.numbers):024x}"}


def _body(events: list[dict[str, Any]]) -> bytes:
    return json.dumps({"_embedded": {"audit_events": events}}).encode()


def _capped(_log: _Odd, page: Callable[..., bytes], query: dict[str, Any]) -> bytes:
    return page(**{**query, "limit": 7})


def _ascending(_log: _Odd, page: Callable[..., bytes], query: dict[str, Any]) -> bytes:
    return _body(json.loads(page(**query))["_embedded"]["audit_events"][::-1])


def _forgetful(_log: _Odd, page: Callable[..., bytes], query: dict[str, Any]) -> bytes:
    return EMPTY if query["cursor"] is not None else page(**query)


def _repeating(_log: _Odd, page: Callable[..., bytes], query: dict[str, Any]) -> bytes:
    return page(**{**query, "cursor": None})


def _endless(log: _Odd, _page: Callable[..., bytes], query: dict[str, Any]) -> bytes:
    return _body([log.new(299) for _ in range(query["limit"])])


def _unbounded(_log: _Odd, page: Callable[..., bytes], query: dict[str, Any]) -> bytes:
    return page(**{**query, "older_than": None})


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (_capped, None),
        (_ascending, "events out of order: 2016-05-1"),
        (_forgetful, "pages that do not continue: the server has lost a cursor"),
        (_repeating, "events out of order: 2016-05-1"),
        (_endless, "page after page of events from 2016-05-16"),
        (_unbounded, "events out of order: 2016-05-1"),
    ],
)
def test_odd_pages_are_complete_or_fail_the_stream(
    how: Any, reason: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audit_windows, "MOST_EVENTS", 2000)
    log = _Odd(how)
    # So that the newest page is not all that an endless log is read from.
    start = "2016-05-16T00:00:00Z" if how is _endless else "2010-01-01"
    with _sandbox(log) as sandbox:
        config = config_for(sandbox, max_retries=1, start_date=start)
        output = sync(config, streams=["audit_events", "teams"])
    assert "teams" in output.rows
    if reason is None:
        assert output.status == 0
        assert sorted(_ids(output)) == [log.id_at(each) for each in range(len(log))]
    else:
        assert output.status == 1
        assert f"failed: audit_events: HTTP 200 with {reason}" in caplog.text
        state = output.bookmarks.get("audit_events", {}).get("replication_key_value", "")
        assert [row["created_at"] for row in output.rows.get("audit_events", [])][-1:] in (
            [],
            [state],
        )


def test_an_event_without_a_time_goes_out_beside_its_neighbours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    account = Account(Size(deployments=0, events=250, recipes=0))
    write = account.events.event_at
    bad = {7: None, 57: "soon", 107: 12, 157: None, 207: "soon"}
    account.events.event_at = lambda index: (  # type: ignore[method-assign]
        write(index) | ({"created_at": bad[index]} if index in bad else {})
    )
    with Sandbox(account=account) as sandbox:
        output = sync(config_for(sandbox), streams=["audit_events"])
        assert _ids(output) == [account.events.id_at(each) for each in range(250)]
    assert [row["created_at"] for row in output.rows["audit_events"]].count(None) == 5
    assert "field created_at: a value that is not a time becomes null" in caplog.text
    assert output.status == 0


def test_a_window_that_fails_holds_the_bookmark(caplog: pytest.LogCaptureFixture) -> None:
    account = Account(Size(deployments=0, events=1000, recipes=0))
    write = account.events.event_at

    def event_at(index: int) -> dict[str, Any]:
        if index == 500:
            raise HTTPException(500)  # no other error keeps the connection open
        return write(index)

    account.events.event_at = event_at  # type: ignore[method-assign]
    with Sandbox(account=account) as sandbox:
        output = sync(config_for(sandbox), streams=["audit_events", "teams"])
    assert output.status == 1
    assert "failed: audit_events: HTTP 500" in caplog.text
    assert "teams" in output.rows
    assert _ids(output) == [account.events.id_at(each) for each in range(len(_ids(output)))]
    assert 0 < len(_ids(output)) <= 500
    bookmark = output.bookmarks["audit_events"]["replication_key_value"]
    assert bookmark == output.rows["audit_events"][-1]["created_at"]


def test_new_events_on_the_instant_of_the_bookmark_are_not_lost() -> None:
    with Sandbox(Size(deployments=0, events=10, recipes=0)) as sandbox:
        moment = NOW + timedelta(minutes=5)
        sandbox.account.events.add(moment)
        first = sync(config_for(sandbox), streams=["audit_events"])
        late = sandbox.account.events.add(moment)
        second = sync(
            config_for(sandbox, lookback_seconds=0), streams=["audit_events"], state=first.state
        )
    assert late in _ids(second)
