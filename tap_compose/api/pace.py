"""How many requests are in flight, and how fast they are sent."""

from __future__ import annotations

import logging
import threading
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING

from tap_compose.api.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Hashable

    from tap_compose.api.errors import ApiError

logger = logging.getLogger("tap-compose.api")

_DECREASE = 0.8
"""What a refusal leaves of the rate. TCP halves its own, but here nobody else wants the rest."""

_INCREASE = 0.001
"""The share by which a response raises the rate. At 20 per second it grows by 2 % a second, so a
refusal, which may cost a second, comes about every ten."""

_FIRST_INCREASE, _LARGEST_INCREASE = 0.06, 0.7
"""The same until the first refusal at a rate, and per second at most: at 20 it doubles in 1.4 s."""

_TOLERATED, _TOLERATED_LATER = 12, 2
"""One refusal of so many responses is no reason to slow down: its own retry costs less."""

_FEW, _USELESS = 20, 5
"""After so many decreases in a row, each with so few responses until the next refusal, refusals
have other reasons than the rate. From then on only every second one is a reason to slow down."""

_LONGEST_PAUSE = 60.0
"""Seconds between attempts while every request is refused."""


class Throttle:
    """Where every request waits for its turn.

    A 5xx or a time-out halves how many requests may be in flight; each response raises that a
    little. If the API refuses one of twelve with HTTP 429, requests are spaced, beginning at the
    measured rate: additive increase, multiplicative decrease, as in TCP. ``Retry-After`` pauses all
    requests. Those that fail together count as one failure.

    Args:
        most: The most requests in flight at once.

    Attributes:
        sent: How many requests were sent.
        paused_until: The end of a pause in which nothing is sent, by the monotonic clock.
    """

    def __init__(self, most: int) -> None:
        self.sent = 0
        self.paused_until = 0.0
        # An RLock: where a signal handler raises while its thread holds it, ``end`` still passes.
        self._changed = threading.Condition(threading.RLock())
        self._in_flight: set[Hashable] = set()
        self._most, self._limit, self._halved_at = most, float(most), 0.0
        self._rate = self._next = 0.0  # per second, 0 if nothing is spaced; when the next may go
        self._is_first_rise = True
        self._accepted = self._refused = 0  # since the rate was last lowered
        self._since = self._refused_at = 0.0
        self._pause, self._useless, self._tolerated = 0.5, 0, _TOLERATED

    def begin(self, request: Hashable) -> float:
        """Wait for the turn of a request; return when it is sent, by the monotonic clock."""
        with self._changed:
            while True:
                now = monotonic()
                wait = max(self._next, self.paused_until) - now
                if len(self._in_flight) >= int(self._limit):
                    self._changed.wait()
                elif wait > 0:
                    self._changed.wait(wait)
                else:
                    break
            if self._rate:
                self._next = now + 1 / self._rate
            self._since = self._since or now
            self._in_flight.add(request)
            self.sent += 1
            return now

    def end(self, request: Hashable, started: float, error: ApiError | None) -> None:
        """Learn from what came of a request; a second time does nothing."""
        with self._changed:
            if request not in self._in_flight:
                return
            self._in_flight.remove(request)
            now = monotonic()
            if not isinstance(error, TransientError):
                self._note_accepted(started)
            elif error.status == HTTPStatus.TOO_MANY_REQUESTS:
                self._note_refused(started, now, error.retry_after)
            elif started > self._halved_at:
                self._limit, self._halved_at = max(1.0, self._limit / 2), now
            if isinstance(error, TransientError) and error.retry_after is not None:
                self.paused_until = max(self.paused_until, now + error.retry_after)
            self._changed.notify_all()

    def _note_accepted(self, started: float) -> None:
        self._limit = min(self._most, self._limit + 1 / self._limit)
        self._accepted += 1
        if started > self._refused_at:
            share = _FIRST_INCREASE if self._is_first_rise else _INCREASE
            self._rate += min(share * self._rate, _LARGEST_INCREASE)

    def _note_refused(self, started: float, now: float, retry_after: float | None) -> None:
        if started <= self._refused_at:
            return
        self._refused += 1
        # Before requests are spaced one more: at first there are few to compare it with.
        is_rare = self._tolerated * (self._refused - (not self._rate)) <= self._accepted
        if is_rare and not (self._rate and retry_after):  # a pause costs more than a retry
            return
        measured = self._accepted / max(now - self._since, 1.0)
        if not self._rate:
            self._rate = max(measured, 1.0)
            logger.info(
                "the API refuses requests that come too fast (HTTP 429); from now on they are "
                "spaced, at first %.2g per second",
                self._rate,
            )
        elif self._accepted:
            self._lower_rate(measured)
        else:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            self.paused_until = now + self._pause
        self._refused_at = self._since = now
        self._accepted = self._refused = 0

    def _lower_rate(self, measured: float) -> None:
        self._is_first_rise = self._is_first_rise and self._accepted < 5  # noqa: PLR2004
        self._rate = max(_DECREASE * self._rate, min(self._rate, measured))
        self._pause = 0.5
        self._useless = self._useless + 1 if self._accepted < _FEW else 0
        if self._useless == _USELESS:
            self._rate = self._next = 0.0
            self._useless, self._tolerated = 0, _TOLERATED_LATER
