"""The audit log of a server that does not keep to the contract, over real HTTP."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any

import pytest
from typing_extensions import override

from tap_compose.sandbox.data import formatted
from tap_compose.sandbox.events import EventLog
from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.server import Sandbox
from tap_compose.streams import audit_pages
from tap_compose.times import time_text
from tests.support.tap_runs import Output, config_for, sync

EMPTY = b'{"_embedded": {"audit_events": []}}'


class _Log(EventLog):
    """An audit log of 3,000 events."""

    def __init__(self) -> None:
        super().__init__("a" * 24, [], events=3000, seed=1)


def _run(log: EventLog, *, at_once: int = 8, start_date: str = "2010-01-01") -> tuple[Output, int]:
    """Sync the audit log, and another stream; return how many requests the log took too."""
    account = Account(Size(deployments=0, events=0, recipes=0))
    account.events = log
    with Sandbox(account=account) as sandbox:
        config = config_for(sandbox, max_retries=1, max_concurrency=at_once, start_date=start_date)
        output = sync(config, streams=["audit_events", "teams"])
        requests = sandbox.log.counts["/audit_events"]
    assert "teams" in output.rows
    return output, requests


def _assert_complete(output: Output, log: EventLog) -> None:
    rows = output.rows["audit_events"]
    assert sorted(row["id"] for row in rows) == [log.id_at(each) for each in range(len(log))]
    assert [row["created_at"] for row in rows] == sorted(row["created_at"] for row in rows)
    assert output.status == 0


def _assert_failed(output: Output, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    assert output.status == 1
    assert f"failed: audit_events: HTTP 200 with {reason}" in caplog.text
    # The time before the first event may be through.
    state = output.bookmarks.get("audit_events", {})
    first = datetime.fromtimestamp(_Log().times[0] / 1000, timezone.utc)
    assert state.get("replication_key_value", "") < time_text(first)
    assert "audit_events" not in output.rows


class _Capped(_Log):
    """The most events that a page holds are fewer than were asked for."""

    cap = 7

    @override
    def page(self, *, limit: int, **query: Any) -> bytes:
        return super().page(limit=min(limit, self.cap), **query)


@pytest.mark.parametrize("cap", [1, 2, 7, 50, 99])
def test_a_server_that_caps_limit_loses_no_event(cap: int) -> None:
    log = _Capped()
    log.cap = cap
    if cap < 7:
        del log.times[200:]
    output, requests = _run(log)
    _assert_complete(output, log)
    assert requests <= 3 * len(log) / cap + 20  # events in bursts: few pages are full


class _Late(_Log):
    """Events get their place in the order some seconds before or after their time."""

    most = 3

    def _lateness(self, index: int) -> timedelta:
        return timedelta(seconds=self.most) if index % 7 == 3 else timedelta(0)

    @override
    def event_at(self, index: int) -> dict[str, Any]:
        moment = datetime.fromtimestamp(self.times[index] / 1000, timezone.utc)
        late = formatted(moment + self._lateness(index), index)
        return super().event_at(index) | {"created_at": late}


@pytest.mark.parametrize("seconds", [3, 9, -9])
def test_events_out_of_order_by_seconds_are_all_there(seconds: int) -> None:
    log = _Late()
    log.most = seconds
    log.times[1000:2000] = range(log.times[1000], log.times[1000] + 500_000, 500)
    log.times.sort()
    output, _ = _run(log)
    _assert_complete(output, log)


def test_events_out_of_order_by_more_fail_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    log = _Late()
    log.most = 86_400 * 7
    output, _ = _run(log)
    _assert_failed(output, "events that are not in descending order: 20", caplog)


class _Ascending(_Log):
    """Pages hold their oldest event first."""

    @override
    def page(self, **query: Any) -> bytes:
        events = json.loads(super().page(**query))["_embedded"]["audit_events"]
        return json.dumps({"_embedded": {"audit_events": events[::-1]}}).encode()


def test_pages_in_ascending_order_fail_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    output, requests = _run(_Ascending())
    _assert_failed(output, "events that are not in descending order: 20", caplog)
    assert requests == 2  # it was read again once


class _Forgetful(_Log):
    """Some cursors are unknown, which looks like the end."""

    share = 3

    @override
    def page(self, *, cursor: int | None, **query: Any) -> bytes:
        if cursor is not None and cursor % self.share == 0:
            return EMPTY
        return super().page(cursor=cursor, **query)


@pytest.mark.parametrize("share", [1, 2, 3])
def test_a_cursor_that_the_server_no_longer_knows_loses_no_event(share: int) -> None:
    log = _Forgetful()
    log.share = share
    output, _ = _run(log)
    _assert_complete(output, log)


def test_forgotten_cursors_within_a_burst_fail_the_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = _Forgetful()
    log.share = 1
    log.times[:] = [log.times[0]] * 300
    output, _ = _run(log)
    reason = "an empty page where an earlier response held events"
    _assert_failed(output, reason, caplog)


def test_the_end_after_a_full_page_is_checked_with_one_request() -> None:
    log = _Log()
    log.times[:] = range(log.times[0], log.times[0] + 100 * 60_000, 60_000)
    first = datetime.fromtimestamp(log.times[0] / 1000, timezone.utc)
    output, requests = _run(log, start_date=first.isoformat())
    _assert_complete(output, log)
    assert requests == 3


class _Endless(_Log):
    """There is always a next page with new ids, from one and the same instant."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = count()

    @override
    def index_of(self, event_id: str) -> int:
        return int(event_id, 16)

    @override
    def page(self, *, limit: int, **query: Any) -> bytes:
        event = self.event_at(1000)
        events = [event | {"id": f"{next(self._numbers):024x}"} for _ in range(limit)]
        return json.dumps({"_embedded": {"audit_events": events}}).encode()


class _EndlessCircle(_Endless):
    """The same events for ever, but for the last one: there is always a new cursor."""

    @override
    def page(self, *, limit: int, **query: Any) -> bytes:
        events = [self.event_at(each) for each in range(1000, 1000 - limit + 1, -1)]
        last = events[-1] | {"id": f"{next(self._numbers):024x}"}
        return json.dumps({"_embedded": {"audit_events": [*events, last]}}).encode()


@pytest.mark.parametrize(
    ("log", "first", "reason"),
    [
        (_Endless, 1000, "page after page of events from 20"),
        (_EndlessCircle, 901, "events that are not in descending order: 20"),
    ],
)
def test_pages_without_end_fail_the_stream(
    log: type[_Endless],
    first: int,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(audit_pages, "MOST_STALLED", 100)
    endless = log()
    at = datetime.fromtimestamp(endless.times[first] / 1000, timezone.utc)
    output, requests = _run(endless, start_date=at.isoformat())
    _assert_failed(output, reason, caplog)
    assert requests <= 8 * 110


def test_a_server_that_ignores_the_bounds_fails_the_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    output, requests = _run(_Endless())
    _assert_failed(output, "an event of 2016-03-09T08:41:08.825Z, later than was requested", caplog)
    assert requests <= 20
