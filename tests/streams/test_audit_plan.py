"""The plan of the audit log against servers that are simulated: no network, no clock.

A round trip is the time in which every request in flight is answered once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_compose.api.errors import UnreadableBodyError
from tap_compose.streams.audit_windows import MOST_HELD, Plan
from tap_compose.times import moved, time_text, time_value

if TYPE_CHECKING:
    from collections.abc import Callable

START, END = "2010-01-01T00:00:00.000Z", "2020-01-01T00:00:00.000Z"
ORIGIN = datetime(2012, 3, 1, tzinfo=timezone.utc)
TICK = timedelta(milliseconds=1)
HOUR = 3_600_000
YEAR = 8766 * HOUR
SIZE = 500


def _time(milliseconds: int) -> str:
    return time_text(ORIGIN + milliseconds * TICK)


@dataclass
class _Server:
    """An audit log. Places are where events stand in its order, which their times need not give.

    Attributes:
        times: Of each event, in milliseconds; None for one without a time.
        shifts: By how much the place is later than the time, in turn.
        late: The request after which an event is there, for some of them.
    """

    times: list[int | None]
    shifts: list[int] = field(default_factory=lambda: [0])
    limit: int = 100
    inclusive: bool = True
    filters_places: bool = False
    ignored: str = ""
    forgotten: frozenset[int] = frozenset()
    repeating: frozenset[int] = frozenset()
    ascending: bool = False
    late: dict[int, int] = field(default_factory=dict)
    requests: int = 0

    def __post_init__(self) -> None:
        known = 0
        self.events: list[tuple[int, int, int | None]] = []
        for number, at in enumerate(self.times):
            known = known if at is None else at
            place = known + self.shifts[number % len(self.shifts)]
            self.events.append((place, number, at))
        self.events.sort(reverse=True)
        self.positions = {number: at for at, (_, number, _) in enumerate(self.events)}
        self.pages: dict[int, list[dict[str, Any]]] = {}

    @property
    def is_fair(self) -> bool:
        return not (self.forgotten or self.repeating or self.ignored or self.ascending)

    def page(
        self, newer_than: str, older_than: str, cursor: str | None = None
    ) -> list[dict[str, Any]]:
        self.requests += 1
        first = 0
        if cursor is not None:
            if int(cursor) in self.forgotten:
                return []
            if int(cursor) in self.repeating:
                return self.pages[int(cursor)]
            first = self.positions[int(cursor)] + 1
        low, high = ((time_value(each) - ORIGIN) // TICK for each in (newer_than, older_than))
        slack = 0 if self.inclusive else 1
        rows: list[dict[str, Any]] = []
        for place, number, at in self.events[first:]:
            key = place if self.filters_places or at is None else at
            is_newer = low + slack <= key or self.ignored == "newer_than"
            is_older = key <= high - slack or self.ignored == "older_than"
            if is_newer and is_older and self.late.get(number, 0) < self.requests:
                rows.append({"id": str(number), "created_at": None if at is None else _time(at)})
            if len(rows) == self.limit:
                break
        self.pages.update((int(row["id"]), rows) for row in rows)
        return rows[::-1] if self.ascending else rows


@dataclass
class _Run:
    """What a run brought, and what it cost."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0
    round_trips: float = 0.0
    moved_after: float | None = None
    bookmark: str = ""
    most_held: int = 0
    error: Exception | None = None

    @property
    def ids(self) -> list[int]:
        return [int(row["id"]) for row in self.rows]


def _run(
    server: _Server,
    *,
    start: str = START,
    bookmark: str = "",
    at_once: int = 8,
    most_requests: int = 30_000,
    next_answer: Callable[[int], int] | None = None,
) -> _Run:
    """Fetch until so many requests were answered.

    All requests in flight are answered at once, which is a round trip; or one at a time, that at
    the place which next_answer chooses of so many.
    """
    run, plan = _Run(bookmark=bookmark), Plan(start, END)
    in_flight: list[Any] = []
    while plan.windows and run.requests < most_requests:
        while len(in_flight) < at_once and (window := plan.next_window()) is not None:
            in_flight.append((window, window.query(plan.longest)))
        count = len(in_flight) if next_answer is None else 1
        run.round_trips += count / len(in_flight)
        for _ in range(min(count, most_requests - run.requests)):
            place = next_answer(len(in_flight)) if next_answer else 0
            window, query = in_flight.pop(place)
            run.requests += 1
            rows = server.page(**query)
            try:
                plan.add(window, rows, len(rows), SIZE * len(rows))
            except UnreadableBodyError as error:
                plan.fail(window, error)
            held = sum(each.size for each in plan.windows)
            run.most_held = max(run.most_held, held)
        while (taken := plan.take()) is not None:
            run.rows += taken
            if plan.bookmark > run.bookmark:
                run.bookmark = plan.bookmark
                run.moved_after = run.moved_after or run.round_trips
    run.error = plan.error
    return run


