"""What a response means, and how its message is kept short and free of secrets."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from tap_compose.api.errors import (
    ApiError,
    RejectedError,
    TransientError,
    error_of,
    retry_after,
)
from tap_compose.logs import mask_always

TOKEN = "a+token/for=tests"
SECRET = "hunter2"


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (204, TransientError, "HTTP 204 No Content: no such id"),
        (307, RejectedError, "HTTP 307: redirects are not followed; check api_url"),
        (499, RejectedError, "HTTP 499: no such id"),
        (999, TransientError, "HTTP 999: no such id"),
    ],
)
def test_a_status_that_is_not_of_this_api(status: int, kind: type[ApiError], message: str) -> None:
    error = error_of(status, {"Retry-After": "7"}, b'{"errors": "no such id"}')
    assert (type(error), error.status, str(error)) == (kind, status, message)
    assert error.retry_after == 7


@pytest.mark.parametrize(
    ("errors", "shown"),
    [
        ({"id": ["is odd"], "author": "A"}, '{"id":["is odd"],"author":"A"}'),
        ({"user": [{"Password": {"is": [SECRET]}}]}, '{"user":[{"Password":"***"}]}'),
        (f"mongodb://me:{SECRET}@a:1/x, y@z", "mongodb://***@a:1/x, y@z"),
        (f"{TOKEN}, {quote(TOKEN, safe='')}", "***, ***"),
        (f"{'x' * 190}{TOKEN}{'y' * 500}", f"{'x' * 190}***{'y' * 7}…"),
        ("a\nb\x1b[2J", r"a\nb\x1b[2J"),
        ([], ""),
    ],
)
def test_the_errors_of_a_body_are_in_the_message(errors: object, shown: str) -> None:
    mask_always(TOKEN)
    error = error_of(404, {}, json.dumps({"errors": errors, "other": SECRET}).encode())
    assert str(error) == "HTTP 404 Not Found" + (f": {shown}" if shown else "")


@pytest.mark.parametrize("body", [b"", b"<p>a page</p>", b'{"error": 1}', b"[" * 100_000])
def test_a_body_without_errors_is_not_in_the_message(body: bytes) -> None:
    assert str(error_of(404, {}, body)) == "HTTP 404 Not Found"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *[("7", 7), (" 0 ", 0), ("999999", 3600), ("", None), ("soon", None), ("nan", None)],
        ("Sun, 06 Nov 1994 08:49:37 GMT", 30),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 30),
        ("Sun Nov  6 08:49:37 1994", 30),
        ("Sun, 06 Nov 1994 08:49:37 -0000", 30),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0),
        ("Sun, 06 Nov 1994 18:49:00 GMT", 3600),
        ("Sun, 99 Nov 99999 08:49:37 GMT", None),
    ],
)
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("has_date", [False, True])
def test_retry_after(
    value: str, seconds: float | None, has_date: bool, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A date is UTC, and measured against that of the response, whatever the time is here."""
    monkeypatch.setenv("TZ", zone)
    now = 784111747.0  # 1994-11-06 08:49:07 UTC
    monkeypatch.setattr("tap_compose.api.errors.time", lambda: now + 3600 * has_date)
    date = {"Date": "Sun, 06 Nov 1994 08:49:07 GMT"} if has_date else {}
    assert retry_after({"Retry-After": value, **date}) == seconds
    assert retry_after(date) is None
