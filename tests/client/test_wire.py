"""Bytes on the wire: nothing is taken for another request's response, and everything ends."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from contextlib import closing, suppress
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from tap_compose.api import hal
from tap_compose.api.client import Client, Request
from tap_compose.api.errors import ApiError, RejectedError, RunEndingError, TransientError
from tap_compose.api.transport import Transport
from tests.support.raw_server import AUTHORITY, http, kept, raw_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP = b"Content-Encoding: gzip\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"


def _transport(url: str, timeout: float = 5) -> Transport:
    return Transport(url, "token", user_agent="tests/1", timeout=timeout, max_concurrency=4)


def _problem(url: str = "https://api.example", timeout: float = 5) -> ApiError:
    with closing(_transport(url, timeout)) as transport, pytest.raises(ApiError) as caught:
        transport.get(f"{url}/teams")
    return caught.value


def _results(url: str, paths: int = 20, timeout: float = 5, max_retries: int = 8) -> list[Any]:
    """What a client makes of the requests ``/0``, ``/1`` and so on."""
    transport = _transport(url, timeout)
    settings: dict[str, Any] = {"max_concurrency": 4, "longest_backoff": 0.02}
    client = Client(transport, url, timeout=timeout, max_retries=max_retries, **settings)
    requests = (Request(f"/{number}", hal.decode) for number in range(paths))
    with closing(client):
        return [result for _, result in client.get_many(requests)]


def _number(path: str) -> bytes:
    """The body of a path."""
    return path[1:].encode()


@pytest.fixture
def _trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the servers that speak TLS."""
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))


INFORMATIONAL = {
    103: HINTS,
    102: b"HTTP/1.1 102 Processing\r\n\r\n",
    101: b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    199: b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 199 X\r\nContent-Length: 2\r\n\r\n" + HINTS * 3,
}


@pytest.mark.parametrize("status", INFORMATIONAL)
def test_what_follows_an_informational_response_is_nobodys(status: int) -> None:
    """http.client takes it for the response, but for 100."""
    before = iter([INFORMATIONAL[status]])
    with (
        raw_server(lambda path: next(before, b"") + kept(_number(path))) as server,
        closing(_transport(server.url)) as transport,
    ):
        with pytest.raises(TransientError) as caught:
            transport.get(f"{server.url}/0")
        assert transport.get(f"{server.url}/1") == b"1"
    assert str(caught.value) == f"HTTP {status} instead of a response"
    assert server.connections == 2


def test_an_informational_response_is_retried() -> None:
    numbers = count()

    def respond(path: str) -> bytes:
        return (HINTS if next(numbers) % 3 == 0 else b"") + kept(_number(path))

    with raw_server(respond) as server:
        assert _results(server.url) == list(range(20))
    with raw_server(lambda path: HINTS + kept(_number(path))) as server:
        errors = [str(each) for each in _results(server.url, max_retries=1)]
    assert errors == ["HTTP 103 instead of a response"] * 20
    assert sorted(server.paths) == sorted(f"/{number}" for number in range(20) for _ in "12")


@pytest.mark.parametrize("size", [5, 100_000])
@pytest.mark.parametrize("is_later", [False, True])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_second_response_is_not_taken_for_the_next(
    framing: str, is_later: bool, size: int
) -> None:
    first = kept(b"0") if framing == "length" else CHUNKED + b"1\r\n0\r\n0\r\n\r\n"
    was_sent = threading.Event()

    def respond(path: str) -> Iterator[bytes]:
        stray = kept(b"x" * size)
        if path != "/0":
            yield kept(_number(path))
        elif is_later:
            yield from (first, stray)
        else:
            yield first + stray
        was_sent.set()

    with raw_server(respond) as server, closing(_transport(server.url)) as transport:
        assert transport.get(f"{server.url}/0") == b"0"
        assert was_sent.wait(5)
        assert [transport.get(f"{server.url}/{number}") for number in (1, 2)] == [b"1", b"2"]


def test_no_connection_that_was_forgotten_is_used_again() -> None:
    with (
        raw_server(lambda path: kept(_number(path))) as server,
        closing(_transport(server.url)) as transport,
    ):
        for connections in (1, 1, 2, 2):
            if connections > server.connections > 0:
                transport.forget_connections()
            transport.get(f"{server.url}/0")
            assert server.connections == connections


@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize("tls", [False, True])
def test_a_server_that_closes_idle_connections_costs_nothing_but_time(tls: bool) -> None:
    with raw_server(lambda path: [kept(_number(path)), b""], tls=tls) as server:
        assert _results(server.url) == list(range(20))