TIMES = st.one_of(
    st.lists(st.integers(0, 3000), max_size=150),
    st.lists(st.integers(0, 6 * YEAR), max_size=150),
    st.lists(st.sampled_from([0, 1, 15_000, 90_000, YEAR]), max_size=150),
    st.builds(
        lambda first, step, size: [first + step * each for each in range(size)],
        st.integers(0, YEAR),
        st.integers(0, 40_000),
        st.integers(0, 250),
    ),
)
NUMBERS = st.frozensets(st.integers(0, 150), max_size=20) | st.just(frozenset(range(500)))


@st.composite
def servers(draw: st.DrawFn) -> _Server:
    """Servers that keep to the contract, or break it in one way."""
    limit = draw(st.sampled_from([1, 2, 3, 7, 50, 100, 100]))
    times: list[int | None] = list(draw(TIMES))
    if limit < 7:
        times = times[:40]
    for number in draw(st.frozensets(st.integers(0, 150), max_size=3)):
        times[number : number + 1] = [None] if number < len(times) else []
    server = _Server(
        times,
        draw(st.lists(st.integers(-5000, 5000), min_size=1, max_size=7) | st.just([0])),
        limit,
        draw(st.booleans()),
        draw(st.booleans()),
    )
    match draw(st.sampled_from(["", "", "", "forgotten", "repeating", "ignored", "ascending"])):
        case "forgotten":
            server.forgotten = draw(NUMBERS)
            if limit == 1:  # nothing tells one event from others at its side that are forgotten
                distinct = sorted({at for at in times if at is not None})
                server = _Server([at + 2 * place for place, at in enumerate(distinct)], limit=1)
                server.forgotten = draw(NUMBERS)
        case "repeating":
            server.repeating = draw(NUMBERS)
        case "ignored":
            server.ignored = draw(st.sampled_from(["newer_than", "older_than"]))
        case "ascending":
            server.ascending = True
    return server


@settings(max_examples=300, deadline=None)
@given(servers(), st.integers(1, 12), st.randoms(use_true_random=False))
def test_all_events_ascending_or_an_error(server: _Server, at_once: int, random: Random) -> None:
    run = _run(server, at_once=at_once, next_answer=random.randrange)
    assert run.requests < 30_000
    assert len(set(run.ids)) == len(run.ids)
    times = [row["created_at"] for row in run.rows if row["created_at"]]
    assert times == sorted(times)
    if run.error is None:
        assert sorted(run.ids) == list(range(len(server.times)))
    else:
        assert not server.is_fair
        assert str(run.error).startswith("HTTP 200 with ")


@pytest.mark.parametrize("forgotten", [{4}, {3}, {2}, {1}, {0, 1, 2, 3, 4}])
def test_one_event_per_page_and_a_forgotten_cursor(forgotten: set[int]) -> None:
    server = _Server([each * 60_000 for each in range(5)], limit=1, forgotten=frozenset(forgotten))
    run = _run(server)
    if run.error is None:  # another window had the rest
        assert run.ids == [0, 1, 2, 3, 4]
    else:
        assert str(run.error) == (
            "HTTP 200 with pages that do not continue: the server has lost a cursor"
        )


def test_one_event_per_page_and_no_forgotten_cursor() -> None:
    assert _run(_Server([each * 60_000 for each in range(5)], limit=1)).ids == [0, 1, 2, 3, 4]


def test_an_event_that_arrives_before_a_page_is_checked_does_no_harm() -> None:
    # The page [01:00:30, 00:00:00], then [01:00:20, 00:00:00].
    server = _Server([0, 3_630_000, 3_620_000], late={2: 1})
    run = _run(server, at_once=1)
    assert (run.error, run.ids) == (None, [0, 2, 1])


@pytest.mark.parametrize("filters_places", [False, True])
def test_an_event_that_is_sorted_before_the_time_of_a_resumed_run(filters_places: bool) -> None:
    server = _Server([0, 8000], shifts=[0, -8100], filters_places=filters_places)
    assert _run(server, start=_time(1)).ids == [1]


