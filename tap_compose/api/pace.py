"""How many requests are in flight, and how fast they are sent."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING, Any

from tap_compose.api.errors import TransientError

if TYPE_CHECKING:
    from tap_compose.api.errors import ApiError

logger = logging.getLogger("tap-compose.api")

_DECREASE = 0.8
"""What a refusal leaves of the rate. TCP halves its own, but here nobody else wants the rest."""

_INCREASE = 0.02
"""Requests per second by which a response raises the rate: at 20 per second it grows by 2 % a
second, so a refusal, which may cost a second, comes about every ten."""

_SLOW_START = 0.03
"""The share by which a response raises the rate instead, until it is lowered: what was measured at
first may be far too low."""

_LOWEST_RATE = 0.1
"""Requests per second. An API that refuses this many accepts none at times, which pauses all."""

_TOLERATED = 30
"""A refusal, and one more for each so many responses, is no reason to slow down: a retry costs
less."""

_SHORTEST_MEASUREMENT = 0.5
"""Seconds before the rate is set again: the refusals of the first burst come before its
responses."""

_LONGEST_PAUSE = 60.0
"""Seconds between attempts while every request is refused."""


@dataclass(frozen=True, eq=False)
class Attempt:
    """A request that was sent, though not which: a body would live until its cycle is collected.

    Attributes:
        started: When it was sent, by the monotonic clock.
    """

    started: float


class Throttle:
    """Where every request waits for its turn.

    A 5xx or a time-out halves how many requests may be in flight; each response raises that a
    little. If the API refuses one of 30 with HTTP 429, requests are spaced, beginning at the
    measured rate: slow start, then additive increase, multiplicative decrease, as in TCP.
    ``Retry-After`` pauses all requests. Those that fail together count as one failure.

    Args:
        most: The most requests in flight at once.

    Attributes:
        in_flight: The requests that were sent and have not ended.
        sent: How many requests were sent.
        paused_until: The end of a pause in which nothing is sent, by the monotonic clock.
    """

    def __init__(self, most: int) -> None:
        self.in_flight: dict[Attempt, Any] = {}
        self.sent = 0
        self.paused_until = 0.0
        self._changed = threading.Condition()
        self._most, self._limit, self._halved_at = most, float(most), 0.0
        self._rate = self._next = 0.0  # per second, 0 if nothing is spaced; when the next may go
        self._is_slow_start = True
        self._accepted = self._refused = 0  # since the rate was last set
        self._rate_set_at = self._refused_at = 0.0
        self._pause = 0.5

    def begin(self, request: Any) -> Attempt:
        """Wait for the turn of a request."""
        with self._changed:
            while True:
                now = monotonic()
                wait = max(self._next, self.paused_until) - now
                if wait <= 0 and len(self.in_flight) < int(self._limit):
                    break
                self._changed.wait(wait if wait > 0 else None)
            if self._rate:
                self._next = now + 1 / self._rate
            self._rate_set_at = self._rate_set_at or now
            attempt = Attempt(now)
            self.in_flight[attempt] = request
            self.sent += 1
            return attempt

    def end(self, attempt: Attempt, error: ApiError | None) -> None:
        """Learn from what came of a request; a second time does nothing."""
        with self._changed:
            if attempt not in self.in_flight:
                return
            del self.in_flight[attempt]
            now = monotonic()
            if not isinstance(error, TransientError):
                self._note_accepted(attempt.started)
            elif error.status == HTTPStatus.TOO_MANY_REQUESTS:
                self._note_refused(attempt.started, now, error.retry_after)
            elif attempt.started > self._halved_at:
                self._limit, self._halved_at = max(1.0, self._limit / 2), now
            if isinstance(error, TransientError) and error.retry_after is not None:
                self.paused_until = max(self.paused_until, now + error.retry_after)
            self._changed.notify_all()

    def _note_accepted(self, started: float) -> None:
        self._limit = min(self._most, self._limit + 1 / self._limit)
        self._accepted += 1
        if self._rate and started > self._refused_at:
            self._rate += _SLOW_START * self._rate if self._is_slow_start else _INCREASE

    def _note_refused(self, started: float, now: float, retry_after: float | None) -> None:
        if started <= self._refused_at:
            return
        self._refused += 1
        elapsed = now - self._rate_set_at
        is_rare = not retry_after and _TOLERATED * (self._refused - 1) < self._accepted
        if is_rare or elapsed < _SHORTEST_MEASUREMENT:
            return
        if self._rate and not self._accepted:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            self.paused_until = now + self._pause
        else:
            if not self._rate:
                logger.info("the API refuses some requests (HTTP 429): now they are spaced")
            self._is_slow_start = not self._rate
            measured = (self._accepted + 1) / max(elapsed, 1.0)
            measured = min(self._rate or measured, measured)
            self._rate = max(_DECREASE * self._rate, measured, _LOWEST_RATE)
            self._pause = 0.5
        self._refused_at = self._rate_set_at = now
        self._accepted = self._refused = 0
