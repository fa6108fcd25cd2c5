"""What a response of the Compose API means: retry, denied, gone, or rejected."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import time
from typing import TYPE_CHECKING

import msgspec

from tap_compose.masking import masked

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_WAIT = 3600.0
"""Maximum seconds of a ``Retry-After``."""


class ApiError(Exception):
    """A request without a usable response; the message is one line.

    Args:
        message: What went wrong.
        status: The HTTP status; None if there was no complete response.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class TransientError(ApiError):
    """May succeed later: 408, 429, 5xx, a broken connection, an unreadable body.

    Args:
        message: What went wrong.
        status: The HTTP status; None if there was no complete response.
        retry_after: Seconds to wait, from ``Retry-After``; None without it.
        most_retries: Retries after which the request counts as failed, if the settings allow
            more.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        most_retries: int | None = None,
    ) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after
        self.most_retries = most_retries


class UnauthorizedError(ApiError):
    """401: the token is dead, or may not read this resource; a probe shows which."""


class DeniedError(ApiError):
    """The token may not read this resource."""


class GoneError(ApiError):
    """404 or 410: the resource does not exist or no longer exists."""


class RejectedError(ApiError):
    """Would fail the same way again: any other 4xx, or a redirect."""


class RunEndingError(ApiError):
    """No further request makes sense."""


class TokenRejectedError(RunEndingError):
    """The API rejects this token everywhere."""


class UnreachableError(RunEndingError):
    """There is no Compose API at this address."""


class UnreadableBodyError(Exception):
    """A response with status 200 whose body is not what the endpoint promises."""


class NoJsonError(UnreadableBodyError):
    """A response with status 200 whose body is empty, cut off or an error page."""


ERRORS_BY_STATUS: Mapping[int, type[ApiError]] = {
    401: UnauthorizedError,
    403: DeniedError,
    404: GoneError,
    408: TransientError,
    410: GoneError,
    429: TransientError,
}
"""The error that a status stands for; docs/architecture.md, Where to add a stream, a column, a
setting, a kind of failure, has the steps for one more."""

ERRORS_BY_FIRST_DIGIT: Mapping[int, type[ApiError]] = {
    2: TransientError,
    3: RejectedError,
    4: RejectedError,
    5: TransientError,
}
"""The error for all other statuses that begin with this digit."""


def error_of(status: int, headers: Mapping[str, str], body: bytes, token: str) -> ApiError | None:
    """Return the error that a response stands for.

    Args:
        status: The HTTP status.
        headers: The response's headers; looked up in any capitalisation that the mapping allows.
        body: The response's body.
        token: The bearer token, to keep it out of the message.

    Returns:
        None for status 200; otherwise the error, not raised.
    """
    if status == HTTPStatus.OK:
        return None
    kind = ERRORS_BY_STATUS.get(status) or ERRORS_BY_FIRST_DIGIT.get(status // 100, TransientError)
    message = _message(status, body, token)
    if issubclass(kind, TransientError):
        wait = retry_after(headers.get("Retry-After"))
        return kind(message, status=status, retry_after=wait)
    return kind(message, status=status)


def retry_after(value: str | None) -> float | None:
    """Read a ``Retry-After`` header, RFC 9110 section 10.2.3.

    Args:
        value: The header: seconds, or an HTTP date.

    Returns:
        Seconds from now, at least 0 and at most ``LONGEST_WAIT``; None if there is none or it is
        not valid.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time()
        except (ValueError, OverflowError):
            return None
    if seconds != seconds:  # noqa: PLR0124  # NaN
        return None
    return min(max(seconds, 0.0), LONGEST_WAIT)


def _message(status: int, body: bytes, token: str) -> str:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    start = f"HTTP {status} {phrase}".rstrip()
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return f"HTTP {status}: a response without the resource"
    if status < HTTPStatus.BAD_REQUEST:
        return f"HTTP {status}: redirects are not followed; check api_url"
    try:
        content = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict) and "errors" in content:
        errors = content["errors"]
        text = errors if isinstance(errors, str) else msgspec.json.encode(errors).decode()
    else:
        text = body.decode("utf-8", "replace")
    text = masked(text, token)
    return f"{start}: {text}" if text else start
