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

_CATCH_UP = 0.005
"""Seconds: a request that is sent late by less does not delay those after it."""

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
        elif started > self._lowered:  # a burst of failures counts as one
            self._limit = max(1.0, self._limit / 2)
            self._lowered = ended


class RateSearch:
    """Find the highest rate that the API bears.

    The search begins low, and the rate grows with each response until the first refusal. From then
    on it rises by a step once the API has borne it for a while. A refusal takes back the last rise
    and makes the step smaller; without a rise before it, the rate falls by a step. Steps in the
    same direction double.

    Args:
        answered: How many requests the API answered before it refused one.
        seconds: In how many seconds.
    """

    FIRST_RATE = 5.0
    LEAST_RATE = 0.5
    GROWTH = 0.7
    """What each response adds to the rate at first. The rate doubles in a second."""
    STEP = 0.07
    LEAST_STEP = 0.015
    MOST_STEP = 0.5

    def __init__(self, answered: int, seconds: float) -> None:
        self._burst = answered
        self._seconds = max(seconds, 1.0)  # most limits count by the second
        self.rate = max(self._burst / self._seconds, self.FIRST_RATE)
        self._is_growing = True
        self._step = self.STEP
        self._rises = 0  # since the last refusal
        self._borne = 0  # requests at this rate
        self._since = 0.0

    def bear_late(self) -> None:
        """Take note that a request passed that was sent before the last refusal."""
        if self._is_growing:
            self._burst += 1
            self.rate = max(self._burst / self._seconds, self.rate)

    def bear(self, started: float, ended: float, pause: float) -> None:
        """Take note that a request passed that was sent at the rate.

        Args:
            started: When it was sent.
            ended: When it was answered.
            pause: Seconds for which nothing was sent after the last refusal.
        """
        if self._is_growing:
            self.rate += min(self.GROWTH, self.rate / 3)
            return
        self._borne += started >= self._since
        step = self._step
        if self._rises > 1:
            step, pause = min(2 * step, self.MOST_STEP), 0.0
        # A limit by the second that is exceeded by a share of 1/n shows that after n requests.
        # And the longer the pause that a refusal costs, the more rarely it is risked.
        seconds = max(1.1 + ended - started, 0.4 * pause / step)
        if self._borne >= max(seconds * self.rate, 1 / step):
            self.rate *= 1 + step
            self._step = step
            self._rises += 1
            self._borne = 0
            self._since = ended

    def refuse(self, passed: float = inf) -> None:
        """Lower the rate.

        Args:
            passed: Requests per second since the last refusal, if its pause was long enough to
                count them.
        """
        if self._is_growing:
            self._is_growing = False
            # So far is the rate above one that bears bursts: about as many as at first have passed.
            spare = self.GROWTH * max(self._burst - 1.5, 0.25)
            excess = (spare**2 / 9 + 2 * spare * self.rate) ** 0.5 - spare / 3
            counted = min(self._burst / self._seconds, passed)
            self.rate = 0.97 * max(counted, self.rate - excess)
        elif self._rises:
            self.rate /= 1 + self._step
            self._step = max(0.3 * self._step, self.LEAST_STEP)
        else:
            self.rate *= 1 - self._step
            self._step = min(2 * self._step, self.MOST_STEP)
        self.rate = max(self.rate, self.LEAST_RATE)
        self._rises = self._borne = 0

    def limit(self, rate: float) -> None:
        """Keep to a rate that an API bore on average that does not count by the second."""
        self.rate = rate
        self._is_growing = False
        self._step = self.LEAST_STEP
        self._rises = self._borne = 0


