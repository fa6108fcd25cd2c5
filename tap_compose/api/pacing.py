"""Decide how many requests are sent at once, and when one is sent again."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import backoff

from tap_compose.api.errors import TransientError

if TYPE_CHECKING:
    from tap_compose.api.errors import ApiError

logger = logging.getLogger("tap-compose.api")


class AdaptiveLimit:
    """How many requests may be in flight, and when the next one may be sent.

    Args:
        most: The limit to begin with, and never to exceed.

    Attributes:
        paused_until: By the monotonic clock, the end of a pause that ``Retry-After`` asked for.
    """

    def __init__(self, most: int) -> None:
        self.paused_until = 0.0
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
            return
        if started > self._lowered:  # a burst of failures counts as one
            self._limit = max(1.0, self._limit / 2)
            self._lowered = ended
        if outcome.retry_after is not None:
            self.paused_until = max(self.paused_until, ended + outcome.retry_after)


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
