"""What of the audit log is fetched when: windows of time, planned without clock or network.

Responses go in, the next windows and the finished ones come out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from operator import itemgetter
from typing import TYPE_CHECKING

from tap_compose.streams.audit_pages import PageLengths, Paginator
from tap_compose.times import moved, time_text, time_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_compose.api.errors import ApiError
    from tap_compose.rows.reader import Row
    from tap_compose.streams.audit_pages import Page

_TICK = timedelta(milliseconds=1)
_TIME = itemgetter(0)


@dataclass(frozen=True)
class WindowTuning:
    """How wide windows are.

    Attributes:
        probe_pages: So many pages tell how dense the events are before the time is cut.
        most_pages: A window that is not through after so many pages is split.
        usual_events: How many events a window is meant to hold.
        narrowest: A narrower window costs more in overlap with its neighbours than it saves.
        widest: A wider window is no better: there are no older events.
    """

    probe_pages: int = 2
    most_pages: int = 20
    usual_events: int = 1000
    narrowest: timedelta = timedelta(seconds=30)
    widest: timedelta = timedelta(days=366 * 20)

    def bounded(self, width: timedelta) -> timedelta:
        """Return the nearest width that a window may have."""
        return min(max(width, self.narrowest), self.widest)


@dataclass
class Span:
    """Time that is still to be cut into windows.

    Attributes:
        start: The first instant, a canonical time.
        end: The instant after the last.
        tuning: How wide windows are.
        lengths: What is known of the length of pages.
        width: How wide the next window should be; None for all of it.
        is_probe: Whether that is a guess, not drawn from the events nearby: then the window is
            split into narrower ones after a few pages.
        paginator: What has read everything down to ``end`` already.
        known: The known events that belong to the span, in the order of the responses.
    """

    start: str
    end: str
    tuning: WindowTuning
    lengths: PageLengths
    width: timedelta | None = None
    is_probe: bool = True
    paginator: Paginator | None = None
    known: tuple[tuple[str, Row], ...] = ()

    def cut(self, at_once: int) -> Window:
        """Take the first window off the span, or all of it if what is left would be narrow.

        Args:
            at_once: How many windows can be fetched at once. Towards the end of the span they
                get narrower, so that all of these are busy to the last.

        Returns:
            The window.
        """
        start, end, narrowest = time_value(self.start), time_value(self.end), self.tuning.narrowest
        until = self.end
        if self.width is not None:
            width = max(min(self.width, (end - start) / at_once), self.width / 5, narrowest)
            if end - start > width + narrowest:
                until = time_text(start + width)
        is_last = until == self.end
        if is_last and self.paginator is not None:
            paginator = self.paginator.resume(self.start)
        else:
            paginator = Paginator(self.start, until, self.lengths)
        window = Window(
            self.start,
            until,
            self.tuning,
            paginator,
            is_probe=self.is_probe,
            known=self.known if is_last else (),
        )
        self.start = until
        return window

    def learn(self, window: Window) -> None:
        """Choose the width of the next windows by what the one before them held."""
        if self.width is None:
            return
        self.is_probe = not window.event_count
        if self.is_probe:
            self.width = min(2 * self.width, self.tuning.widest)
        else:
            factor = min(max(self.tuning.usual_events / window.event_count, 1 / 8), 8)
            self.width = self.tuning.bounded(window.width * factor)


class Window:
    """The events of a span of time that is fetched page by page.

    Args:
        start: The first instant, a canonical time.
        end: The instant after the last.
        tuning: How wide windows are.
        paginator: Reads its pages.
        is_probe: Whether its width is a guess: then it is split after a few pages, if it can be.
        known: Events of the window that the paginator has read before.

    Attributes:
        is_read: Whether no further page is wanted.
        is_finished: Whether no further page is to be fetched.
        error: Why it could not be fetched.
    """

    def __init__(
        self,
        start: str,
        end: str,
        tuning: WindowTuning,
        paginator: Paginator,
        *,
        is_probe: bool,
        known: Iterable[tuple[str, Row]] = (),
    ) -> None:
        self.start = start
        self.end = end
        self.width = time_value(end) - time_value(start)
        self.paginator = paginator
        self.is_probe = is_probe
        self._tuning = tuning
        self._pages = 0
        self._events = list(known)
        self.is_read = False
        self.is_finished = False
        self.error: ApiError | None = None

    @property
    def event_count(self) -> int:
        """How many events are known."""
        return len(self._events)

    def add(self, page: Page) -> None:
        """Take what a page holds of this window.

        Raises:
            UnreadableBodyError: If it is not what its place in the order of pages promises.
        """
        events = self.paginator.read(page)
        self._pages += 1
        self._events += [each for each in events if self.start <= each[0] < self.end]
        most_pages = self._tuning.probe_pages if self.is_probe else self._tuning.most_pages
        self.is_read = self.paginator.is_complete or (
            self._pages >= most_pages and self._can_be_split()
        )

    def _can_be_split(self) -> bool:
        lowest, latest = self.paginator.lowest, self.paginator.latest_unseen
        return (
            not self.paginator.is_checking
            and lowest is not None
            and latest is not None
            and latest < (self.newest or "")
            and time_value(lowest) - time_value(self.start) > self._tuning.narrowest
        )

    def split(self) -> Span | None:
        """Shrink to what is known for certain, if the start was not reached.

        Returns:
            None if the window is complete; otherwise the span before it that is still to be
            fetched. Events out of order may be missing near the oldest one, so those times
            belong to it.
        """
        lowest, latest, newest = self.paginator.lowest, self.paginator.latest_unseen, self.newest
        if self.paginator.is_complete or lowest is None or latest is None or newest is None:
            return None
        count = len(self._events)
        start, self.start = self.start, moved(latest, _TICK)
        known = [each for each in self._events if each[0] < self.start]
        self._events = [each for each in self._events if each[0] >= self.start]
        width = (time_value(newest) - time_value(lowest)) * (self._tuning.usual_events / count)
        return Span(
            start,
            self.start,
            self._tuning,
            self.paginator.lengths,
            self._tuning.bounded(width),
            is_probe=False,
            paginator=self.paginator,
            known=tuple(known),
        )

    @property
    def newest(self) -> str | None:
        """The time of the newest event, None if there is none."""
        return max(map(_TIME, self._events), default=None)

    def events(self) -> list[Row]:
        """Return the events, oldest first."""
        newest_first = sorted(self._events, key=_TIME, reverse=True)
        return [event for _, event in reversed(newest_first)]


class Plan:
    """What is to be fetched, is being fetched, and waits to be written, in order of time.

    Args:
        start: The first instant, a canonical time.
        end: The instant after the last.
        at_once: How many windows can be fetched at once.
        tuning: How wide windows are.
    """

    def __init__(self, start: str, end: str, *, at_once: int, tuning: WindowTuning) -> None:
        self._timeline: list[Span | Window] = []
        if start < end:
            self._timeline.append(Span(start, end, tuning, PageLengths()))
        self._at_once = at_once
        self._most_held = 2 * at_once
        self._most_beside_probe = tuning.usual_events * at_once // 4
        self._reach = 2 * at_once

    def next_window(self) -> Window | None:
        """Return the window to be fetched next: the earliest one.

        None if so many wait already that only what holds them up is wanted, or if the earliest
        one probes time of which nothing is known: what is fetched far after it waits longest.
        """
        if self._waits_for_probe():
            return None
        held = 0
        for index, part in enumerate(self._timeline):
            if isinstance(part, Span):
                if held >= self._most_held:
                    break
                window = part.cut(self._at_once)
                self._timeline[index : index + (part.start >= part.end)] = [window]
                return window
            held += part.is_finished
        return None

    def _waits_for_probe(self) -> bool:
        first = self._timeline[0] if self._timeline else None
        if not isinstance(first, Window) or first.is_finished or not first.is_probe:
            return False
        known = sum(part.event_count for part in self._timeline if isinstance(part, Window))
        return known >= self._most_beside_probe

    def finish(self, window: Window) -> None:
        """Take note that a window was fetched, or could not be."""
        window.is_finished = True
        if window not in self._timeline:  # an earlier one failed while this was in flight
            return
        index = self._timeline.index(window)
        if window.error is not None:  # nothing later can be written
            del self._timeline[index + 1 :]
            return
        rest = window.split()
        if rest is not None:
            self._timeline[index:index] = self._divided(rest)
        for span in self._timeline[index + 1 :]:
            if isinstance(span, Span):
                if rest is not None and span.width is not None:
                    span.width, span.is_probe = rest.width, False
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
        return [Span(begin, rest.start, rest.tuning, rest.lengths), rest]

    def take(self) -> Window | None:
        """Return the next window that can be written: finished, and none before it missing."""
        first = self._timeline[0] if self._timeline else None
        if not isinstance(first, Window) or not first.is_finished:
            return None
        return self._timeline.pop(0)  # type: ignore[return-value]