def test_the_only_event_of_a_page_needs_no_time() -> None:
    assert _run(_Server([None])).ids == [0]


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [([100, 50, 60, 40], ""), ([100, 50, 61, 40], "events out of order: ")],
)
def test_ten_seconds_out_of_order_and_a_millisecond_more(seconds: list[int], reason: str) -> None:
    rows = [{"id": str(at), "created_at": _time(1000 * at)} for at in seconds]
    plan = Plan(START, END)
    window = plan.next_window()
    assert window is not None
    window.query(plan.longest)
    if reason:
        with pytest.raises(UnreadableBodyError, match=f"^HTTP 200 with {reason}"):
            plan.add(window, rows, 4, SIZE)
    else:
        plan.add(window, rows, 4, SIZE)


def _bursts(seed: int, count: int) -> list[int]:
    """Bursts of some seconds to days with gaps of seconds to months between them."""
    random, at = Random(seed), 0
    times: list[int] = []
    while len(times) < count:
        width = random.choice([20, 200, 3000, 60_000, HOUR, 24 * HOUR])
        size = random.choice([1, 3, 30, 300, 900, 1500])
        times += [at + random.randrange(width) for _ in range(size)]
        at += width + random.choice([1000, HOUR, 24 * HOUR, 720 * HOUR, 2880 * HOUR])
    return sorted(times[:count])


LOGS: dict[str, tuple[list[int], int, int]] = {
    "even": ([each * 3 * YEAR // 20_000 for each in range(20_000)], 232, 31),
    "bursts": (_bursts(1, 6000), 185, 26),
    "ever sparser": ([int(1.0024**each * 1000) for each in range(1, 7000)], 108, 18),
    "ever denser": ([7 * YEAR - int(1.0024**each * 1000) for each in range(6999, 0, -1)], 93, 15),
    "two seconds": ([3 * YEAR + each // 10 for each in range(20_000)], 268, 37),
    "empty decade": ([7 * YEAR + each * 500 for each in range(4000)], 73, 12),
    "none": ([], 1, 1),
}
"""Of each log the times, and the requests and round trips that it may take with 8 in flight."""

ORDERS: dict[str, Callable[[int], int] | None] = {
    "in round trips": None,
    "in the order of the requests": lambda _: 0,
    "the oldest request last": lambda count: min(1, count - 1),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", LOGS)
def test_what_a_log_costs(name: str, order: str) -> None:
    times, requests, round_trips = LOGS[name]
    run = _run(_Server(list(times)), next_answer=ORDERS[order])
    assert run.ids == list(range(len(times)))
    assert run.requests <= requests
    assert run.round_trips <= round_trips
    assert run.moved_after is None or run.moved_after <= 6 or "last" in order
    assert run.most_held <= 2 * MOST_HELD


def test_few_events_wait_for_older_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log begins long after the range, so the first windows are empty."""
    monkeypatch.setattr("tap_compose.streams.audit_windows.MOST_HELD", 1 << 20)
    run = _run(_Server([4 * YEAR + each * HOUR // 10 for each in range(20_000)]), at_once=16)
    assert run.ids == list(range(20_000))
    assert run.most_held <= 4 << 20
    assert run.moved_after is not None
    assert run.moved_after <= 6


@pytest.mark.parametrize("name", ["even", "ever denser", "bursts"])
def test_the_bookmark_of_a_resumed_run_moves_within_six_round_trips(name: str) -> None:
    times, random = LOGS[name][0], Random(name)
    for at, order in zip(random.sample(times[:-1], 6), [None, lambda _: 0] * 3, strict=True):
        bookmark = _time(at)
        start = moved(bookmark, timedelta(seconds=-60))
        run = _run(
            _Server(list(times)),
            start=start,
            bookmark=bookmark,
            most_requests=56,
            next_answer=order,
        )
        assert run.moved_after is not None
        assert run.moved_after <= 6


@pytest.mark.parametrize(("at_once", "most_requests"), [(1, 30), (8, 64)])
def test_a_run_that_is_killed_again_and_again_comes_through(
    at_once: int, most_requests: int
) -> None:
    times = LOGS["bursts"][0]
    found: set[int] = set()
    start, bookmark = START, ""
    for _ in range(8):
        run = _run(
            _Server(list(times)),
            start=start,
            bookmark=bookmark,
            at_once=at_once,
            most_requests=most_requests,
        )
        found.update(run.ids)
        bookmark = run.bookmark
        start = moved(bookmark, timedelta(seconds=-60))
    assert len(found) == len(times)
