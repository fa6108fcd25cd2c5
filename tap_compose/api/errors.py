"""What an answer of the Compose API means: try again, not for you, not there, or wrong.

The table from status to outcome is the contract's section 4.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import time
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_WAIT = 3600.0
"""Seconds: a ``Retry-After`` beyond this is taken as this."""

_LONGEST_EXCERPT = 200

_CREDENTIALS_IN_URL = re.compile(r"(?<=://)[^\s/@\"']+(?=@)")
_BEARER = re.compile(r"(?i)(bearer\s+)[^\s\"',;]+")
_ASSIGNED = re.compile(
    r"(?i)((?:api[_-]?key|token|secret|password|passwd|pwd)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;}]+"
)


class ApiError(Exception):
    """A call that brought no usable answer; the message is one line for a person.

    Args:
        message: What went wrong.
        status: The HTTP status, if an answer came at all.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class TransientError(ApiError):
    """It may work when tried again: 408, 429, 5xx, a broken connection, an unreadable body.

    Args:
        message: What went wrong.
        status: The HTTP status, if an answer came at all.
        retry_after: Seconds that the API asks to wait, if it does.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


class UnauthorizedError(ApiError):
    """401: the token is dead, or this resource is not for it; only a second call tells."""


class DeniedError(ApiError):
    """The token is alive, and this resource is not for it: 403, or 401 by that rule."""


class GoneError(ApiError):
    """404 or 410: there is no such thing, or there is no more."""


class RejectedError(ApiError):
    """An answer that would be the same a second time: any other 4xx, or a redirect."""


class TokenRejectedError(ApiError):
    """The API accepts this token nowhere; no further call makes sense."""


class UnreachableError(ApiError):
    """There is no such API at this address; no further call makes sense."""


class UnreadableBodyError(Exception):
    """An answer with status 200 whose body is not what the endpoint promises."""


def error_of(  # noqa: PLR0911
    status: int, headers: Mapping[str, str], body: bytes, token: str
) -> ApiError | None:
    """Tell what an answer means.

    Args:
        status: The HTTP status.
        headers: The answer's headers, by any capitalisation that the mapping allows.
        body: The answer's body.
        token: The bearer token, to keep it out of the message.

    Returns:
        None for an answer whose body is to be read; otherwise the error, not raised.
    """
    if status == HTTPStatus.OK:
        return None
    message = _message(status, body, token)
    if status == HTTPStatus.UNAUTHORIZED:
        return UnauthorizedError(message, status=status)
    if status == HTTPStatus.FORBIDDEN:
        return DeniedError(message, status=status)
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        return GoneError(message, status=status)
    if status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS} or status >= 500:  # noqa: PLR2004
        wait = retry_after(headers.get("Retry-After"))
        return TransientError(message, status=status, retry_after=wait)
    if 300 <= status < 400:  # noqa: PLR2004
        return RejectedError(
            f"HTTP {status}: the API answered with a redirect, which is never followed",
            status=status,
        )
    if status < 300:  # noqa: PLR2004
        return TransientError(f"HTTP {status}: an answer without the resource", status=status)
    return RejectedError(message, status=status)


def retry_after(value: str | None) -> float | None:
    """Read a ``Retry-After`` header, RFC 9110 section 10.2.3.

    Args:
        value: The header: seconds, or an HTTP date.

    Returns:
        Seconds from now, at least 0 and at most ``LONGEST_WAIT``; None if there is none or it
        makes no sense.
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


def masked(text: str, token: str = "") -> str:
    """Take what looks like a secret out of a text and make it one short line.

    Args:
        text: Any text that came from outside.
        token: The bearer token, masked wherever it stands.

    Returns:
        At most 200 characters without line breaks, tokens, passwords or credentials in URLs.
    """
    if token:
        text = text.replace(token, "***")
    text = _CREDENTIALS_IN_URL.sub("***", text)
    text = _BEARER.sub(r"\1***", text)
    text = _ASSIGNED.sub(r"\1***", text)
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST_EXCERPT else f"{line[:_LONGEST_EXCERPT]}…"


def _message(status: int, body: bytes, token: str) -> str:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    start = f"HTTP {status} {phrase}".rstrip()
    try:
        answer = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and "errors" in answer:
        errors = answer["errors"]
        said = errors if isinstance(errors, str) else msgspec.json.encode(errors).decode()
    else:
        said = body[:2000].decode("utf-8", "replace")
    said = masked(said, token)
    return f"{start}: {said}" if said else start
