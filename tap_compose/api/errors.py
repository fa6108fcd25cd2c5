"""What a response of the Compose API means: one tree of exceptions, and the one for each status."""

from __future__ import annotations

from calendar import timegm
from email.utils import parsedate
from http import HTTPStatus
from http.client import responses
from time import time
from typing import TYPE_CHECKING

import msgspec

from tap_compose.logs import escape, mask

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_WAIT = 3600.0
"""Maximum seconds of a ``Retry-After``: a wrong header must not stop a run for a day."""

LONGEST_EXCERPT = 200
"""Characters of a text from outside in a message."""


class ApiError(Exception):
    """A resource that could not be read; the message is one line, without a secret.

    Args:
        message: What went wrong.
        status: The HTTP status; None if no response has begun.
        retry_after: Seconds to wait, from ``Retry-After``; None without it.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


class TransientError(ApiError):
    """May succeed later: 408, 429, 5xx, a time-out, a broken connection, a body that is no JSON."""


class DeniedError(ApiError):
    """The token may not read this resource: 403, or 401 if the token is good for others."""


class GoneError(ApiError):
    """404 or 410: the resource does not exist or no longer exists."""


class RejectedError(ApiError):
    """Would fail the same way again: any other 4xx, or a redirect."""


class RunEndingError(ApiError):
    """No further request makes sense: the token is dead, or there is no API at this address."""


class UnreadableBodyError(TransientError):
    """A response with status 200 whose body is not what the endpoint promises.

    Args:
        body: What it is instead, such as "an empty body".
    """

    def __init__(self, body: str) -> None:
        super().__init__(f"HTTP 200 with {body}", status=HTTPStatus.OK)


ERRORS_BY_STATUS: Mapping[int, type[ApiError]] = {
    401: DeniedError,
    403: DeniedError,
    404: GoneError,
    408: TransientError,
    410: GoneError,
    429: TransientError,
}
"""The error that a status stands for; docs/architecture.md, Where to add a stream, a column, a
setting, a kind of failure, has the steps for one more."""

_REJECTED = range(300, 500)
"""All other statuses that stand for a ``RejectedError``; what is left may succeed later."""


def unexpected(error: Exception) -> str:
    """Return one line about an exception that nobody expected.

    Args:
        error: The exception, whose text may hold anything.
    """
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    text = escape(mask(text), LONGEST_EXCERPT)
    return f"unexpected {text}; LOGLEVEL=DEBUG shows where"


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """Return the error that a response stands for.

    Args:
        status: The HTTP status, not 200.
        headers: The response's headers; looked up in any capitalisation that the mapping allows.
        body: The response's body.
    """
    other = RejectedError if status in _REJECTED else TransientError
    kind = ERRORS_BY_STATUS.get(status, other)
    return kind(_message(status, body), status=status, retry_after=retry_after(headers))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read ``Retry-After``: seconds, or a date in any form of RFC 9110, section 5.6.7.

    A date is measured against the response's own ``Date``, so that neither clock has to be right.

    Args:
        headers: The response's headers.

    Returns:
        Seconds, at least 0 and at most ``LONGEST_WAIT``; None if there is none or it is not valid.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return min(float(value), LONGEST_WAIT)
    until, now = _timestamp(value), _timestamp(headers.get("Date", ""))
    return until and min(max(until - (now or time()), 0.0), LONGEST_WAIT)


def _timestamp(date: str) -> float | None:
    try:
        parsed = parsedate(date)
        return timegm(parsed) if parsed else None  # whatever the zone: in HTTP all are UTC
    except (ValueError, OverflowError):
        return None


def _message(status: int, body: bytes) -> str:
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"HTTP {status}: redirects are not followed; check api_url"
    start = f"HTTP {status} {responses.get(status, '')}".rstrip()
    try:
        content = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        content = None
    errors = content.get("errors") if isinstance(content, dict) else None
    if not errors:
        return start
    masked = mask(errors)
    text = masked if isinstance(masked, str) else msgspec.json.encode(masked).decode()
    return f"{start}: {escape(text, LONGEST_EXCERPT)}"
