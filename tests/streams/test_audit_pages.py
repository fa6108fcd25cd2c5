"""Which page of the audit log is the last, against an API that keeps to little: no network."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_compose.api.errors import UnreadableBodyError
from tap_compose.streams import audit_pages
from tap_compose.streams.audit_pages import PAGE, Page, Paginator, ServerHabits
from tap_compose.streams.audit_windows import Batch, Plan, Window, WindowTuning
from tap_compose.times import time_text, time_value

if TYPE_CHECKING:
    from random import Random

START, END = "2016-01-01T00:00:00.000Z", "2016-03-01T00:00:00.000Z"
ORIGIN = datetime(2016, 1, 20, tzinfo=timezone.utc)
SECOND = 1000


def _time(milliseconds: int) -> str:
    return time_text(ORIGIN + timedelta(milliseconds=milliseconds))


@dataclass
class _Api:
    """Events by the millisecond, each with a place in the order that its time need not give."""

    times: list[int]
    jitter: list[int] = field(default_factory=list)
    limit: int = PAGE
    inclusive: bool = True
    filters_places: bool = False
    repeated: frozenset[int] = frozenset()
    forgotten: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if self.limit < 3:  # two of the same would be a page without anything new
            self.repeated = frozenset()
        self.events: list[tuple[int, int, str]] = []
        jitter = self.jitter or [0]
        for number, at in enumerate(self.times):
            for _ in range(1 + (number in self.repeated)):
                insort(self.events, (at + jitter[number % len(jitter)], at, str(number)))
        self.events.reverse()

    def page(self, newer_than: str, older_than: str, cursor: str | None = None) -> Page:
        if cursor is not None and int(cursor) in self.forgotten:
            return Page([], 0)
        found = self.events
        if cursor is not None:
            places = [place for place, (_, _, id_) in enumerate(found) if id_ == cursor]
            found = found[places[-1] + 1 :]
        low, high = (
            round((time_value(each) - ORIGIN) / timedelta(milliseconds=1))
            for each in (newer_than, older_than)
        )
        slack = 0 if self.inclusive else 1
        found = [
            each
            for each in found
            if low + slack <= (each[0] if self.filters_places else each[1]) <= high - slack
        ][: self.limit]
        events: list[tuple[str, Any]] = [(_time(at), {"id": id_}) for _, at, id_ in found]
        return Page(events, len(events))


def _read(api: _Api, random: Random, *, at_once: int = 4, most_pages: int = 3) -> list[Batch]:
    """Fetch all events, the responses in any order."""
    tuning = WindowTuning(most_pages=most_pages, first_pages=1)
    plan = Plan(START, END, since=START, at_once=at_once, tuning=tuning)
    in_flight: list[tuple[Window, dict[str, str]]] = []
    done: list[Batch] = []
    for requests in count():
        assert requests < 20_000
        while len(in_flight) < at_once and (window := plan.next_window()) is not None:
            in_flight.append((window, window.paginator.next_query()))
        if not in_flight:
            break
        window, query = in_flight.pop(random.randrange(len(in_flight)))
        plan.add(window, api.page(**query))
        plan.end_request(window)
        while (batch := plan.take()) is not None:
            done.append(batch)
    return done


def _assert_complete(api: _Api, batches: list[Batch]) -> None:
    """Every event is there once; the oldest first, if the server keeps to the order of times."""
    times = {id_: _time(at) for _, at, id_ in api.events}
    ids = [row["id"] for batch in batches for row in batch.events]
    assert sorted(ids) == sorted(times)
    if not any(api.jitter):
        assert [times[each] for each in ids] == sorted(times.values())
        assert [batch.reached for batch in batches] == sorted(batch.reached for batch in batches)
    for batch in batches:
        assert all(times[row["id"]] < batch.reached for row in batch.events)


TIMES = st.one_of(
    st.lists(st.integers(0, 3 * SECOND), max_size=250),
    st.lists(st.integers(-5000 * SECOND, 5000 * SECOND), max_size=250),
    st.lists(st.sampled_from([0, 1, 15 * SECOND, 90 * SECOND]), max_size=250),
    st.builds(
        lambda first, step, size: [first + step * each for each in range(size)],
        st.integers(0, 100 * SECOND),
        st.integers(0, 40 * SECOND),
        st.integers(0, 600),
    ),
)
API = st.builds(
    _Api,
    TIMES,
    jitter=st.lists(st.integers(-5 * SECOND, 5 * SECOND), max_size=7),
    limit=st.sampled_from([1, 2, 3, 7, 50, 100, 100, 100]),
    inclusive=st.booleans(),
    filters_places=st.booleans(),
    repeated=st.frozensets(st.integers(0, 250), max_size=20),
)


@settings(max_examples=300, deadline=None)
@given(API, st.randoms(use_true_random=False))
def test_no_event_is_lost_whatever_the_server_caps_or_disorders(api: _Api, random: Random) -> None:
    _assert_complete(api, _read(api, random))


@settings(max_examples=300, deadline=None)
@given(API, st.data(), st.randoms(use_true_random=False))
def test_a_forgotten_cursor_loses_no_event_silently(
    api: _Api, data: st.DataObject, random: Random
) -> None:
    api.limit = max(api.limit, 2)
    numbers = st.integers(0, max(len(api.times) - 1, 0))
    api.forgotten = data.draw(st.frozensets(numbers) | st.just(frozenset(range(len(api.times)))))
    try:
        windows = _read(api, random)
    except UnreadableBodyError as error:
        assert "an earlier response held" in str(error)  # noqa: PT017
    else:
        _assert_complete(api, windows)


def _paginator() -> Paginator:
    return Paginator(START, END, ServerHabits())


def _page(*times: int, first: int = 0) -> Page:
    """A page with an event at each of these seconds."""
    events: list[tuple[str, Any]] = [
        (_time(at * SECOND), {"id": str(first + number)}) for number, at in enumerate(times)
    ]
    return Page(events, len(events))


def test_an_event_ten_seconds_out_of_order_is_tolerated_and_one_further_is_not() -> None:
    assert len(_paginator().read(_page(100, 50, 60, 40))) == 4
    reason = (
        "events that are not in descending order: 2016-01-20T00:01:01.000Z "
        "comes after 2016-01-20T00:00:50.000Z"
    )
    with pytest.raises(UnreadableBodyError, match=f"^HTTP 200 with {reason}$"):
        _paginator().read(_page(100, 50, 61, 40))


def test_the_order_holds_from_page_to_page() -> None:
    paginator = _paginator()
    paginator.read(_page(*range(1000, 900, -1)))
    query = paginator.next_query()
    with pytest.raises(UnreadableBodyError, match="not in descending order"):
        paginator.read(_page(912, 899, first=100))
    assert paginator.next_query() == query
    assert len(paginator.read(_page(911, 899, first=100))) == 2  # another response may be better
    assert paginator.is_complete


def test_a_page_that_reaches_back_before_the_window_is_the_last() -> None:
    paginator = Paginator(_time(0), END, ServerHabits())
    paginator.read(_page(*range(90, -10, -1)))
    assert not paginator.is_complete  # events up to ten seconds out of order may follow
    paginator.read(_page(*range(-10, -110, -1), first=100))
    assert paginator.is_complete


def test_a_page_shorter_than_the_longest_is_the_last() -> None:
    habits = ServerHabits()
    Paginator(START, END, habits).read(_page(*range(60, 20, -1)))
    assert (habits.longest, habits.is_full) == (40, False)
    paginator = Paginator(START, END, habits)
    paginator.read(_page(*range(60, 21, -1)))
    assert paginator.is_complete


def test_an_empty_page_after_a_full_one_is_requested_by_time() -> None:
    paginator = _paginator()
    assert "cursor" not in paginator.next_query()
    paginator.read(_page(*range(3000, 0, -30)))
    assert paginator.next_query()["cursor"] == "99"
    paginator.read(Page([], 0))
    assert paginator.next_query() == {
        "newer_than": "2015-12-31T23:59:59.999Z",
        "older_than": _time(40 * SECOND),  # the oldest is at 30 s
    }
    with pytest.raises(UnreadableBodyError, match="^HTTP 200 with an empty page where"):
        paginator.read(Page([], 0))
    paginator.read(_page(30, first=99))
    assert paginator.is_complete


def test_pages_that_stay_within_seconds_end_with_an_error() -> None:
    paginator = _paginator()
    reason = "page after page of events from 2016-01-20T00:00:00.000Z: 1000 brought no earlier ones"
    for number in range(audit_pages.MOST_STALLED + 1):
        paginator.read(_page(*[0] * PAGE, first=number * PAGE))
    with pytest.raises(UnreadableBodyError, match=f"^HTTP 200 with {reason}$"):
        paginator.read(_page(*[0] * PAGE, first=10**9))
