"""What a response means, and how its message is kept short and free of secrets."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tap_compose.api.errors import (
    ApiError,
    DeniedError,
    GoneError,
    RejectedError,
    TransientError,
    error_of,
    retry_after,
)
from tap_compose.logs import mask_always

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "a+token/for=tests"


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (204, TransientError, "HTTP 204: a response without the resource"),
        (307, RejectedError, "HTTP 307: redirects are not followed; check api_url"),
        (400, RejectedError, "HTTP 400 Bad Request: no such id"),
        (401, DeniedError, "HTTP 401 Unauthorized: no such id"),
        (403, DeniedError, "HTTP 403 Forbidden: no such id"),
        (404, GoneError, "HTTP 404 Not Found: no such id"),
        (408, TransientError, "HTTP 408 Request Timeout: no such id"),
        (410, GoneError, "HTTP 410 Gone: no such id"),
        (429, TransientError, "HTTP 429 Too Many Requests: no such id"),
        (499, RejectedError, "HTTP 499: no such id"),
        (503, TransientError, "HTTP 503 Service Unavailable: no such id"),
        (599, TransientError, "HTTP 599: no such id"),
        (999, TransientError, "HTTP 999: no such id"),
    ],
)
def test_status_to_error(status: int, kind: type[ApiError], message: str) -> None:
    error = error_of(status, {"Retry-After": "7"}, b'{"errors": "no such id"}')
    assert (type(error), error.status, str(error)) == (kind, status, message)
    assert getattr(error, "retry_after", None) == (7 if kind is TransientError else None)


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("errors", "shown"),
    [
        ({"id": ["is odd"], "author": "A"}, '{"id":["is odd"],"author":"A"}'),
        ({"user": [{"Password": {"is": [SECRET]}}]}, '{"user":[{"Password":"***"}]}'),
        ([{"api_key": SECRET, "db_pass": SECRET}], '[{"api_key":"***","db_pass":"***"}]'),
        (json.dumps({"x": json.dumps({"token": SECRET})}), r'{"x":"{\"token\":\"***\"}"}'),
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


@pytest.fixture(params=["America/New_York", "Asia/Tokyo"])
def _zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not hasattr(time, "tzset"):
        pytest.skip("Windows has no tzset")
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_zone")
@pytest.mark.parametrize(
    "until",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 -0000",
    ],
)
def test_a_date_is_utc_and_measured_against_the_date_of_the_response(
    until: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = "tap_compose.api.errors.time"
    before = 784111747.0  # 1994-11-06 08:49:07 UTC
    for wrong in (-3600, 3600):
        monkeypatch.setattr(clock, lambda wrong=wrong: before + wrong)
        headers = {"Retry-After": until, "Date": "Sun, 06 Nov 1994 08:49:07 GMT"}
        assert retry_after(headers) == 30
    for now, seconds in ((before, 30), (before + 60, 0), (before - 86400, 3600)):
        monkeypatch.setattr(clock, lambda now=now: now)
        assert retry_after({"Retry-After": until}) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), (" 0 ", 0), ("999999", 3600), ("", None), ("soon", None), ("nan", None)],
)
def test_retry_after_in_seconds(value: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": value}) == seconds
    assert retry_after({}) is None
