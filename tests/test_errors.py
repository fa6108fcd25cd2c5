"""What a response means, and how its message is kept short and free of secrets."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from tap_compose.api.errors import (
    ApiError,
    DeniedError,
    GoneError,
    RejectedError,
    TransientError,
    UnauthorizedError,
    error_of,
    retry_after,
)

TOKEN = "a-token-for-tests"


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (204, TransientError, "HTTP 204: a response without the resource"),
        (301, RejectedError, "HTTP 301: redirects are not followed; check api_url"),
        (307, RejectedError, "HTTP 307: redirects are not followed; check api_url"),
        (400, RejectedError, "HTTP 400 Bad Request: no such id"),
        (401, UnauthorizedError, "HTTP 401 Unauthorized: no such id"),
        (402, RejectedError, "HTTP 402 Payment Required: no such id"),
        (403, DeniedError, "HTTP 403 Forbidden: no such id"),
        (404, GoneError, "HTTP 404 Not Found: no such id"),
        (405, RejectedError, "HTTP 405 Method Not Allowed: no such id"),
        (408, TransientError, "HTTP 408 Request Timeout: no such id"),
        (410, GoneError, "HTTP 410 Gone: no such id"),
        (429, TransientError, "HTTP 429 Too Many Requests: no such id"),
        (499, RejectedError, "HTTP 499: no such id"),
        (500, TransientError, "HTTP 500 Internal Server Error: no such id"),
        (502, TransientError, "HTTP 502 Bad Gateway: no such id"),
        (503, TransientError, "HTTP 503 Service Unavailable: no such id"),
        (504, TransientError, "HTTP 504 Gateway Timeout: no such id"),
        (599, TransientError, "HTTP 599: no such id"),
    ],
)
def test_status_to_error(status: int, kind: type[ApiError], message: str) -> None:
    error = error_of(status, {"Retry-After": "7"}, b'{"errors": "no such id"}', TOKEN)
    assert type(error) is kind
    assert (error.status, str(error)) == (status, message)
    if isinstance(error, TransientError):
        assert error.retry_after == 7


def test_status_200_is_no_error() -> None:
    assert error_of(200, {}, b"", TOKEN) is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "HTTP 404 Not Found"),
        (b'{"errors": {"id": ["is odd"]}}', 'HTTP 404 Not Found: {"id":["is odd"]}'),
        (b"<p>\nnothing\x00here</p>", "HTTP 404 Not Found: <p> nothing here</p>"),
    ],
)
def test_the_body_is_in_the_message(body: bytes, message: str) -> None:
    assert str(error_of(404, {}, body, TOKEN)) == message


def test_a_long_body_is_shortened_and_masked() -> None:
    body = f"<p>{TOKEN} {'y' * 5000}</p>".encode()
    message = str(error_of(422, {}, body, TOKEN))
    assert TOKEN not in message
    assert len(message) < 260


def test_retry_after_in_both_forms() -> None:
    assert retry_after("7") == 7
    assert retry_after("0.5") == 0.5
    assert retry_after(formatdate(time.time() + 30, usegmt=True)) == pytest.approx(30, abs=2)
    assert retry_after(formatdate(time.time() - 30, usegmt=True)) == 0
    assert retry_after("-4") == 0
    assert retry_after("999999") == 3600
    assert [retry_after(each) for each in (None, "", "soon", "nan")] == [None] * 4
