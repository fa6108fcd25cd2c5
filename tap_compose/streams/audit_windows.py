"""Which pages of the audit log to request, and which events to write: no network, no clock.

The API returns the newest event first, but events are written oldest first. So the range of time
is cut into windows, and each reads its pages from its newest event to its oldest. The oldest
window that wants a page comes first. If a page shows that much more is to come, the start of what
is unread becomes another window; a free slot reads half of what the fullest window has left. A
page shorter than the longest page of the run is the last one of its window: a server may cap
``limit``. Any other page is followed by a request with the last event but one as its cursor: the
last event must come again, or the server has lost its place. A server may sort and filter by a
time some seconds from ``created_at``. So the range is requested 10 seconds wider on both sides,
an event counts whatever window it comes with, and events are written up to 10 seconds before
the first one that is not read yet. A page that contradicts any of this is an error.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tap_compose.api.errors import UnreadableBodyError
from tap_compose.times import FIRST_TIME, moved, time_text, time_value

if TYPE_CHECKING:
    from tap_compose.api.errors import ApiError
    from tap_compose.rows import Row

PAGE = 100
"""Events per request: the most that the API allows."""

TOLERANCE = timedelta(seconds=10)
"""How far the server's order and bounds may be from the times of the events."""

MOST_EVENTS = 100_000
"""Events that a window may have: so many can only be those of a few seconds, or never end."""

MOST_PAGES = 16
"""Pages that a window is meant to hold at most: it is written as a whole. With 16 the last page,
half full on average, costs 3 % more requests."""

MOST_HELD = 16 << 20
"""Bytes of bodies that may wait for older events, about: those of 16 windows of 16 pages."""

_OPENED = "2010-01-01T00:00:00.000Z"
"""When the service began: what is older, if anything is, comes with the first window."""

_FIRST_WIDTH, _GROWTH = timedelta(minutes=2), 16
"""The width of the first window, and how many times wider the next is while all are empty: six of
them, which are in flight at once, reach four years."""

_FRONT = 4
"""Windows that are meant to hold the same number of pages: the bookmark waits for the oldest."""

_LAST_EVENTS, _NEAR = 50, 8
"""Events of a page that tell how close together the next ones are: its older half, and for as many
windows as are in flight by default."""

_NO_TIME, _TICK = timedelta(), timedelta(milliseconds=1)
"""Bounds may be inclusive or not, so each is a tick wider than what is wanted."""


