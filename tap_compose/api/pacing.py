"""Decide how many requests are sent at once, how fast, and when one is sent again.

No clock is read here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from http import HTTPStatus
from math import inf
from typing import TYPE_CHECKING

import backoff

from tap_compose.api.errors import TransientError

if TYPE_CHECKING:
    from tap_compose.api.errors import ApiError

logger = logging.getLogger("tap-compose.api")

_CATCH_UP = 0.05
"""Seconds: a request that is sent late by less does not delay those after it."""

_FIRST_PAUSE = 0.05
"""Seconds after the first refusal, when no rate is known."""

_LONG_PAUSE = 2.2
"""Seconds: an API that refuses requests for longer does not count them by the second."""


def is_refusal(outcome: bytes | ApiError) -> bool:
    """Return whether the API refused a request only because there were too many."""
    return isinstance(outcome, TransientError) and outcome.status == HTTPStatus.TOO_MANY_REQUESTS


class AdaptiveLimit:
    """How many requests may be in flight.

    Args:
        most: The limit to begin with, and never to exceed.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._lowered = 0.0

    @property
    def value(self) -> int:
        """Most requests in flight at once."""
        return int(self._limit)

    def adapt(self, outcome: bytes | ApiError, started: float, ended: float) -> None:
        """Learn from a request that was sent; times are by the monotonic clock."""
        if not isinstance(outcome, TransientError):
            self._limit = min(self._most, self._limit + 1 / self._limit)
        elif started > self._lowered and not is_refusal(outcome):  # a burst counts as one
            self._limit = max(1.0, self._limit / 2)
            self._lowered = ended


class RateSearch:
    """Find the highest rate that the API bears.

    The rate rises by a step once the API has borne it for a while. A refusal undoes the last rise
    and makes the step smaller. A refusal without a rise before it makes the step larger: the API
    bears less than it did. So do several rises without a refusal: it bears more. The constants
    come from simulations of fixed, sliding and token-bucket limits.

    Args:
        rate: Requests per second to begin with.
        step: The share of the rate by which it rises first.
    """

    LEAST_STEP = 0.005
    LEAST_RATE = 0.5
    """Where refusals do not lower the rate any more; averages over longer times may."""

    def __init__(self, rate: float, step: float) -> None:
        self.rate = rate
        self._step = min(max(step, self.LEAST_STEP), 1.0)
        self._rises = 0  # since the last refusal
        self._borne = 0.0  # seconds at this rate

    def bear(self, seconds: float, latency: float, pause: float) -> None:
        """Take note that the rate was kept, and raise it if that has been long enough.

        Args:
            seconds: For how much longer.
            latency: Seconds until a response.
            pause: Seconds for which nothing was sent after the last refusal.
        """
        self._borne += seconds
        # Most limits count by the second. One that is exceeded by a share of 1/n shows that after
        # n requests. And the longer the pause that a refusal costs, the more rarely it is risked.
        enough = max(
            2 * latency + (1.1 if self._step < 0.5 else 0.6),  # noqa: PLR2004
            1 / (self._step * self.rate),
            min(0.5 / self._step, 15.0) * pause if self._rises <= 2 else 0.0,  # noqa: PLR2004
        )
        if self._borne >= enough:
            self.rate *= 1 + self._step
            self._rises += 1
            self._borne = 0.0
            if self._rises > 2:  # noqa: PLR2004
                self._step = max(self._step, min(1.5 * self._step, 0.25))

    def refuse(self) -> None:
        """Lower the rate."""
        before = self.rate
        if self._rises:
            self.rate /= 1 + 1.3 * self._step
            self._step = max(0.3 * self._step, self.LEAST_STEP)
        else:
            self._step = min(2 * self._step, 0.5)
            self.rate *= 1 - self._step
        self.rate = max(self.rate, min(before, self.LEAST_RATE))
        self._rises = 0
        self._borne = 0.0


