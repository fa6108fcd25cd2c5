"""The audit log, oldest events first, although the API tells the newest first.

A plain pass cannot be resumed: the bookmark of a descending stream may move only when all of
it has arrived. So the time asked for is cut into windows [start, end), each is paged from its
newest event to its oldest and written in ascending order, and after each the bookmark moves
(contract, section 3; design, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL
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

WIDEST = timedelta(days=366 * 20)
"""A wider window is no better: there are no older events."""

_MARGIN = timedelta(seconds=1)
_TICK = timedelta(milliseconds=1)


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

    @override
    def calls(self) -> Iterator[Call[list[Any]]]:
        # Tells whether the log can be read; what fetches it comes out of the plan below.
        yield Call(self.path, self.items, {"limit": "1"})

    @override
    def fetched_rows(self, context: Context | None) -> Iterator[Row | Record]:
        plan = Plan(*self._times(), at_once=self.run.client.max_concurrency)
        walks = self.run.client.walk_many(map(self._first_page, plan))
        tally = self.run.report.tally(self.name)
        try:
            for window, outcome in walks:
                tally.requests, tally.retries = walks.requests, walks.retries
                if isinstance(outcome, ApiError):
                    window.error = outcome
                plan.finish(window)
                for whole in plan.take():
                    if whole.error is not None:
                        raise whole.error
                    yield from self.rows(whole.events(), {})
                    self._move_bookmark(whole)
                    walks.poll()
        except ApiError as error:
            self.cannot(error)

    def _times(self) -> tuple[str, str]:
        """The time that this run fetches, from its first instant to the one after its last."""
        settings = self.run.settings
        bookmark = None
        if self.replication_method == REPLICATION_INCREMENTAL:
            bookmark = self.bookmark_in(self.stream_state, self.name)
        start = settings.start_date or FIRST_EVENT
        end = min(settings.end_date or self.run.started, self.run.started)
        if bookmark is None:
            return start, end
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
        self.run.report.tally(self.name).reached = window.end
        if self.replication_method != REPLICATION_INCREMENTAL or newest is None:
            return
        if self.move_bookmark(self.stream_state, newest):
            self._tap.state_writer.write_state(self.tap_state)

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
        read = partial(self._read_page, window)
        return Call(self.path, read, {**params, **cursor}, follow, about=window)

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


@dataclass
class Span:
    """Time that is still to be cut into windows.

    Attributes:
        start: The first instant, a canonical time.
        end: The instant after the last.
        width: How wide the next window should be; None for all of it.
        is_guess: Whether that is a guess, not drawn from the events nearby: then the window is
            given up for narrower ones after a few pages.
        cursor: An event at ``end`` or later up to which everything is known already.
        known: The known events that belong to the span, newest first.
    """

    start: str
    end: str
    width: timedelta | None = None
    is_guess: bool = True
    cursor: str | None = None
    known: tuple[tuple[str, Any], ...] = ()

    def cut(self, at_once: int) -> Window:
        """Take the first window off the span, or all of it if what is left would be narrow.

        Args:
            at_once: How many windows can be fetched at once. Towards the end of the span they
                get narrower, so that all of these are busy to the last.

        Returns:
            The window.
        """
        start, end = time_value(self.start), time_value(self.end)
        until = self.end
        if self.width is not None:
            width = max(min(self.width, (end - start) / at_once), self.width / 5, NARROWEST)
            if end - start > width + NARROWEST:
                until = time_text(start + width)
        is_last = until == self.end
        window = Window(
            self.start,
            until,
            is_guess=self.is_guess,
            cursor=self.cursor if is_last else None,
            known=self.known if is_last else (),
        )
        self.start = until
        return window

    def learn(self, window: Window) -> None:
        """Choose the width of the next windows by what the one before them held."""
        if self.width is None:
            return
        self.is_guess = not len(window)
        if self.is_guess:
            self.width = min(2 * self.width, WIDEST)
        else:
            factor = min(max(USUAL_EVENTS / len(window), 1 / 8), 8)
            self.width = min(max(window.width * factor, NARROWEST), WIDEST)


class Window:
    """The events of a span of time that is fetched page by page.

    Args:
        start: The first instant, a canonical time.
        end: The instant after the last.
        is_guess: Whether its width is a guess: then it ends after a few pages, if it can.
        cursor: The event after which to begin; None to begin at the end.
        known: Events of the window that stand before the cursor, newest first.

    Attributes:
        is_finished: Whether no further page is to be fetched.
        error: Why it could not be fetched.
    """

    def __init__(
        self,
        start: str,
        end: str,
        *,
        is_guess: bool,
        cursor: str | None = None,
        known: Iterable[tuple[str, Any]] = (),
    ) -> None:
        self.start = start
        self.end = end
        self.width = time_value(end) - time_value(start)
        self.cursor = cursor
        self.cursors = {cursor}
        self.is_guess = is_guess
        self._pages = 0
        self._events = list(known)
        self._is_whole = False
        self.is_finished = False
        self.error: ApiError | None = None

    def __len__(self) -> int:
        """Count the events."""
        return len(self._events)

    def add(self, page: Page) -> None:
        """Take what a page holds of this window."""
        self._pages += 1
        self.cursor = page.cursor
        self.cursors.add(page.cursor)
        if page.events and page.events[0][0] < self.end and page.events[-1][0] >= self.start:
            self._events += page.events
        else:
            self._events += [each for each in page.events if self.start <= each[0] < self.end]
        self._is_whole = page.is_last or page.events[-1][0] < self.start

    def ends_with(self, page: Page) -> bool:
        """Tell whether no further page is wanted after this one."""
        if self._is_whole:
            return True
        oldest = page.events[-1][0]
        return (
            self._pages >= (PROBE_PAGES if self.is_guess else MOST_PAGES)
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
        width = min(max(width, NARROWEST), WIDEST)
        return Span(
            start, self.start, width, is_guess=False, cursor=self.cursor, known=tuple(known)
        )

    @property
    def newest(self) -> str | None:
        """The time of the newest event, None if there is none."""
        return self._events[0][0] if self._events else None

    def events(self) -> Iterator[Any]:
        """The events, oldest first."""
        return (event for _, event in reversed(self._events))


class Plan:
    """What is to be fetched, is being fetched, and waits to be written, in order of time.

    Iterating gives the window to be fetched next: the earliest one, unless so many wait already
    that only what holds them up is wanted, or none while the earliest one probes time of which
    nothing is known: what is fetched far after it waits longest. Exhausted, it may have more
    after the next window.

    Args:
        start: The first instant, a canonical time.
        end: The instant after the last.
        at_once: How many windows can be fetched at once.
    """

    def __init__(self, start: str, end: str, *, at_once: int) -> None:
        self._line: list[Span | Window] = [Span(start, end)] if start < end else []
        self._at_once = at_once
        self._most_held = 2 * at_once
        self._most_beside_probe = USUAL_EVENTS * at_once // 4
        self._reach = 2 * at_once

    def __iter__(self) -> Iterator[Window]:
        """Iterate over the windows to be fetched."""
        return self

    def __next__(self) -> Window:
        """Give the window to be fetched next."""
        if self._waits_for_probe():
            raise StopIteration
        held = 0
        for place, part in enumerate(self._line):
            if isinstance(part, Span):
                if held >= self._most_held:
                    break
                window = part.cut(self._at_once)
                self._line[place : place + (part.start >= part.end)] = [window]
                return window
            held += part.is_finished
        raise StopIteration

    def _waits_for_probe(self) -> bool:
        first = self._line[0] if self._line else None
        if not isinstance(first, Window) or first.is_finished or not first.is_guess:
            return False
        known = sum(len(part) for part in self._line if isinstance(part, Window))
        return known >= self._most_beside_probe

    def finish(self, window: Window) -> None:
        """Take note that a window was fetched, or could not be."""
        window.is_finished = True
        if window not in self._line:  # an earlier one failed while this was in flight
            return
        place = self._line.index(window)
        if window.error is not None:  # nothing later can be written
            del self._line[place + 1 :]
            return
        rest = window.split()
        if rest is not None:
            self._line[place:place] = self._divided(rest)
        for span in self._line[place + 1 :]:
            if isinstance(span, Span):
                if rest is not None and span.width is not None:
                    span.width, span.is_guess = rest.width, False
                else:
                    span.learn(window)
                break

    def _divided(self, rest: Span) -> list[Span]:
        """Tell what lies near the events that were found from what may be years before them.

        The density of events is known near them only. What lies further back is probed as a
        whole: if it is empty, that costs one request.
        """
        if rest.width is None:
            return [rest]
        far = time_value(rest.end) - self._reach * rest.width
        if far <= time_value(rest.start) + rest.width:
            return [rest]
        self._reach *= 2
        begin, rest.start = rest.start, time_text(far)
        return [Span(begin, rest.start), rest]

    def take(self) -> Iterator[Window]:
        """Take the windows that can be written: finished, and none before them missing."""
        while self._line:
            first = self._line[0]
            if isinstance(first, Span) or not first.is_finished:
                return
            del self._line[0]
            yield first


def _times_of(events: list[Any]) -> list[str]:
    """The canonical time of each event; one without takes that of the newer event beside it."""
    if events and isinstance(events[0], Record):
        times = [event["created_at"] for event in events]
        if None not in times:
            return times
    times = []
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
