"""Decide how long a run waits until the API has responded for the first time."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING

from tap_compose.api.errors import ApiError, TransientError, UnreachableError
from tap_compose.hosts import PUBLIC_API

if TYPE_CHECKING:
    from tap_compose.api.scheduler import Tuning


class FirstContact:
    """Counts how often nothing responded, from the first request of a run to the first response.

    Requests that fail at the same time count as one try. After each try all requests pause.

    Args:
        address: The API's host and port.
        max_retries: Further tries after the first, if ``tuning`` allows as many.
        tuning: How long to wait, and how often.

    Attributes:
        is_made: Whether anything has responded.
    """

    def __init__(self, address: str, max_retries: int, tuning: Tuning) -> None:
        self.is_made = False
        self._address = address
        self._max_retries = min(max_retries, tuning.first_retries)
        self._tuning = tuning
        self._lock = threading.Lock()
        self._tries = 0
        self._paused_until = 0.0
        self._deadline: float | None = None

    def timeout(self, timeout: float) -> float:
        """Return how long a request may take.

        Args:
            timeout: How long it may take once something has responded.
        """
        return timeout if self.is_made else min(timeout, self._tuning.first_timeout)

    def judge(self, message: str, started: float) -> ApiError:
        """Return what a request without any response means; called by the worker threads.

        Args:
            message: Why there was no response.
            started: When the request was sent, by the monotonic clock.
        """
        now = monotonic()
        with self._lock:
            if self.is_made:
                return TransientError(message)
            if started >= self._paused_until:
                backoff = min(2.0**self._tries, self._tuning.longest_backoff)
                self._tries += 1
                self._paused_until = now + backoff
            if self._tries > self._max_retries:
                return self.unreachable(message)
            pause = max(self._paused_until - now, 0.0)
        return TransientError(message, retry_after=pause, most_retries=self._max_retries)

    @property
    def seconds_left(self) -> float | None:
        """How long to wait for the first response; None if there was one."""
        if self.is_made:
            return None
        now = monotonic()
        if self._deadline is None:
            self._deadline = now + self._tuning.longest_first_contact
        return max(self._deadline - now, 0.0)

    def check(self) -> None:
        """Raise ``UnreachableError`` if the wait is over: a request can outlive its timeout.

        Looking up a host can, for one.
        """
        if self.seconds_left == 0:
            seconds = self._tuning.longest_first_contact
            raise self.unreachable(f"no response from {self._address} in {seconds:g} s")

    def unreachable(self, message: str) -> UnreachableError:
        """Return the error that ends the run.

        Args:
            message: Why there was no response.
        """
        advice = "check api_url and the network"
        if self._address == PUBLIC_API:
            advice = (
                "Compose's public API was shut down in 2023; set api_url to another server, "
                "such as that of compose-sandbox"
            )
        return UnreachableError(f"{message}; nothing responds at {self._address}: {advice}")