class Window:
    """The events from one time to another.

    Args:
        start: The first instant, a canonical time.
        end: The instant after the last.
        older_than: The upper bound of its requests.
        spacing: The time from one event to the next; zero if it is not known.

    Attributes:
        events: What was read by id, each event with its time; the newest first.
        size: How many bytes the bodies had.
        is_in_flight: Whether a page is on its way.
        is_done: Whether no further page is wanted.
    """

    def __init__(self, start: str, end: str, older_than: str, spacing: timedelta) -> None:
        self.start, self.end, self.spacing, self.size, self._entries = start, end, spacing, 0, 0
        self.events: dict[str, tuple[str, Row]] = {}
        self.is_in_flight = self.is_done = self._is_check = False
        self._newer_than, self._older_than = start, older_than
        self._lowest = self._above = older_than  # of all events, of the one at the cursor
        self._cursor: str | None = None
        self._repeated: str | None = None  # the event that must come again

    @property
    def width(self) -> timedelta:
        """The time from start to end."""
        return time_value(self.end) - time_value(self.start)

    @property
    def unread(self) -> timedelta:
        """The time before the oldest event, if a next page is to bring earlier ones."""
        is_known = not (self.is_done or self._is_check or self._cursor is None)
        return time_value(self._lowest) - time_value(self.start) if is_known else _NO_TIME

    @property
    def expected(self) -> float:
        """How many events are to come, if they are as close together as the last ones."""
        return self.unread / self.spacing if self.spacing and self.unread >= 4 * _TICK else 0.0

    def query(self, longest: int) -> dict[str, str]:
        """Return the query parameters of the next page; longest is that of the run."""
        is_lone = self._entries == longest == 1  # so that older events prove the cursor
        is_wide = self._repeated is not None if self._is_check else is_lone
        self._newer_than = FIRST_TIME if is_wide else moved(self.start, -_TICK)
        query = {"newer_than": self._newer_than, "older_than": self._older_than}
        return query if self._cursor is None else {**query, "cursor": self._cursor}

    def add(self, rows: list[Row], entries: int, longest: int) -> None:
        """Take a page.

        Args:
            rows: Its events.
            entries: How many entries it has, events or not.
            longest: The entries of the longest page of the run.

        Raises:
            UnreadableBodyError: If the page contradicts what is known; nothing has changed then.
        """
        ids, times = [row["id"] for row in rows], self._times_of(rows)
        has_news = not self.events.keys() >= set(ids)
        lowest = min([self._lowest, *times]) if has_news else self._lowest
        is_last = self._is_check or entries < longest or lowest < moved(self.start, -TOLERANCE)
        # At a check the last event must come, or nothing new if its page had no other.
        if self._is_check and (self._repeated not in ids if self._repeated else has_news):
            raise UnreadableBodyError("pages that do not continue: the server has lost a cursor")
        is_end = not self._is_check and entries < longest <= self._entries
        is_lost = is_end and self._repeated not in ids
        if not (is_last or has_news):
            raise UnreadableBodyError("a page that leads to no next one")
        if len(self.events) >= MOST_EVENTS:
            raise UnreadableBodyError(f"page after page of events from {lowest}: they never end")
        for id_, at, row in zip(ids, times, rows, strict=True):
            self.events.setdefault(id_, (at, row))
        self._lowest, self._is_check, self.is_done = lowest, is_lost, is_last and not is_lost
        if self.is_done:
            self.spacing = self.width / len(self.events) if self.events else _NO_TIME
        elif is_lost and self._repeated is None:
            self._cursor, self._older_than = None, moved(lowest, -_TICK)
        elif not is_last:
            self._continue_after(ids, times, entries)

    def _continue_after(self, ids: list[str], times: list[str], entries: int) -> None:
        """Continue after the last event but one of a page, or after the only one."""
        place = max((place for place, id_ in enumerate(ids) if id_ != ids[-1]), default=-1)
        self._cursor, self._repeated = ids[place], ids[-1] if place >= 0 else None
        last = [self._above, *times][-_LAST_EVENTS:]
        if span := time_value(max(last)) - time_value(min(last)):
            self.spacing = span / len(last)
        self._above, self._entries = times[place], entries

    def _times_of(self, rows: list[Row]) -> list[str]:
        """Return the time of each event; raise UnreadableBodyError for one that cannot be."""
        times, lowest = list[str](), self._above
        for row in rows:
            at = row["created_at"] or lowest
            if at > lowest and at > moved(lowest, TOLERANCE):
                raise UnreadableBodyError(f"events out of order: {at} comes after {lowest}")
            lowest = min(lowest, at)
            times.append(at)
        if lowest < moved(self._newer_than, -TOLERANCE):
            raise UnreadableBodyError(f"an event of {lowest}, earlier than was requested")
        return times


