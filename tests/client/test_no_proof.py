"""A 401 everywhere: without proof that the token is alive nothing is skipped."""

from __future__ import annotations

import pytest

from tests.support.raw_server import http, raw_server
from tests.support.tap_runs import catalog_of, sync

REFUSED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", "HTTP 404 Not Found"),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}", "HTTP 400 Bad Request"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 2\r\n\r\n{}",
            "HTTP 302: redirects are not followed; check api_url",
        ),
        (http(b"<html>log in</html>"), "HTTP 200 with a body that is not JSON"),
    ],
    ids=["404", "400", "302", "a page"],
)
def test_a_refusal_without_proof_is_a_failure(
    probe: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with raw_server(lambda path: probe if path == "/accounts" else REFUSED) as server:
        config = {"api_url": server.url, "api_token": "a-token-for-tests", "max_retries": 1}
        output = sync(config, catalog=catalog_of("user", "teams"))
    assert output.status == 1
    assert output.rows == {}
    assert (
        "failed: teams, user: HTTP 401 Unauthorized; "
        f"could not check whether the token works: {reason}"
    ) in caplog.messages


def test_a_list_of_accounts_is_proof(caplog: pytest.LogCaptureFixture) -> None:
    accounts = http(b'{"_embedded": {"accounts": [{"id": "a"}]}}')
    with raw_server(lambda path: accounts if path == "/accounts" else REFUSED) as server:
        config = {"api_url": server.url, "api_token": "a-token-for-tests", "max_retries": 1}
        output = sync(config, catalog=catalog_of("user"))
    assert output.status == 0
    assert "skipped: user: this token may not read it (HTTP 401 Unauthorized)" in caplog.messages