def _drip(start: bytes, piece: bytes) -> Callable[[str], Iterator[bytes]]:
    def respond(_path: str) -> Iterator[bytes]:
        yield start
        while True:
            time.sleep(0.02)
            yield piece

    return respond


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (HEAD + b"\r\n", b" "),
        (CHUNKED, b"1\r\n \r\n"),
        (b"HTTP/1.1 500 X\r\n\r\n", b" "),
    ],
    ids=["body", "chunks", "error"],
)
def test_a_body_that_never_ends_ends_at_the_timeout(start: bytes, piece: bytes) -> None:
    begun = time.monotonic()
    with raw_server(_drip(start, piece)) as server:
        problem = _problem(server.url, timeout=0.3)
    assert time.monotonic() - begun < 2
    assert isinstance(problem, TransientError)
    assert str(problem) == f"no complete response from {server.address} in 0.3 s"


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"HTTP/1.1 ", b"2"),
        (HEAD + b"X: ", b"y"),
        (b"HTTP/1.1 100 X\r\n\r\n", b"HTTP/1.1 100 X\r\n\r\n"),
        (CHUNKED + b"1;", b"x"),
        (HEAD + GZIP + b"\r\n", gzip.compress(b"")),
    ],
    ids=["status line", "header", "100s", "chunk extension", "members that unpack to nothing"],
)
def test_what_no_timeout_bounds_is_given_up_a_little_later(
    start: bytes, piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tap_compose.api.client._GRACE", 0.5)
    begun = time.monotonic()
    with raw_server(_drip(start, piece)) as server:
        (problem,) = _results(server.url, 1, timeout=0.3, max_retries=0)
    assert time.monotonic() - begun < 4
    assert str(problem) == "no complete response in 1 s; given up"


def test_what_was_given_up_is_sent_again_and_takes_no_turn_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The attempt that was given up fails much later, and must not be sent once more."""
    monkeypatch.setattr("tap_compose.api.client._GRACE", 0.2)
    attempts = count()

    def respond(path: str) -> Iterator[bytes]:
        if path == "/0" and next(attempts) == 0:
            yield b"HTTP/1.1 "
            for _ in range(100):
                time.sleep(0.02)
                yield b"2"
            yield b""
        else:
            yield kept(_number(path))

    with raw_server(respond) as server:
        transport = _transport(server.url, 0.3)
        client = Client(transport, server.url, timeout=0.3, max_concurrency=1)
        with closing(client):
            results = client.get_many(Request(f"/{number}", hal.decode) for number in range(3))
            assert [result for _, result in results] == [0, 1, 2]
            assert (results.requests, results.retries) == (4, 1)
            time.sleep(2)
        assert next(attempts) == 2


@pytest.mark.parametrize("drips", [False, True])
def test_a_handshake_that_breaks_off_or_never_ends_is_retried(drips: bool) -> None:
    def serve() -> None:
        with suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)  # all of it, or the connection would be reset
                connection.sendall(b"\x16\x03\x03\x40\x00")  # the start of a record of 16 KiB
                while drips:
                    time.sleep(0.02)
                    connection.sendall(b"\x02")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        problem = _problem(f"https://{address}", timeout=0.3)
    assert type(problem) is TransientError
    assert str(problem) == (
        f"no complete response from {address} in 0.3 s"
        if drips
        else f"TLS with {address} broke: EOF occurred in violation of protocol"
    )


def test_a_look_up_of_the_host_that_hangs_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_over = threading.Event()
    look_ups, look_up = count(), socket.getaddrinfo
    monkeypatch.setattr("tap_compose.api.client._GRACE", 0.5)

    def first_hangs(*arguments: Any) -> Any:
        if next(look_ups) == 0:
            is_over.wait(60)
        return look_up(*arguments)

    with raw_server(lambda path: kept(_number(path))) as server:
        monkeypatch.setattr(socket, "getaddrinfo", first_hangs)
        results = _results(server.url, timeout=0.3)
        is_over.set()
    assert results == list(range(20))


def test_the_run_ends_if_every_look_up_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()
    monkeypatch.setattr("tap_compose.api.client._LONGEST_SILENCE", 0.5)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: is_over.wait(60))
    with pytest.raises(RunEndingError) as caught:
        _results("https://api.example", timeout=60)
    is_over.set()
    assert str(caught.value) == (
        "no response in 0.5 s; nothing responds at api.example: check api_url and the network"
    )


NO_JSON = "HTTP 200 with a body that is not JSON"


@pytest.mark.parametrize(
    ("packing", "body", "expected", "attempts"),
    [
        (b"gzip", gzip.compress(b'{"a":') + gzip.compress(b"1}"), "{'a': 1}", 1),
        (b"gzip", gzip.compress(b'{"a": "%s"}' % bytes(range(35, 92)))[:50], NO_JSON, 2),
        (b"gzip", b"{}", "HTTP 200 from {} with an incomplete body", 2),
        (b"br", b"\x0b\x01\x80{}\x03", NO_JSON, 2),
    ],
    ids=["two members", "cut off", "not packed", "unknown"],
)
def test_packed_bodies(packing: bytes, body: bytes, expected: str, attempts: int) -> None:
    response = kept(body, headers=b"Content-Encoding: %s\r\n" % packing)
    with raw_server(lambda _: response) as server:
        (result,) = _results(server.url, 1, max_retries=1)
    assert str(result) == expected.replace("{}", server.address)
    assert len(server.paths) == attempts
    assert server.headers[0]["Accept-Encoding"] == "gzip"


def test_only_the_beginning_of_an_error_is_read() -> None:
    def endless(_path: str) -> Iterator[bytes]:
        yield b"HTTP/1.1 400 X\r\n\r\n"
        while True:
            yield b"x" * 1000

    with raw_server(endless) as server:
        assert str(_problem(server.url)) == "HTTP 400 Bad Request"


def test_redirects_are_not_followed() -> None:
    with raw_server(lambda _: http(b"", b"302 Found", b"Location: /elsewhere\r\n")) as server:
        problem = _problem(server.url)
    assert isinstance(problem, RejectedError)
    assert str(problem) == "HTTP 302: redirects are not followed; check api_url"
    assert server.paths == ["/teams"]
