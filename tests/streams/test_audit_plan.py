"""What the plan of the audit log costs, against an API that is simulated: no network, no clock.

A round trip is the time in which every request in flight is answered once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_compose.api.errors import ApiError
from tap_compose.streams.audit_pages import Page
from tap_compose.streams.audit_windows import Plan, Window, WindowTuning
from tap_compose.times import time_text, time_value

START, END = "2010-01-01T00:00:00.000Z", "2020-01-01T00:00:00.000Z"
ORIGIN = datetime(2012, 3, 1, tzinfo=timezone.utc)
TICK = timedelta(milliseconds=1)
HOUR = 3_600_000
YEAR = 8766 * HOUR
SIZE = 500


def _time(milliseconds: int) -> str:
    return time_text(ORIGIN + milliseconds * TICK)


class _Api:
    """Events by the millisecond; an event's id is its place in time."""

    def __init__(self, times: list[int], *, limit: int = 100, inclusive: bool = True) -> None:
        self.times = sorted(times)
        self.texts = [_time(each) for each in self.times]
        self.limit = limit
        self.is_inclusive = inclusive

    def page(self, newer_than: str, older_than: str, cursor: str | None = None) -> Page:
        low, high = ((time_value(each) - ORIGIN) // TICK for each in (newer_than, older_than))
        if not self.is_inclusive:
            low, high = low + 1, high - 1
        last = bisect_right(self.times, high)
        if cursor is not None:
            last = min(last, int(cursor))
        first = max(bisect_left(self.times, low), last - self.limit)
        places = range(last - 1, first - 1, -1)
        events: list[tuple[str, Any]] = [(self.texts[each], {"id": str(each)}) for each in places]
        return Page(events, len(events), SIZE * len(events))


@dataclass
class _Run:
    """What a run brought, and what it cost."""

    ids: list[str] = field(default_factory=list)
    requests: int = 0
    round_trips: int = 0
    moved_after: int | None = None
    reached: str = START
    most_held: int = 0


def _run(
    api: _Api, *, start: str = START, bookmark: str = "", at_once: int = 8, most_requests: int = -1
) -> _Run:
    """Fetch in round trips, until all is read or so many requests were answered."""
    run = _Run(reached=start)
    plan = Plan(start, END, since=start, at_once=at_once, tuning=WindowTuning())
    while True:
        in_flight: list[tuple[Window, dict[str, str]]] = []
        while len(in_flight) < at_once and (window := plan.next_window()) is not None:
            in_flight.append((window, window.paginator.next_query()))
        if not in_flight:
            return run
        run.round_trips += 1
        for window, query in in_flight:
            if run.requests == most_requests:
                return run
            run.requests += 1
            plan.add(window, api.page(**query))
            plan.end_request(window)
            held = sum(each.size for each in plan.windows)
            run.most_held = max(run.most_held, held // SIZE)
            while (batch := plan.take()) is not None:
                run.ids += [row["id"] for row in batch.events]
                run.reached = batch.reached
                if batch.bookmark > bookmark:
                    bookmark = batch.bookmark
                    run.moved_after = run.moved_after or run.round_trips


def _bursts(seed: int, count: int) -> list[int]:
    """Bursts of some seconds to days with gaps of seconds to months between them."""
    random, at = Random(seed), 0
    times: list[int] = []
    while len(times) < count:
        width = random.choice([20, 200, 3000, 60_000, HOUR, 24 * HOUR])
        size = random.choice([1, 3, 30, 300, 900, 1500])
        times += [at + random.randrange(width) for _ in range(size)]
        at += width + random.choice([1000, HOUR, 24 * HOUR, 720 * HOUR, 2880 * HOUR])
    return times[:count]


LOGS = {
    "even": [each * 3 * YEAR // 20_000 for each in range(20_000)],
    "bursts": _bursts(1, 6000),
    "other bursts": _bursts(2, 6000),
    "more bursts": _bursts(3, 6000),
    "ever sparser": [int(1.0024**each * 1000) for each in range(1, 7000)],
    "ever denser": [7 * YEAR - int(1.0024**each * 1000) for each in range(1, 7000)],
    "dense in 2 seconds": [3 * YEAR + each // 10 for each in range(20_000)],
    "two": [0, 7 * YEAR],
}


@pytest.mark.parametrize("at_once", [2, 8, 64])
@pytest.mark.parametrize("name", LOGS)
def test_the_bookmark_moves_within_six_round_trips_from_any_state(name: str, at_once: int) -> None:
    api, random = _Api(LOGS[name]), Random(name)
    for place in random.sample(range(len(api.times)), min(25, len(api.times))):
        bookmark = api.texts[place]
        if bookmark == api.texts[-1]:
            continue
        start = time_text(time_value(bookmark) + TICK)
        run = _run(api, start=start, bookmark=bookmark, at_once=at_once, most_requests=7 * at_once)
        assert run.moved_after is not None
        assert run.moved_after <= 6


@pytest.mark.parametrize("name", ["bursts", "other bursts", "more bursts"])
def test_a_run_that_is_killed_after_30_requests_again_and_again_comes_through(name: str) -> None:
    api, start = _Api(LOGS[name]), START
    found: set[str] = set()
    for _ in range(12):
        run = _run(api, start=start, at_once=2, most_requests=30)
        assert run.reached > start
        found.update(run.ids)
        start = run.reached
        if len(found) == len(api.times):
            break
    assert len(found) == len(api.times)


@pytest.mark.parametrize(
    ("count", "at_once", "most_requests", "most_round_trips"),
    [(100_000, 16, 1060, 73), (100_000, 1, 1110, 1110), (300_000, 16, 3150, 200)],
)
def test_an_even_log_costs_little_more_than_its_pages(
    count: int, at_once: int, most_requests: int, most_round_trips: int
) -> None:
    api = _Api([each * 3 * YEAR // count for each in range(count)])
    run = _run(api, at_once=at_once)
    assert len(run.ids) == count
    assert run.requests <= most_requests
    assert run.round_trips <= most_round_trips


@pytest.mark.parametrize("name", ["bursts", "other bursts", "more bursts"])
def test_bursts_and_gaps_cost_a_few_requests_each(name: str) -> None:
    run = _run(_Api(LOGS[name]), at_once=8)
    assert run.requests <= 200
    assert run.round_trips <= 35


@pytest.mark.parametrize("at_once", [1, 8, 64])
def test_what_waits_to_be_written_is_bounded(at_once: int) -> None:
    api = _Api([each * 3 * YEAR // 300_000 for each in range(300_000)])
    run = _run(api, at_once=at_once)
    assert len(run.ids) == 300_000
    assert run.most_held <= 2 * WindowTuning().most_held / SIZE


TIMES = st.one_of(
    st.lists(st.integers(0, 3000), max_size=300),
    st.lists(st.integers(0, 6 * YEAR), max_size=300),
    st.lists(st.sampled_from([0, 1, 15_000, YEAR]), max_size=300),
    st.builds(
        lambda first, step, size: [first + step * each for each in range(size)],
        st.integers(0, YEAR),
        st.integers(0, 40_000),
        st.integers(0, 900),
    ),
)
API = st.builds(
    _Api,
    st.builds(lambda a, b: a + b, TIMES, TIMES),
    limit=st.sampled_from([1, 2, 7, 50, 100]),
    inclusive=st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(API, st.integers(1, 12), st.randoms(use_true_random=False), st.booleans())
def test_every_event_once_and_in_order_whatever_comes_back_first(
    api: _Api, at_once: int, random: Random, has_failure: bool
) -> None:
    plan = Plan(START, END, since=START, at_once=at_once, tuning=WindowTuning(most_pages=3))
    in_flight: list[Any] = []
    times: list[str] = []
    reached = START
    error = ApiError("broken on purpose")
    while True:
        while len(in_flight) < at_once and (window := plan.next_window()) is not None:
            in_flight.append((window, window.paginator.next_query()))
        if not in_flight:
            break
        window, query = in_flight.pop(random.randrange(len(in_flight)))
        if has_failure and random.random() < 0.05:
            plan.end_request(window, error)
        else:
            plan.add(window, api.page(**query))
            plan.end_request(window)
        while (batch := plan.take()) is not None:
            if batch.error is not None:
                assert has_failure
                assert batch.error is error
                assert times == [each for each in api.texts if each < reached]
                return
            times += [api.texts[int(row["id"])] for row in batch.events]
            reached = batch.reached
            assert times == [each for each in api.texts if each < reached]
            assert batch.bookmark < reached
    assert times == api.texts