class Plan:
    """The windows that are not written yet, the oldest first.

    Args:
        start: The first instant, a canonical time.
        end: The instant after the last.

    Attributes:
        windows: The windows.
        longest: The entries of the longest page.
        written_until: All events before this time were returned by ``take``.
        bookmark: The time of the newest of them, or later if no event was seen until then.
        error: Why nothing after the windows can be written.
    """

    def __init__(self, start: str, end: str) -> None:
        self.longest, self.written_until, self.bookmark = 1, start, ""
        self.error: ApiError | None = None
        bounds = moved(start, -TOLERANCE), end, moved(end, TOLERANCE)
        self.windows = [Window(*bounds, _NO_TIME)] if start < end else []
        self._end, self._newest, self._taken = end, "", 0
        self._unwritten: dict[str, tuple[str, Row]] = {}
        self._untimed: set[str] = set()
        self._before: Window | None = None

    def next_window(self) -> Window | None:
        """Return the window whose next page is to be requested; None if there is none."""
        held, before = 0, self._before
        for window in self.windows:
            if not (window.is_in_flight or window.is_done):
                return self._cut(window, *self._width_to_cut(window, before))
            before, held = window, held + window.size
            if held > MOST_HELD:
                return None
        fullest = max(self.windows, key=lambda each: each.expected, default=None)
        if fullest is None or fullest.expected <= 2 * self.longest:
            return None
        rest = fullest.unread - self.longest * fullest.spacing  # a page is on its way
        return self._cut(fullest, rest / 2, fullest.spacing)

    def _width_to_cut(self, window: Window, before: Window | None) -> tuple[timedelta, timedelta]:
        """Return how much of a window to cut off, zero for nothing, and the spacing there."""
        before_it = self._taken + self.windows.index(window) // _FRONT
        wanted = max(self.longest, 10) * min(MOST_PAGES, 1 + before_it)
        if window.expected <= 1.5 * wanted:
            return _NO_TIME, _NO_TIME
        if before is None:
            empty = max(time_value(_OPENED) - time_value(window.start), _NO_TIME)
            return min(empty + _FIRST_WIDTH, window.unread / 2), _NO_TIME
        width = before.spacing * wanted or min(before.width * _GROWTH, window.unread / 2)
        if width <= window.unread / 2:
            return width, 2 * before.spacing  # so that guesses of guesses come to an end
        far = window.unread - _NEAR * wanted * window.spacing
        return (far, _NO_TIME) if far > _NO_TIME else (window.unread / 2, window.spacing)

    def _cut(self, window: Window, width: timedelta, spacing: timedelta) -> Window:
        """Request a page of a window, or of its start, which is cut off."""
        if width:
            place, start = self.windows.index(window), window.start
            window.start = time_text(time_value(start) + max(width, _TICK))
            window = Window(start, window.start, moved(window.start, _TICK), spacing)
            self.windows.insert(place, window)
        window.is_in_flight = True
        return window

    def add(self, window: Window, rows: list[Row], entries: int, size: int) -> None:
        """Take a page of a window.

        Args:
            window: The window.
            rows: The events.
            entries: How many entries the page has, events or not.
            size: How many bytes its body has.

        Raises:
            UnreadableBodyError: If the page contradicts what is known; nothing has changed then.
        """
        longest = max(self.longest, min(entries, PAGE))
        window.add(rows, entries, longest)
        self.longest, window.size, window.is_in_flight = longest, window.size + size, False
        times = [at for row in rows if (at := row["created_at"]) and at < self._end]
        self._newest = max([self._newest, *times])

    def fail(self, window: Window, error: ApiError) -> None:
        """Drop a window, of which a page will not come, and all after it."""
        if window in self.windows:
            del self.windows[self.windows.index(window) :]
            self.error = error

    def take(self) -> list[Row] | None:
        """Return the next events, the oldest first; None if a page of them is missing."""
        if not (self.windows and self.windows[0].is_done) or self.windows[0].is_in_flight:
            return None
        window = self._before = self.windows.pop(0)
        for id_, (at, row) in reversed(window.events.items()):
            is_in_range = self.written_until <= at < self._end
            if is_in_range if row["created_at"] else id_ not in self._untimed:
                self._unwritten.setdefault(id_, (at, row))
            if row["created_at"] is None:  # its place in time depends on the window
                self._untimed.add(id_)
        self._taken += bool(window.events)
        window.events = {}
        reached = moved(window.end, -TOLERANCE - 2 * _TICK)
        is_all = not (self.windows or self.error)
        self.written_until = self._end if is_all else max(self.written_until, reached)
        known = sorted(self._unwritten.items(), key=lambda each: each[1][0])
        rows = [row for _, (at, row) in known if is_all or at < self.written_until]
        self._unwritten = dict(known[len(rows) :])
        times = [row["created_at"] for row in rows if row["created_at"]]
        self.bookmark = times[-1] if times else min(moved(self.written_until, -_TICK), self._newest)
        return rows
