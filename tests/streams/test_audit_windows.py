"""No event lost, none twice, oldest first, over HTTP: however they are spread in time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from tap_compose.sandbox.data import NOW
from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.server import Sandbox
from tap_compose.streams.audit import AuditEvents
from tap_compose.streams.audit_windows import WindowTuning
from tests.support.tap_runs import Output, config_for, sync

HOUR = 3600 * 1000


def _at(*moments: int) -> list[int]:
    """Milliseconds, counted from a moment in the account's life."""
    start = int(datetime(2016, 5, 4, 3, 2, 1, tzinfo=timezone.utc).timestamp() * 1000)
    return sorted(start + each for each in moments)


SPREADS: dict[str, list[int]] = {
    "none": [],
    "one": _at(0),
    "a whole page": _at(*range(100)),
    "a page and one": _at(*range(101)),
    "two pages": _at(*range(0, 200_000, 1000)),
    "steady": _at(*range(0, 3000 * HOUR, HOUR)),
    "a burst on one instant": _at(*[5000] * 730, *range(0, 60_000, 100)),
    "bursts on two instants side by side": _at(*[5000] * 350, *[5001] * 350),
    "a burst in a second amid nothing": _at(
        0, *(9000 * HOUR + each % 1000 for each in range(1500)), 18_000 * HOUR
    ),
    "dense, then a gap of years, then dense": _at(
        *range(0, 900_000, 1000), *range(15_000 * HOUR, 15_000 * HOUR + 900_000, 1000)
    ),
    "ever denser": _at(*(int(1.012**each) for each in range(1, 1900))),
    "ever sparser": _at(*(-int(1.012**each) for each in range(1, 1700))),
}


def _sandbox(times: list[int], *, inclusive: bool = True) -> Sandbox:
    account = Account(Size(deployments=0, events=0, recipes=0))
    account.events.times.extend(times)
    return Sandbox(account=account, inclusive_bounds=inclusive)


def _ids(output: Output) -> list[str]:
    return [row["id"] for row in output.rows.get("audit_events", [])]


