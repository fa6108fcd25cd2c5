"""Distinguish a dead token from a denied resource, and a dead API from a failed request."""

from __future__ import annotations

import itertools
from time import monotonic, sleep
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tap_compose.api import hal
from tap_compose.api.errors import (
    ApiError,
    DeniedError,
    RejectedError,
    RunEndingError,
    TokenRejectedError,
    TransientError,
    UnauthorizedError,
    UnreadableBodyError,
)
from tap_compose.api.first_contact import FirstContact

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_compose.api.pacing import RetryPolicy
    from tap_compose.api.scheduler import PendingRequest, Tuning

_PROBE_PATH = "/accounts"
"""The one resource that every live token may read."""


class Liveness:
    """Knows whether the token works and whether the API responds.

    Args:
        base_url: Base URL without a slash at its end.
        send: Sends a request to a URL once.
        retries: How often a probe is sent again.
        tuning: How long to wait for the first response, and when to probe.

    Attributes:
        first_contact: Whether the API has responded at all, and how long to wait until it does.
    """

    def __init__(
        self,
        base_url: str,
        send: Callable[[str], bytes | ApiError],
        retries: RetryPolicy,
        tuning: Tuning,
    ) -> None:
        self._probe_url = f"{base_url}{_PROBE_PATH}"
        self._send = send
        self._retries = retries
        self._most_silent_failures = tuning.silent_failures
        self._silent_failures = 0
        address = urlsplit(base_url).netloc
        self.first_contact = FirstContact(address, retries.max_retries, tuning)
        self._accepted = 0.0  # when the latest request was sent that the token was good for
        self._probe_ended = 0.0
        self._probe_error: ApiError | None = None

    def note_response(self) -> None:
        """Record that the API responded; called by the worker threads."""
        self.first_contact.is_made = True
        self._silent_failures = 0

    def note_accepted(self, started: float) -> None:
        """Record a response with status 200; called by the worker threads.

        Args:
            started: When its request was sent, by the monotonic clock.
        """
        # Without a lock: in the worst case an earlier time stays, and a probe is sent.
        self._accepted = max(self._accepted, started)

    def judge(self, pending: PendingRequest, error: ApiError) -> ApiError:
        """Return what the failure of a request means for the run.

        Args:
            pending: The request.
            error: Its outcome.

        Returns:
            The error; a 401 becomes one that shows whether the token is alive.

        Raises:
            RunEndingError: If no further request can succeed.
        """
        if isinstance(error, UnauthorizedError):
            error = self._judge_refusal(pending, error)
        if isinstance(error, RunEndingError):
            raise error
        if error.status is None:
            self._check_silence(error)
        return error

    def _judge_refusal(self, pending: PendingRequest, refusal: UnauthorizedError) -> ApiError:
        if pending.path == _PROBE_PATH:
            return _token_rejected(refusal)
        if self._accepted > pending.started:
            return DeniedError(str(refusal), status=refusal.status)
        if pending.started > self._probe_ended:
            self._probe_error = self._probe()
            self._probe_ended = monotonic()
        if isinstance(self._probe_error, UnauthorizedError):
            return _token_rejected(refusal)
        if self._probe_error is None or isinstance(self._probe_error, DeniedError):
            return DeniedError(str(refusal), status=refusal.status)
        return RejectedError(
            f"{refusal}; could not check whether the token works: {self._probe_error}",
            status=refusal.status,
        )

    def _check_silence(self, error: ApiError) -> None:
        """Raise if the API no longer responds."""
        self._silent_failures += 1
        if self._silent_failures >= self._most_silent_failures and self._is_silent():
            raise self.first_contact.unreachable(str(error)) from error

    def _is_silent(self) -> bool:
        problem = self._probe()
        return problem is not None and problem.status is None

    def _probe(self) -> ApiError | None:
        """Send a probe in this thread: it must not wait for the requests that are queued."""
        accepted = self._accepted
        for tries in itertools.count(1):
            outcome = self._send(self._probe_url)
            problem = outcome if isinstance(outcome, ApiError) else _no_accounts(outcome)
            if not isinstance(problem, TransientError) or not self._retries.allows_retry(
                tries, problem
            ):
                break
            sleep(self._retries.wait_before_retry(_PROBE_PATH, tries, problem))
        if problem is not None:
            self._accepted = accepted
        return problem


def _no_accounts(body: bytes) -> TransientError | None:
    """Return what is wrong with the probe's body: a login page proves nothing."""
    try:
        hal.embedded(hal.decode(body), "accounts")
    except UnreadableBodyError as error:
        return TransientError(f"HTTP 200 with {error}", status=200)
    return None


def _token_rejected(refusal: UnauthorizedError) -> TokenRejectedError:
    return TokenRejectedError(
        f"the API rejects this api_token ({refusal}): it was mistyped or revoked; create a new one "
        "in the Compose console under Account > API Tokens",
        status=refusal.status,
    )
