"""One request over real HTTP: what is sent, and what comes of every kind of response."""

from __future__ import annotations

import gzip
import socket
import sys
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from tap_compose.api import transport
from tap_compose.api.transport import (
    BrokenConnectionError,
    NoConnectionError,
    RequestsTransport,
    Response,
    TimedOutError,
    TransportError,
)
from tests.raw_server import http, raw_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "a-token-for-tests"


def _get(url: str, path: str = "/teams", timeout: float = 5.0) -> Response:
    with closing(RequestsTransport(url, TOKEN, user_agent="tests/1", max_concurrency=1)) as session:
        return session.get(f"{url}{path}", timeout)


def test_a_request_carries_token_user_agent_and_parameters() -> None:
    path = "/audit_events?older_than=2017-01-01T00%3A00%3A00%2B01%3A00"
    with raw_server(lambda _: http(b"{}")) as server:
        _get(server.url, path)
    assert server.paths == [path]
    (headers,) = server.headers
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["User-Agent"] == "tests/1"
    assert headers["Accept"] == "application/json"


def test_a_netrc_entry_does_not_replace_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with raw_server(lambda _: http(b"{}")) as server:
        _get(server.url)
    assert server.headers[0]["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("status", [200, 204, 302, 401, 404, 429, 503])
def test_a_response_has_status_headers_and_body(status: int) -> None:
    body = b"" if status == 204 else b'{"errors": "x"}'
    with raw_server(lambda _: http(body, b"%d X" % status, b"retry-AFTER: 7\r\n")) as server:
        response = _get(server.url)
    assert (response.status, response.body) == (status, body)
    assert response.headers["Retry-After"] == "7"


def test_redirects_are_not_followed() -> None:
    with raw_server(lambda _: http(b"", b"302 Found", b"Location: /elsewhere\r\n")) as server:
        assert _get(server.url).status == 302
    assert server.paths == ["/teams"]


def test_a_compressed_body_in_pieces() -> None:
    packed = gzip.compress(b"[" + b"1," * 50_000 + b"1]")
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\n"

    def pieces(_path: str) -> Iterator[bytes]:
        yield head + b"Content-Length: %d\r\n\r\n" % len(packed)
        for start in range(0, len(packed), 20):
            yield packed[start : start + 20]

    with raw_server(pieces) as server:
        assert _get(server.url).body == b"[" + b"1," * 50_000 + b"1]"


def test_only_the_beginning_of_an_error_body_is_read() -> None:
    def endless(_path: str) -> Iterator[bytes]:
        yield b"HTTP/1.1 500 Oops\r\n\r\n"
        while True:
            yield b"x" * 1000

    with raw_server(endless) as server:
        assert _get(server.url).body == b"x" * 65_536


@pytest.mark.parametrize(
    ("response", "has_response"),
    [
        (b"", False),
        (b"not http at all\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1,2,\r\n", True),
    ],
)
def test_a_broken_response(response: bytes, has_response: bool) -> None:
    with raw_server(lambda _: response) as server, pytest.raises(TransportError) as caught:
        _get(server.url)
    assert type(caught.value) is BrokenConnectionError
    assert str(caught.value) == f"the connection to {server.address} broke"
    assert caught.value.has_response is has_response


def test_a_slow_drip_times_out() -> None:
    def drip(_path: str) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        for _ in range(200):
            time.sleep(0.05)
            yield b"x"

    begun = time.monotonic()
    with raw_server(drip) as server, pytest.raises(TimedOutError) as caught:
        _get(server.url, timeout=0.3)
    assert time.monotonic() - begun < 5
    assert str(caught.value) == f"no complete response from {server.address} in 0.3 s"
    assert caught.value.has_response


def test_silence_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TimedOutError) as caught:
            _get(f"http://{address}", timeout=0.2)
    assert str(caught.value) == f"no complete response from {address} in 0.2 s"
    assert not caught.value.has_response


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog is refused elsewhere")
def test_a_host_that_takes_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LONGEST_CONNECT", 0.5)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as stack:
        for _ in range(4):  # nobody accepts them
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(server.getsockname())
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(NoConnectionError) as caught:
            _get(f"http://{address}", timeout=60)
    assert str(caught.value) == f"no connection to {address} in 0.5 s"


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(NoConnectionError) as caught:
        _get(f"http://{address}")
    assert str(caught.value) == f"connection refused by {address}"


def test_an_unknown_host() -> None:
    with pytest.raises(NoConnectionError, match=r"^unknown host no-such-host\.invalid$"):
        _get("https://no-such-host.invalid")


def test_a_server_without_tls() -> None:
    with raw_server(lambda _: b"") as server, pytest.raises(BrokenConnectionError) as caught:
        _get(f"https://{server.address}")
    assert str(caught.value).startswith(f"TLS with {server.address} broke: ")