@pytest.mark.parametrize("inclusive", [True, False], ids=["inclusive", "exclusive"])
@pytest.mark.parametrize("spread", SPREADS)
def test_every_event_once_and_in_order(
    spread: str, inclusive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small windows, so that a thousand events meet every way of splitting.
    small = WindowTuning(most_pages=3)
    monkeypatch.setattr(AuditEvents, "window_tuning", small)
    with _sandbox(SPREADS[spread], inclusive=inclusive) as sandbox:
        output = sync(config_for(sandbox), streams=["audit_events"])
        events = sandbox.account.events
        assert sorted(_ids(output)) == [events.id_at(each) for each in range(len(events))]
    assert output.status == 0
    times = [row["created_at"] for row in output.rows.get("audit_events", [])]
    assert times == sorted(times)


@pytest.mark.parametrize("spread", SPREADS)
def test_reading_on_from_every_state_gives_the_rest(
    spread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = WindowTuning(most_pages=2)
    monkeypatch.setattr(AuditEvents, "window_tuning", small)
    with _sandbox(SPREADS[spread]) as sandbox:
        whole = sync(config_for(sandbox), streams=["audit_events"])
        seen: list[str] = []
        states = 0
        for message in whole.messages:
            if message["type"] == "RECORD":
                seen.append(message["record"]["id"])
            elif message["type"] == "STATE" and states < 6:
                states += 1
                rest = sync(
                    config_for(sandbox, lookback_seconds=0),
                    streams=["audit_events"],
                    state=message["value"],
                )
                assert sorted({*seen, *_ids(rest)}) == sorted(_ids(whole))
                # Twice come only the events at the instant of the bookmark.
                again = [row for row in rest.rows.get("audit_events", []) if row["id"] in seen]
                assert len({row["created_at"] for row in again}) <= 1


# In which order windows come back decides how the next are cut.
@pytest.mark.parametrize(("at_once", "share"), [(1, 1.4), (8, 1.4)])
def test_the_number_of_requests_stays_close_to_events_by_100(at_once: int, share: float) -> None:
    with Sandbox(Size(deployments=3, events=20_000, recipes=0)) as sandbox:
        output = sync(config_for(sandbox, max_concurrency=at_once), streams=["audit_events"])
        assert len(_ids(output)) == 20_000
        assert sandbox.log.counts["/audit_events"] <= share * 200


def test_an_empty_decade_costs_a_handful_of_requests() -> None:
    times = _at(*(15_000 * HOUR + each * 500 for each in range(4000)))
    with _sandbox(times) as sandbox:
        output = sync(config_for(sandbox, max_concurrency=1), streams=["audit_events"])
        assert len(_ids(output)) == 4000
        assert sandbox.log.counts["/audit_events"] <= 40 + 40


def test_an_account_without_events_costs_one_request() -> None:
    with _sandbox([]) as sandbox:
        output = sync(config_for(sandbox), streams=["audit_events"])
        assert sandbox.log.counts == {"/audit_events": 1}
    assert output.bookmarks == {"audit_events": {}}


class _Circle(Account):
    """An account whose pages lead in a circle."""

    def __init__(self) -> None:
        super().__init__(Size(deployments=0, events=300, recipes=0))
        page = self.events.page
        self.events.page = lambda **query: page(**{**query, "cursor": None})  # type: ignore[method-assign]


def test_a_cursor_that_repeats_fails_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    with Sandbox(account=_Circle()) as sandbox:
        output = sync(config_for(sandbox, max_retries=0), streams=["audit_events", "accounts"])
        events = sandbox.account.events
        oldest = [events.id_at(each) for each in range(len(_ids(output)))]
    assert output.status == 1
    assert "accounts" in output.rows
    # Windows that fit into one page are written, up to the first that does not.
    assert _ids(output) == oldest
    assert len(oldest) < 300
    assert "failed: audit_events: HTTP 200 with a page that leads to no next one" in caplog.text


class _Untimed(Account):
    """An account with events whose time is missing or none."""

    def __init__(self) -> None:
        super().__init__(Size(deployments=0, events=250, recipes=0))
        write = self.events.event_at

        def event_at(index: int) -> dict[str, Any]:
            event = write(index)
            if index % 50 == 7:
                event["created_at"] = (None, "soon", 12)[index // 50 % 3]
            return event

        self.events.event_at = event_at  # type: ignore[method-assign]


def test_an_event_without_a_time_goes_out_beside_its_neighbours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Sandbox(account=_Untimed()) as sandbox:
        output = sync(config_for(sandbox), streams=["audit_events"])
        assert _ids(output) == [sandbox.account.events.id_at(each) for each in range(250)]
    assert [row["created_at"] for row in output.rows["audit_events"]].count(None) == 5
    assert "field created_at: a value that is not a time becomes null" in caplog.text
    assert output.status == 0


def test_a_window_that_fails_holds_the_bookmark(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    small = WindowTuning(most_pages=1, first_pages=1)
    monkeypatch.setattr(AuditEvents, "window_tuning", small)
    account = Account(Size(deployments=0, events=1000, recipes=0))
    broken = account.events.times[500]
    write = account.events.event_at

    def event_at(index: int) -> dict[str, Any]:
        if index == 500:
            raise HTTPException(500)  # no other error keeps the connection open
        return write(index)

    account.events.event_at = event_at  # type: ignore[method-assign]
    with Sandbox(account=account) as sandbox:
        output = sync(
            config_for(sandbox, start_date="2015-03-02"), streams=["audit_events", "teams"]
        )
    assert output.status == 1
    assert "failed: audit_events: HTTP 500" in caplog.text
    assert "teams" in output.rows
    times = [row["created_at"] for row in output.rows["audit_events"]]
    limit = datetime.fromtimestamp(broken / 1000, timezone.utc)
    assert times
    assert max(times) < f"{limit.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
    assert output.bookmarks["audit_events"]["replication_key_value"] == max(times)


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
