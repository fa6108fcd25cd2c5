"""The pages of one span of the audit log: what to request next, and which page is the last.

The API returns the newest event first (docs/compose-api.md, Paging). It is not trusted to keep
to that: it may cap ``limit``, forget a cursor, return events some seconds out of order, or
never end. No event may be missing silently, so what cannot be read to its end is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING

from tap_compose.api.errors import UnreadableBodyError
from tap_compose.times import moved

if TYPE_CHECKING:
    from tap_compose.rows import Row

PAGE = 100
"""Events per request: the most that the API allows."""

TOLERANCE = timedelta(seconds=10)
"""An event may come so much later in the descending order than its time says."""

MOST_STALLED = 1000
"""Pages in a row that may lie within ``TOLERANCE``: more never end."""

_TICK = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Page:
    """A page of events.

    Attributes:
        events: Each with its canonical time, in the order of the response.
        entries: How many entries the response has, events or not.
        size: How many bytes its body has.
    """

    events: list[tuple[str, Row]]
    entries: int
    size: int = 0


@dataclass
class ServerHabits:
    """What a run has learned of how the server pages.

    Attributes:
        longest: The entries of its longest page. A page that is not shorter may have a next one,
            even if it is shorter than ``limit``, since a server may cap that.
        is_full: Whether a page of that length is known to be a full one: it had a next one, or
            as many entries as were asked for.
        is_disordered: Whether events came out of the order of their times.
    """

    longest: int = 0
    is_full: bool = False
    is_disordered: bool = False


class _Step(Enum):
    """What is requested. All but the first show a server that forgets cursors or caps pages."""

    NEXT = auto()
    """The page after the last event."""
    REPEAT = auto()
    """The page after the last event but one: the last one must come again."""
    BY_TIME = auto()
    """Without a cursor, from a time on before which a page has room for all known events."""
    OLDER = auto()
    """Without a cursor, what is older than all known events, where a page has room for one."""


class Paginator:
    """Reads the events of a span of time page by page.

    Args:
        start: The first instant, a canonical time.
        end: The instant after the last.
        habits: What the run knows of the server.

    Attributes:
        habits: What the run knows of the server.
        lowest: The time of the oldest event so far; None if there is none.
        is_complete: Whether there is no next page.
    """

    def __init__(self, start: str, end: str, habits: ServerHabits) -> None:
        self._older_than = moved(end, _TICK)
        self._latest_possible = moved(self._older_than, TOLERANCE)
        self._newer_than = self._last_wanted = ""
        self._requested_from = self._known_from = ""
        self.habits = habits
        self._length = 0
        self._cursor: str | None = None
        self._cursor_before: str | None = None
        self._step = _Step.NEXT
        self._done: set[_Step] = set()
        self._seen: dict[str, str] = {}
        self._stalled_at = ""
        self._stalled = 0
        self.lowest: str | None = None
        self.is_complete = False
        self.raise_start(start)

    @property
    def is_checking(self) -> bool:
        """Whether the next page only makes sure that the one before it was the last."""
        return self._step is not _Step.NEXT

    def raise_start(self, start: str) -> None:
        """Read less far back.

        Args:
            start: The first instant, a canonical time.
        """
        # The bounds may be inclusive or exclusive.
        self._newer_than = moved(start, -_TICK)
        self._last_wanted = moved(start, -TOLERANCE)

    def next_query(self) -> dict[str, str]:
        """Return the query parameters of the next page."""
        cursor, older_than, newer_than = self._cursor, self._older_than, self._newer_than
        if self.is_checking:  # what is known must come again: with the same bound
            newer_than = self._known_from
        if self._step is _Step.REPEAT:
            cursor = self._cursor_before
        elif self._step is _Step.BY_TIME:
            cursor, older_than = None, self._latest_to_check()
        elif self._step is _Step.OLDER:
            cursor, older_than = None, moved(self.lowest or older_than, -_TICK)
        self._requested_from = newer_than
        query = {"newer_than": newer_than, "older_than": older_than}
        return query if cursor is None else {**query, "cursor": cursor}

    def read(self, page: Page) -> list[tuple[str, Row]]:
        """Take a page, and find out what to request next.

        Args:
            page: The response to ``next_query``.

        Returns:
            Its events that no page before it had.

        Raises:
            UnreadableBodyError: If the page contradicts what is known. Nothing has changed
                then, so another response to the same request may be read.
        """
        times = [at for at, _ in page.events]
        ids = [row["id"] for _, row in page.events]
        unseen = self._unseen(page, ids)
        latest = max(times, default="")
        if latest > self._latest_possible:
            raise UnreadableBodyError(f"an event of {latest}, later than was requested")
        if self._step is _Step.REPEAT and page.entries and self._cursor not in ids:
            raise UnreadableBodyError("a page without an event that an earlier response held")
        if not page.entries:
            step = self._step_after_empty_page()
        elif page.entries < self.habits.longest:
            step = None
        else:
            step = _Step.NEXT if unseen else self._step_after_known_page()
        lowest = self._lowest_with(times) if unseen else self.lowest
        self._note_progress(lowest)
        self._note_length(page, has_unseen=bool(unseen))
        self._seen.update(zip(ids, times, strict=True))
        self.lowest = lowest
        self.is_complete = step is None or (lowest is not None and lowest < self._last_wanted)
        if step is not None:
            if unseen:
                self._cursor, self._cursor_before = self._last_two(ids)
                self._length = page.entries
                self._known_from = self._requested_from
                self._done.clear()
                if self._cursor_before is not None and not self.habits.is_full:
                    step = _Step.REPEAT
            self._step = step
            self._done.add(step)
        return unseen

    def _last_two(self, ids: list[str]) -> tuple[str, str | None]:
        """Return the last event and the last but one; the latter may be on the page before."""
        last = ids[-1]
        return last, next((each for each in reversed(ids) if each != last), self._cursor)

    def _step_after_empty_page(self) -> _Step | None:
        """Return how to make sure that an empty page is the last one; None if it surely is."""
        longest = self.habits.longest
        is_after_full = self._cursor is not None and self._length >= longest
        if self._step is _Step.OLDER or not is_after_full:
            return None
        latest = self._latest_to_check()
        has_room = sum(at <= latest for at in self._seen.values()) < longest
        if has_room and _Step.BY_TIME not in self._done:
            return _Step.BY_TIME
        if self._step is not _Step.NEXT:
            raise UnreadableBodyError("an empty page where an earlier response held events")
        if longest > 1:
            return _Step.REPEAT
        return _Step.OLDER if self.habits.is_full else None

    def _step_after_known_page(self) -> _Step | None:
        """Return how to go on after a full page without new events; None if it is the last."""
        if self._step is _Step.NEXT:
            raise UnreadableBodyError("a page that leads to no next one")
        if self._step is _Step.BY_TIME:
            return _Step.REPEAT
        return _Step.NEXT if _Step.NEXT not in self._done else None

    def _latest_to_check(self) -> str:
        if self.lowest is None:
            return self._older_than
        return min(moved(self.lowest, TOLERANCE), self._older_than)

    def _note_length(self, page: Page, *, has_unseen: bool) -> None:
        habits = self.habits
        if page.entries > habits.longest:
            habits.longest = min(page.entries, PAGE)
            habits.is_full = page.entries >= PAGE
        elif has_unseen and self._cursor is not None and self._length == habits.longest:
            habits.is_full = True

    def _lowest_with(self, times: list[str]) -> str:
        """Return the time of the oldest event, those of a page included; check their order."""
        # A check begins above what is known already.
        lowest = None if self._step is _Step.BY_TIME else self.lowest
        if times == sorted(times, reverse=True) and times[0] <= (lowest or times[0]):
            return min(times[-1], self.lowest or times[-1])
        self.habits.is_disordered = True
        lowest = lowest or times[0]
        latest = moved(lowest, TOLERANCE)
        for at in times:
            if at > latest:
                raise UnreadableBodyError(
                    f"events that are not in descending order: {at} comes after {lowest}"
                )
            if at < lowest:
                lowest, latest = at, moved(at, TOLERANCE)
        return min(lowest, self.lowest or lowest)

    def _unseen(self, page: Page, ids: list[str]) -> list[tuple[str, Row]]:
        """Return the events that were not returned before, each once."""
        if len(set(ids)) == len(ids) and self._seen.keys().isdisjoint(ids):
            return page.events
        unseen = dict(zip(reversed(ids), reversed(page.events), strict=True))
        return [each for id_, each in reversed(unseen.items()) if id_ not in self._seen]

    def _note_progress(self, lowest: str | None) -> None:
        """Count the pages since time descended by more than the tolerance."""
        if lowest is None or not self._stalled_at or moved(lowest, TOLERANCE) < self._stalled_at:
            self._stalled_at, self._stalled = lowest or "", 0
            return
        self._stalled += 1
        if self._stalled > MOST_STALLED:
            raise UnreadableBodyError(
                f"page after page of events from {lowest}: {MOST_STALLED} brought no earlier ones"
            )
