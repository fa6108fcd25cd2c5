"""What of the audit log is requested next: windows of time, planned without clock or network.

Nobody knows how the events are spread. So the first request is for the newest page of all, and
what is older is cut into windows from its start: narrow ones first, each wider than the one
before, until what they hold is known. A window is read from its newest event to its oldest, and
cut again if it holds too much. The oldest one comes first, since only that can be written.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from operator import itemgetter
from typing import TYPE_CHECKING

from tap_compose.streams.audit_pages import TOLERANCE, Paginator, ServerHabits
from tap_compose.times import moved, time_text, time_value

if TYPE_CHECKING:
    from tap_compose.api.errors import ApiError
    from tap_compose.rows import Row
    from tap_compose.streams.audit_pages import Page

_TICK = timedelta(milliseconds=1)
_TIME = itemgetter(0)


@dataclass(frozen=True)
class WindowTuning:
    """How time is cut.

    Attributes:
        first_width: The most milliseconds that the first window spans.
        growth: How many times wider a window is than the one before, of which nothing is known.
        levels: How often the first part of a window grows until it is as wide as the window.
        first_pages: How many pages the first windows are meant to hold. Later ones are meant to
            hold as much as all before them.
        most_pages: How many pages a window is meant to hold at most.
        reach: How many windows are cut below known events; what is older is probed as a whole.
        most_held: How many bytes of bodies may wait for older events, about.
    """

    first_width: float = 60_000
    growth: int = 16
    levels: int = 4
    first_pages: int = 1
    most_pages: float = 20
    reach: int = 16
    most_held: int = 5 << 22


class Window:
    """The events from one time to another, read page by page from the newest to the oldest.

    Args:
        start: The first instant, a canonical time.
        end: The instant after the last.
        habits: What the run knows of the server.
        is_guess: Whether nothing was known of the density of its events when it was cut.

    Attributes:
        reach: How many times further than usual windows are cut below its known events: more where
            probes of what is older found events again and again.
        paginator: Reads its pages.
        events: What was read, each event with its time; empty again once it was taken.
        count: How many events were read.
        size: How many bytes the bodies had.
        error: Why it could not be read.
        is_in_flight: Whether a page is on its way.
    """

    def __init__(self, start: str, end: str, habits: ServerHabits, *, is_guess: bool) -> None:
        self.start = start
        self.end = end
        self.is_guess = is_guess
        self.reach = 1
        self.paginator = Paginator(start, end, habits)
        self.events: list[tuple[str, Row]] = []
        self.count = 0
        self.size = 0
        self.error: ApiError | None = None
        self.is_in_flight = False
        self._newest_gap = self._oldest_gap = 0.0  # milliseconds from one event to the next

    def add(self, page: Page) -> None:
        """Take a page.

        Raises:
            UnreadableBodyError: If it is not what its place in the order of pages promises.
        """
        newer = self.paginator.lowest
        events = self.paginator.read(page)
        if events:
            newer = newer or (events[0][0] if len(events) > 1 else self.end)
            self._oldest_gap = max(_milliseconds(events[-1][0], newer), 1) / len(events)
            self._newest_gap = self._newest_gap or self._oldest_gap
        self.events += events
        self.count += len(events)
        self.size += page.size

    @property
    def is_finished(self) -> bool:
        """Whether no further page is to be requested."""
        return self.error is not None or (self.paginator.is_complete and not self.is_in_flight)

    @property
    def is_unknown(self) -> bool:
        """Whether there was no response yet."""
        return not self.count and not self.is_finished

    @property
    def width(self) -> float:
        """How many milliseconds it spans."""
        return _milliseconds(self.start, self.end)

    @property
    def unread(self) -> float:
        """How many milliseconds lie before its oldest known event."""
        lowest = self.paginator.lowest
        if lowest is None or self.paginator.is_complete or self.paginator.is_checking:
            return 0
        return max(_milliseconds(self.start, min(lowest, self.end)), 0)

    @property
    def gap(self) -> float:
        """Milliseconds from one event to the next: near its end, or all over if that is known."""
        return self.width / self.count if self.paginator.is_complete else self._newest_gap

    @property
    def gap_below(self) -> float:
        """Milliseconds from one event to the next where it was read last."""
        return self._oldest_gap or 1

    @property
    def events_unread(self) -> float:
        """How many events are to come, if they are as dense as those that were read last."""
        return self.unread / self.gap_below

    def cut(self, width: float, *, is_guess: bool) -> Window:
        """Shrink by some milliseconds at the start.

        Returns:
            A window of these.
        """
        middle = time_text(time_value(self.start) + max(width * _TICK, _TICK))
        older = Window(self.start, middle, self.paginator.habits, is_guess=is_guess)
        self.start = middle
        self.paginator.raise_start(middle)
        return older


@dataclass(frozen=True)
class Batch:
    """Events that can be written.

    Attributes:
        events: The oldest first.
        reached: All events before this time were read.
        bookmark: Where the next run may begin; empty if that is not known.
        error: Why no further events can be written.
    """

    events: list[Row]
    reached: str = ""
    bookmark: str = ""
    error: ApiError | None = None


class Plan:
    """What is to be fetched, is being fetched, and waits to be written, in order of time.

    Args:
        start: The first instant, a canonical time.
        end: The instant after the last.
        at_once: How many requests are in flight at once.
        tuning: How time is cut.
    """

    def __init__(
        self, start: str, end: str, *, since: str, at_once: int, tuning: WindowTuning
    ) -> None:
        self._start, self._end, self._newest = start, end, ""
        self._tuning, self._at_once = tuning, at_once
        self._habits = ServerHabits()
        self._pages = self._bytes = self._taken_events = 0
        self._taken: Window | None = None
        self._recent: dict[str, str] = {}
        self._held: list[tuple[str, Row]] = []
        self.windows: list[Window] = []
        if start < end:
            # Events may come later in the order than their times say.
            self.windows = [Window(since, moved(end, TOLERANCE), self._habits, is_guess=True)]

    def next_window(self) -> Window | None:
        """Return the window whose next page is to be requested: the oldest that wants one.

        None if there is none, or if so much waits already that only what holds it up is wanted.
        """
        before, held = self._taken, 0
        for window in self.windows:
            if not (window.is_in_flight or window.is_finished):
                width, is_guess = self._width_to_cut(window, before)
                if width is not None or not held or held + window.size <= self._tuning.most_held:
                    return self._request(window, width, is_guess=is_guess)
            before = window
            held += window.size
            if held > self._tuning.most_held:
                return None
        return self._relieve()

    def add(self, window: Window, page: Page) -> None:
        """Take a page of a window.

        Raises:
            UnreadableBodyError: If it is not what its place in the order of pages promises.
        """
        window.add(page)
        self._pages += 1
        self._bytes += page.size
        times = [at for at, _ in page.events if self._start <= at < self._end]
        self._newest = max([self._newest, *times])

    def end_request(self, window: Window, error: ApiError | None = None) -> None:
        """Take note that a page of a window has come, or will not come."""
        window.is_in_flight = False
        if error is not None and window in self.windows:
            window.error = error
            del self.windows[self.windows.index(window) + 1 :]  # it can never be written

    def take(self) -> Batch | None:
        """Return the next events that can be written, None if older ones are missing."""
        if not self.windows or not self.windows[0].is_finished:
            return None
        window = self.windows.pop(0)
        if window.error is not None:
            return Batch([], error=window.error)
        self._taken_events += window.count
        reached = window.end
        if self._habits.is_disordered:  # the next window may hold older events
            reached = moved(reached, -TOLERANCE)
        first = moved(window.start, -TOLERANCE)
        known = [*self._held, *(each for each in window.events if each[0] >= first)]
        self._taken, window.events, self._held = window, [], []
        if self.windows:
            self._held = [each for each in known if each[0] >= reached]
            known = [each for each in known if each[0] < reached]
        events = self._unwritten(known, window)
        bookmark = events[-1][0] if events else min(moved(reached, -_TICK), self._newest)
        last = moved(self._newest, _TICK) if self._newest else self._end
        return Batch([event for _, event in events], min(reached, last), bookmark)

    def _unwritten(self, known: list[tuple[str, Row]], window: Window) -> list[tuple[str, Row]]:
        """Return what of a window was not written with the one before, the oldest first."""
        newest_first = sorted(known, key=_TIME, reverse=True)
        events = {
            row["id"]: (at, row)
            for at, row in reversed(newest_first)
            if self._start <= at < self._end and row["id"] not in self._recent
        }
        overlap = moved(window.end, -TOLERANCE)  # so far back events may come again
        recent = [*self._recent.items(), *((each, at) for each, (at, _) in events.items())]
        self._recent = {each: at for each, at in recent if at >= overlap}
        return list(events.values())

    def _request(self, window: Window, width: float | None, *, is_guess: bool = False) -> Window:
        """Request a page of a window, or of a new one that is cut from its start."""
        if width is not None:
            older = window.cut(width, is_guess=is_guess)
            older.reach = window.reach * (self._tuning.growth if is_guess else 1)
            self.windows.insert(self.windows.index(window), older)
            window = older
        window.is_in_flight = True
        return window

    @property
    def _meant_events(self) -> float:
        """How many events a window is meant to hold."""
        most = self._tuning.most_pages
        if self._bytes:
            room = self._tuning.most_held / 2 / self._at_once
            most = min(most, room * self._pages / self._bytes)
        fewest = self._tuning.first_pages * self._habits.longest
        return max(fewest, min(self._taken_events, most * self._habits.longest))

    def _width_to_cut(self, window: Window, before: Window | None) -> tuple[float | None, bool]:
        """Decide whether to cut a window before its next page is requested.

        Args:
            window: The window.
            before: The one before it.

        Returns:
            The milliseconds to be cut from its start, if any, and whether that is a guess.
        """
        meant, left = self._meant_events, window.unread
        if window.events_unread <= 1.5 * meant or left <= 1:
            return None, False
        tuning = self._tuning
        if before is None:
            return min(tuning.first_width, left / tuning.growth**tuning.levels), True
        if before.is_unknown:
            width = before.width * (tuning.growth if before.is_guess else 2)
            if width < left or not before.is_guess or self._taken_events:
                return (width if width < left else None), before.is_guess
        elif before.count:
            if before.gap * meant < left:
                return before.gap * meant, False
        elif not before.is_guess:  # there is a gap
            window.reach, before.is_guess = 1, True
        elif window.is_guess and tuning.growth * before.width < left:
            return tuning.growth * before.width, True
        return self._width_below(window, meant)

    def _width_below(self, window: Window, meant: float) -> tuple[float, bool]:
        """Cut off what lies far below the known events, if anything does: it may be empty."""
        near = window.gap_below * meant
        reach = self._tuning.reach * window.reach * near
        while not self._taken_events and reach * self._tuning.growth < window.unread:
            reach *= self._tuning.growth
        far = window.unread - reach
        return (far, True) if far > near else (near, False)

    def _relieve(self) -> Window | None:
        """Use a free slot for half of what is to come of the fullest window."""
        if any(each.is_guess and each.is_unknown for each in self.windows):
            return None
        fullest = max(self.windows, key=lambda each: each.events_unread, default=None)
        page = self._habits.longest
        if fullest is None or fullest.events_unread < max(4 * page, 1):
            return None
        return self._request(fullest, (fullest.unread - page * fullest.gap_below) / 2)


def _milliseconds(start: str, end: str) -> float:
    return (time_value(end) - time_value(start)) / _TICK
