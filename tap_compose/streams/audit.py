"""The audit log, oldest events first, although the API tells the newest first.

A plain pass cannot be resumed: the bookmark of a descending stream may move only when all of
it has arrived. So the time asked for is cut into windows [start, end), each is paged from its
newest event to its oldest and written in ascending order, and after each the bookmark moves
(contract, section 3; design, section 4).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tap_compose.api.client import Call
from tap_compose.api.errors import ApiError, UnreadableBodyError
from tap_compose.records import Record
from tap_compose.streams.base import AccountStream
from tap_compose.streams.columns import free_form, key, schema, text, time
from tap_compose.times import canonical_time, time_text, time_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from singer_sdk.helpers.types import Context

    from tap_compose.rows import Row

PAGE = 100
"""Events per request: the most that the API allows."""

PROBE_PAGES = 2
"""So many pages tell how dense the events are before the time is cut into windows."""

MOST_PAGES = 20
"""A window that is not through after so many pages is split."""

USUAL_EVENTS = 1000
"""How many events a window is meant to hold."""

NARROWEST = timedelta(seconds=10)
"""A narrower window costs more in overlap with its neighbours than it is worth."""

FIRST_EVENT = "2010-01-01T00:00:00.000Z"
"""No event is older: the service began in 2010."""

_MARGIN = timedelta(seconds=1)
_TICK = timedelta(milliseconds=1)
_WIDEST = timedelta(days=366 * 20)


class AuditEvents(AccountStream):
    """What was done in the account, by whom and from where."""

    name = "audit_events"
    path = "/audit_events"
    envelope = ("audit_events",)
    primary_keys = ("id",)
    replication_key = "created_at"
    asks_ahead = False
    schema = schema(
        key("id", "The event's id."),
        text("account_id", "The account that it happened in."),
        text("deployment_id", "The deployment that it concerns, if any."),
        text("cluster_id", "The cluster that it concerns, if any."),
        text("user_id", "The user who did it, if a user did. Personal."),
        text("email", "That user's email address. Personal."),
        time("created_at", "When it happened."),
        text("event", "What happened, such as deployment.scale.members; an open list."),
        text("ip", "IP address that the request came from. Personal."),
        text("user_agent", "User agent of the request. Personal."),
        free_form("data", "Further particulars, which differ by event. May be personal."),
    )

    @property
    def bookmark(self) -> str | None:
        """The time of the newest event written so far, from the state; None without one."""
        if self.replication_method == "FULL_TABLE":
            return None
        value = self.stream_state.get("replication_key_value")
        return canonical_time(value) if isinstance(value, str) else None

    @override
    def fetched_rows(self, context: Context | None) -> Iterator[Row | Record]:
        start, end = self._times()
        try:
            for window in self._windows(Span(start, end)):
                yield from self.rows(window.events(), {})
                self._move_bookmark(window)
        except ApiError as error:
            self.cannot(error)

    def _times(self) -> tuple[str, str]:
        """The time that this run fetches, from its first instant to the one after its last."""
        settings = self.run.settings
        bookmark = self.bookmark
        start = settings.start_date or FIRST_EVENT
        end = min(settings.end_date or self.run.started, self.run.started)
        if bookmark is None:
            return start, end
        if bookmark > self.run.started:
            self.logger.warning(
                "the bookmark of %s, %s, lies in the future: nothing is fetched before that time "
                "has come; start without this state to fetch again",
                self.name,
                bookmark,
            )
        if settings.end_date and settings.end_date < bookmark:
            self.logger.warning(
                "end_date %s is before the bookmark %s of %s: nothing is fetched",
                settings.end_date,
                bookmark,
                self.name,
            )
            return end, end
        lookback = timedelta(seconds=settings.lookback_seconds)
        return max(start, time_text(time_value(bookmark) - lookback)), end

    def _move_bookmark(self, window: Window) -> None:
        """Note in the state that everything up to a window's newest event is written."""
        newest = window.newest
        if self.replication_method == "FULL_TABLE" or newest is None:
            return
        if newest > (self.bookmark or ""):
            self.stream_state["replication_key"] = self.replication_key
            self.stream_state["replication_key_value"] = newest
            self._tap.state_writer.write_state(self.tap_state)

    def _windows(self, span: Span) -> Iterator[Window]:
        """Fetch a span of time in windows and hand them out in ascending order."""
        cutter = _Cutter(span)
        for pages in self.run.client.walk_many(map(self._first_page, cutter)):
            window = cutter.under_way.popleft()
            if isinstance(pages, ApiError):
                raise pages
            rest = window.split()
            if rest is not None:
                yield from self._windows(rest)
            cutter.learn(window, rest)
            yield window

    def _first_page(self, window: Window) -> Call[Page]:
        params = {
            "limit": str(PAGE),
            "newer_than": time_text(time_value(window.start) - _MARGIN),
            "older_than": time_text(time_value(window.end) + _MARGIN),
        }
        return self._page(window, params)

    def _page(self, window: Window, params: dict[str, str]) -> Call[Page]:
        def follow(page: Page) -> Call[Page] | None:
            return None if window.ends_with(page) else self._page(window, params)

        cursor = {"cursor": window.cursor} if window.cursor else {}
        return Call(self.path, partial(self._read_page, window), {**params, **cursor}, follow)

    def _read_page(self, window: Window, body: bytes) -> Page:
        events = self.items(body)
        cursor = _field(events[-1], "id") if events else None
        is_last = len(events) < PAGE
        if not is_last and (not isinstance(cursor, str) or cursor in window.cursors):
            raise UnreadableBodyError("a page that leads to no next one")
        page = Page(list(zip(_times_of(events), events, strict=True)), cursor, is_last=is_last)
        window.add(page)
        return page