class Pace:
    """When the next request may be sent; times are by the monotonic clock.

    Some APIs refuse a request now and then for reasons other than the rate. So HTTP 429 is a
    failure like any other at first. Pacing begins once more than a fifth of the requests are
    refused; one with ``Retry-After`` counts as 8. Then requests are spaced evenly, just under
    the rate that the API bears. The refusals of requests that were in flight together count as one,
    and so do their pauses.

    If refusals stay frequent at lower rates, they seem to have other reasons. Then nothing is paced
    until more than half of the requests are refused.

    Args:
        longest_backoff: Seconds to pause at most, unless ``Retry-After`` asks for more.
        max_refusals: Refusals in a row after which pauses are not made longer any more.

    Attributes:
        refusals: How many there were since the last response that was none.
        paused_until: The end of a pause in which nothing is sent.
    """

    RARE = 4
    """Requests between two refusals, at least, that make them rare."""

    PATIENCE = 3
    """By how much frequent refusals outnumber rare ones when pacing ends."""

    def __init__(self, longest_backoff: float, max_refusals: int) -> None:
        self.refusals = 0
        self.paused_until = 0.0
        self._longest_backoff = longest_backoff
        self._max_refusals = max_refusals
        self._search: RateSearch | None = None
        self._next = 0.0
        self._is_held_back = False
        self._latency = 0.0
        self._pause = 0.0  # after the last refusal
        self._stopped = -inf  # when the last pause began
        self._frequent = 0
        self._is_paced = False
        self._refused = 0
        # From the first request that passed after a refusal, to the first after the next one:
        self._since = inf
        self._answered = 0

    @property
    def rate(self) -> float | None:
        """Requests per second; None if nothing is paced."""
        return self._search.rate if self._search is not None and self._is_paced else None

    @property
    def ready_at(self) -> float:
        """When the next request may be sent."""
        return max(self.paused_until, self._next)

    def note_sent(self, now: float) -> None:
        """Take note that a request is sent."""
        self._since = min(self._since, now)
        rate = self.rate
        if rate is None:
            return
        self._is_held_back = now - self.ready_at < 1 / rate
        self._next = max(self.ready_at, now - _CATCH_UP) + 1 / rate
        if self.refusals > 1:  # the pause was too short: one request finds out about the next
            self._next = max(self._next, now + 2 * self._latency)

    def note_outcome(self, outcome: bytes | ApiError, started: float, ended: float) -> bool:
        """Learn from a request that was sent.

        Returns:
            Whether it was refused for the rate, which is no fault of the request.
        """
        self._latency = ended - started
        if not isinstance(outcome, TransientError):
            self._note_answer(started, ended)
            return False
        pause = outcome.retry_after
        is_for_rate = is_refusal(outcome) and self._paces(pause)
        if is_for_rate and started > self._stopped:  # a burst counts as one
            self._stopped = ended
            self._refuse(ended)
            self.paused_until = ended + max(self._backoff(), pause or 0.0)
        elif not is_for_rate and pause is not None:
            self.paused_until = max(self.paused_until, ended + pause)
        return is_for_rate

    def _paces(self, retry_after: float | None) -> bool:
        """Return whether requests are paced, after a refusal."""
        self._refused += 1 if retry_after is None else 8
        most = self._answered / 4 + 10 if self._search is None else self._answered + 25
        self._is_paced = self._is_paced or self._refused > most
        return self._is_paced

    def _note_answer(self, started: float, ended: float) -> None:
        self._answered += 1
        if self._search is None or not self._is_paced:
            return
        if started <= self._stopped:
            self._search.bear_late()  # a refusal may be quicker than the answers before it
            return
        if self.refusals:
            self.refusals = 0
            self._pause = started - self._stopped
            average = (self._answered - 1) / (started - self._since)
            if self._pause > _LONG_PAUSE and average < self._search.rate / 2:
                self._search.limit(average)
            self._answered, self._since = 1, started
        if self._is_held_back:
            self._search.bear(started, ended, self._pause)

    def _refuse(self, ended: float) -> None:
        """Lower the rate, once in a row of refusals."""
        self.refusals += 1
        if self.refusals > 1:
            return
        seconds = ended - self._since
        if self._search is None:
            self._search = RateSearch(self._answered, seconds)
            return
        self._search.refuse(self._answered / max(seconds, 1.0) if self._pause >= 1.0 else inf)
        self._frequent = max(0, self._frequent + (1 if self._answered < self.RARE else -1))
        if self._frequent == self.PATIENCE:
            self._is_paced = False
            self._frequent = self._refused = self._answered = self.refusals = 0
            self._next = 0.0

    def _backoff(self) -> float:
        """Return for how long nothing is sent after a refusal without ``Retry-After``."""
        if 1 < self.refusals <= self._max_refusals:
            return min(2.0 ** (self.refusals - 2), self._longest_backoff)
        return 0.0 if self.rate is None else min(1 / self.rate, 1.0, self._longest_backoff)


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
