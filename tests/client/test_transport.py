"""One request: what is sent, and what comes of every kind of response."""

from __future__ import annotations

import gzip
import socket
import sys
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest
import requests
import responses

from tap_compose.api import transport
from tap_compose.api.errors import ApiError, RejectedError, RunEndingError, TransientError
from tap_compose.api.transport import Transport

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://api.example"
TOKEN = "a-token-for-tests"


def _get(url: str = URL, path: str = "/teams") -> bytes:
    with closing(
        Transport(url, TOKEN, user_agent="tests/1", timeout=60, max_concurrency=1)
    ) as session:
        return session.get(f"{url}{path}")


def _error(url: str = URL) -> ApiError:
    with pytest.raises(ApiError) as caught:
        _get(url)
    return caught.value


@responses.activate
def test_a_request_carries_token_and_user_agent_whatever_netrc_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine api.example login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    path = "/audit_events?older_than=2017-01-01T00%3A00%3A00%2B01%3A00"
    responses.get(f"{URL}{path}", body=b"{}")
    assert _get(path=path) == b"{}"
    assert dict(responses.calls[0].request.headers) == {
        "Authorization": f"Bearer {TOKEN}",
        "User-Agent": "tests/1",
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
    }


@responses.activate
def test_a_compressed_body() -> None:
    body = b"[" + b"1," * 500_000 + b"1]"
    responses.get(f"{URL}/teams", body=gzip.compress(body), headers={"Content-Encoding": "gzip"})
    assert _get() == body


@responses.activate
@pytest.mark.parametrize("status", [102, 204, 302, 429, 500])
def test_any_other_status_is_an_error(status: int) -> None:
    headers = {"Location": "/elsewhere", "retry-AFTER": "7"}
    responses.get(f"{URL}/teams", status=status, headers=headers, body=b"y" * 70_000)
    error = _error()
    assert error.status == status
    assert str(error).startswith(f"HTTP {status}")
    assert getattr(error, "retry_after", None) == (7 if status in (204, 429, 500) else None)
    assert len(responses.calls) == 1  # redirects are not followed


@responses.activate
def test_a_body_larger_than_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LARGEST_BODY", 1 << 20)
    packed = gzip.compress(bytes(100 << 20))
    responses.get(f"{URL}/teams", body=packed, headers={"Content-Encoding": "gzip"})
    error = _error()
    assert type(error) is RejectedError
    assert str(error) == "the response of api.example is larger than 1 MiB"


@responses.activate
@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (requests.ConnectionError(), "the connection to api.example broke"),
        (requests.ConnectTimeout(), "no connection to api.example in 10 s"),
        (requests.ReadTimeout(), "no complete response from api.example in 60 s"),
        (requests.exceptions.SSLError(), "TLS with api.example broke"),
    ],
)
def test_no_response(problem: Exception, message: str) -> None:
    responses.get(f"{URL}/teams", body=problem)
    error = _error()
    assert type(error) is TransientError
    assert (error.status, str(error)) == (None, message)


@responses.activate
def test_a_certificate_that_is_not_trusted_ends_the_run() -> None:
    text = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed (_ssl.c:1)"
    responses.get(f"{URL}/teams", body=requests.exceptions.SSLError(text))
    error = _error()
    assert type(error) is RunEndingError
    assert str(error) == (
        "no secure connection to api.example: certificate verify failed: self-signed"
    )


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    assert str(_error(f"http://{address}")) == f"connection refused by {address}"


def test_an_unknown_host() -> None:
    assert str(_error("https://no-such-host.invalid")) == "unknown host no-such-host.invalid"


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog is refused elsewhere")
def test_a_host_that_takes_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LONGEST_CONNECT", 0.5)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as stack:
        for _ in range(4):  # nobody accepts them
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(server.getsockname())
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert str(_error(f"http://{address}")) == f"no connection to {address} in 0.5 s"