@dataclass(frozen=True)
class Page:
    """A page of events, newest first.

    Attributes:
        events: Each with its canonical time.
        cursor: What leads to the page after this one.
        is_last: Whether there is none.
    """

    events: list[tuple[str, Any]]
    cursor: str | None
    is_last: bool


@dataclass(frozen=True)
class Span:
    """Time to be fetched.

    Attributes:
        start: The first instant, a canonical time.
        end: The instant after the last.
        width: How wide its windows should be; None while nothing is known of it.
        cursor: An event at ``end`` or later up to which everything is known already.
        known: The known events that belong to the span, newest first.
    """

    start: str
    end: str
    width: timedelta | None = None
    cursor: str | None = None
    known: tuple[tuple[str, Any], ...] = ()


class Window:
    """The events of a span of time that is fetched page by page.

    Args:
        start: The first instant, a canonical time.
        end: The instant after the last.
        most_pages: After so many pages it ends early, if it can.
        cursor: The event after which to begin; None to begin at the end.
        known: Events of the window that stand before the cursor, newest first.
    """

    def __init__(
        self,
        start: str,
        end: str,
        *,
        most_pages: int,
        cursor: str | None = None,
        known: Iterable[tuple[str, Any]] = (),
    ) -> None:
        self.start = start
        self.end = end
        self.width = time_value(end) - time_value(start)
        self.cursor = cursor
        self.cursors = {cursor}
        self._most_pages = most_pages
        self._pages = 0
        self._events = list(known)
        self._is_whole = False

    def __len__(self) -> int:
        """Count the events."""
        return len(self._events)

    def add(self, page: Page) -> None:
        """Take what a page holds of this window."""
        self._pages += 1
        self.cursor = page.cursor
        self.cursors.add(page.cursor)
        self._events += [each for each in page.events if self.start <= each[0] < self.end]
        self._is_whole = page.is_last or page.events[-1][0] < self.start

    def ends_with(self, page: Page) -> bool:
        """Tell whether no further page is wanted after this one."""
        if self._is_whole:
            return True
        oldest = page.events[-1][0]
        return (
            self._pages >= self._most_pages
            and oldest < self.end
            and time_value(oldest) - time_value(self.start) > NARROWEST
        )

    def split(self) -> Span | None:
        """Shrink to what is known for certain, if the start was not reached.

        Returns:
            None if the window is whole; otherwise the span before it that is still to be
            fetched. Events at the oldest instant may be missing, so that belongs to it.
        """
        if self._is_whole:
            return None
        newest, oldest, count = self._events[0][0], self._events[-1][0], len(self)
        start, self.start = self.start, time_text(time_value(oldest) + _TICK)
        known = [each for each in self._events if each[0] == oldest]
        del self._events[-len(known) :]
        width = (time_value(newest) - time_value(oldest)) * (USUAL_EVENTS / count)
        width = min(max(width, NARROWEST), _WIDEST)
        return Span(start, self.start, width, self.cursor, tuple(known))

    @property
    def newest(self) -> str | None:
        """The time of the newest event, None if there is none."""
        return self._events[0][0] if self._events else None

    def events(self) -> Iterator[Any]:
        """The events, oldest first."""
        return (event for _, event in reversed(self._events))


class _Cutter:
    """Cuts a span into windows as they are wanted, wider or narrower as events are found."""

    def __init__(self, span: Span) -> None:
        self.under_way: deque[Window] = deque()
        self._span = span
        self._width = span.width

    def __iter__(self) -> Iterator[Window]:
        start, end = time_value(self._span.start), time_value(self._span.end)
        while start < end:
            until = end
            if self._width is not None and end - start > self._width + NARROWEST:
                until = start + self._width
            window = Window(
                time_text(start),
                time_text(until),
                most_pages=PROBE_PAGES if self._width is None else MOST_PAGES,
                cursor=self._span.cursor if until == end else None,
                known=self._span.known if until == end else (),
            )
            self.under_way.append(window)
            yield window
            start = until

    def learn(self, window: Window, rest: Span | None) -> None:
        """Choose the width of the next windows by what one held.

        Args:
            window: The window.
            rest: What had to be split off it.
        """
        if self._width is None:
            return
        if rest is not None and rest.width is not None:
            self._width = rest.width
        elif not len(window):
            self._width = min(2 * self._width, _WIDEST)
        else:
            factor = min(max(USUAL_EVENTS / len(window), 1 / 8), 8)
            self._width = min(max(window.width * factor, NARROWEST), _WIDEST)


def _times_of(events: list[Any]) -> list[str]:
    """The canonical time of each event; one without takes that of the newer event beside it."""
    times: list[str] = []
    for event in events:
        times.append(_time_of(event) or (times[-1] if times else ""))
    first = next((at for at in times if at), FIRST_EVENT)
    return [at or first for at in times]


def _field(event: Any, name: str) -> Any:
    """A member of an event, be it a record, an object of the API, or something else."""
    if isinstance(event, Record):
        return event[name]
    return event.get(name) if isinstance(event, dict) else None


def _time_of(event: Any) -> str | None:
    value = _field(event, "created_at")
    try:
        return canonical_time(value) if isinstance(value, str) else None
    except ValueError:
        return None