class Pace:
    """When the next request may be sent; times are by the monotonic clock.

    Nothing is paced until the API refuses a request with HTTP 429. Then requests are spaced evenly,
    just under the rate that it bears. The refusals of requests that were in flight together count
    as one, and so do their pauses.

    Args:
        longest_backoff: Seconds to pause at most, unless ``Retry-After`` asks for more.
        max_refusals: Refusals in a row after which pauses are not made longer any more.

    Attributes:
        refusals: How many there were since the last response that was none.
        paused_until: The end of a pause in which nothing is sent.
    """

    def __init__(self, longest_backoff: float, max_refusals: int) -> None:
        self.refusals = 0
        self.paused_until = 0.0
        self._longest_backoff = longest_backoff
        self._max_refusals = max_refusals
        self._search: RateSearch | None = None
        self._next = 0.0
        self._last_sent = 0.0
        self._latency = 0.0
        self._pause = 0.0  # after the last refusal
        # From the first request that passed after a refusal, to the first after the next one:
        self._cycle_began = inf
        self._answered = 0
        self._answered_in_time = 0  # those that were sent before the refusal
        self._refused_from = 0.0  # when the first request was sent that was refused
        self._stopped = -inf  # when the pause began

    @property
    def rate(self) -> float | None:
        """Requests per second; None if nothing is paced."""
        return None if self._search is None else self._search.rate

    @property
    def ready_at(self) -> float:
        """When the next request may be sent."""
        return max(self.paused_until, self._next)

    def note_sent(self, now: float) -> None:
        """Take note that a request is sent."""
        self._cycle_began = min(self._cycle_began, now)
        ready = self.ready_at
        interval = self._interval(now)
        is_held_back = now - ready < interval
        if self._search is not None and is_held_back and not self.refusals:
            seconds = min(now - self._last_sent, 2 * interval)
            self._search.bear(seconds, self._latency, self._pause)
        self._last_sent = now
        if self.refusals > 1:  # the pause was too short: one request finds out about the next
            self._next = now + max(interval, 2 * self._latency)
        else:
            self._next = max(ready, now - _CATCH_UP) + interval

    def note_outcome(self, outcome: bytes | ApiError, started: float, ended: float) -> None:
        """Learn from a request that was sent."""
        if not isinstance(outcome, TransientError):
            self._latency = ended - started
            self._note_answer(started)
        elif started > self._stopped:  # a burst counts as one
            if is_refusal(outcome):
                self._latency = ended - started
                self._stopped = ended
                self._refuse(started, ended, outcome.retry_after)
            elif outcome.retry_after is not None:
                self._stopped = ended
                self.paused_until = max(self.paused_until, ended + outcome.retry_after)

    def _note_answer(self, started: float) -> None:
        self._answered += 1
        if not self.refusals or started <= self._refused_from:
            self._answered_in_time += 1
        if self.refusals and started > self._stopped:
            self._resume(started)

    def _interval(self, now: float) -> float:
        if self._search is not None:
            return 1 / self._search.rate
        if self.refusals and self._answered:  # a first estimate
            return max(now - self._cycle_began, 1.0) / self._answered
        return 0.0

    def _refuse(self, started: float, ended: float, retry_after: float | None) -> None:
        self.refusals += 1
        if self.refusals == 1:
            self._refused_from = started
            if self._search is not None:
                self._search.refuse()
        pause = retry_after
        if pause is None:
            if 1 < self.refusals <= self._max_refusals:
                pause = 2.0 ** (self.refusals - 2)
            else:
                pause = _FIRST_PAUSE if self._search is None else min(self._interval(ended), 1.0)
            pause = min(pause, self._longest_backoff)
        self.paused_until = self._next = ended + pause

    def _resume(self, started: float) -> None:
        """Learn from what has passed between two refusals, and begin a new cycle."""
        answered = max(self._answered - 1, 1)
        seconds = started - self._cycle_began
        seconds_in_time = self._refused_from - self._cycle_began
        self._pause = started - self._refused_from
        blocked = self._pause - self._latency
        if blocked > _LONG_PAUSE:  # no limit by the second: the average counts
            rate = answered / seconds
            if self._search is not None:
                rate = min(rate, self._search.rate)
            self._search = RateSearch(rate, 1 / answered)
        elif self._search is None:
            rate = max(self._answered_in_time, 1) / max(seconds_in_time, 1.0)
            self._search = RateSearch(rate, max(1 / answered, 0.05))
        elif blocked > 2 * seconds_in_time:  # far too fast
            rate = self._search.rate
            self._search.rate = max(min(rate, answered / seconds), rate / 2)
        self.refusals = 0
        self._cycle_began = self._last_sent = started
        self._answered = self._answered_in_time = 1


@dataclass(frozen=True)
class RetryPolicy:
    """How often a request is sent again, and when.

    Attributes:
        max_retries: Further tries after the first.
        longest_backoff: Seconds to wait at most, unless ``Retry-After`` asks for more.
    """

    max_retries: int
    longest_backoff: float

    def allows_retry(self, tries: int, problem: TransientError) -> bool:
        """Tell whether a request that was sent so often has tries left."""
        return tries <= self._most_retries(problem)

    def allows_another_refusal(self, refusals: int, in_a_row: int) -> bool:
        """Tell whether a request that the API refused so often for the rate may be sent again.

        Args:
            refusals: How often this request was refused.
            in_a_row: How many refusals there were since the API bore any request.
        """
        if refusals <= self.max_retries:
            return True
        return in_a_row <= self.max_retries and refusals <= 4 * self.max_retries

    def wait_before_retry(self, path: str, tries: int, problem: TransientError) -> float:
        """Return in how many seconds a request will be sent again, and log it."""
        wait = problem.retry_after
        if wait is None:
            wait = backoff.full_jitter(min(2.0 ** (tries - 1), self.longest_backoff))
        logger.info(
            "GET %s: %s; retry %d of %d in %.1f s",
            path,
            problem,
            tries,
            self._most_retries(problem),
            wait,
        )
        return wait

    def _most_retries(self, problem: TransientError) -> int:
        if problem.most_retries is None:
            return self.max_retries
        return min(self.max_retries, problem.most_retries)
