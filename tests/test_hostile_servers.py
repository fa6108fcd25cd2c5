"""What a server may do to one request: nothing taken for another's, nothing without an end."""

from __future__ import annotations

import gzip
import itertools
import os
import socket
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
import requests

from tap_compose.api.bodies import LARGEST_BODY
from tap_compose.api.transport import (
    BrokenConnectionError,
    CertificateError,
    NoConnectionError,
    RequestsTransport,
    SetupError,
    TimedOutError,
    TooLargeError,
    TransportError,
)
from tests.raw_server import raw_server
from tests.wire_server import AUTHORITY, Asked, WireServer, bomb, kept, wire_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOKEN = "a-token-for-tests"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def _transport(url: str) -> Iterator[RequestsTransport]:
    with closing(
        RequestsTransport(url, TOKEN, user_agent="tests/1", max_concurrency=2)
    ) as transport:
        yield transport


def _bodies(transport: RequestsTransport, url: str, count: int = 3) -> list[bytes]:
    return [transport.get(f"{url}/{place}", 10).body for place in range(count)]


def _bodies_of(server: WireServer) -> list[bytes]:
    url = f"http://{server.address}"
    with _transport(url) as transport:
        return _bodies(transport, url)


def _echo(asked: Asked) -> bytes:
    return kept(asked.path.encode())


@pytest.fixture
def _trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the servers that speak TLS."""
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))


@pytest.mark.parametrize(
    "before",
    [
        HINTS,
        b"HTTP/1.1 102 Processing\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n"
        + HINTS * 3
        + b"HTTP/1.1 199 X\r\nContent-Length: 5\r\n\r\n",
    ],
)
@pytest.mark.parametrize("apart", [False, True])
def test_informational_responses_are_skipped(before: bytes, apart: bool) -> None:
    def respond(asked: Asked) -> list[bytes]:
        whole = before + kept(asked.path.encode())
        return [whole[place : place + 7] for place in range(0, len(whole), 7)] if apart else [whole]

    with wire_server(respond) as server:
        assert _bodies_of(server) == [b"/0", b"/1", b"/2"]
    assert server.connections == 1


def test_another_protocol_ends_the_connection() -> None:
    def respond(asked: Asked) -> bytes:
        if asked.path == "/0":
            return b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
        return _echo(asked)

    with wire_server(respond) as server, _transport(f"http://{server.address}") as transport:
        assert transport.get(f"http://{server.address}/0", 10).status == 101
        assert transport.get(f"http://{server.address}/1", 10).body == b"/1"


@pytest.mark.parametrize("size", [5, 100_000])
@pytest.mark.parametrize("framing", ["length", "chunked", "204"])
def test_a_second_response_is_not_taken_for_the_next(size: int, framing: str) -> None:
    """Though it stands in the same packet, or only its beginning does."""
    stray = kept(b"x" * size)
    firsts = {
        "length": kept(b"/0"),
        "chunked": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n/0\r\n0\r\n\r\n",
        "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    }

    def respond(asked: Asked) -> Iterator[bytes]:
        yield firsts[framing] + stray if asked.path == "/0" else kept(asked.path.encode())
        if asked.path == "/0":
            time.sleep(0.05)
            yield stray

    with wire_server(respond) as server:
        bodies = _bodies_of(server)
    assert bodies == [b"" if framing == "204" else b"/0", b"/1", b"/2"]


def test_bytes_that_come_while_a_connection_is_idle_end_it() -> None:
    sent = threading.Event()

    def respond(asked: Asked) -> Iterator[bytes]:
        yield kept(asked.path.encode())
        if asked.path == "/0":
            yield kept(b"stray")
        sent.set()

    with wire_server(respond) as server, _transport(f"http://{server.address}") as transport:
        url = f"http://{server.address}"
        assert transport.get(f"{url}/0", 10).body == b"/0"
        assert sent.wait(10)
        assert transport.get(f"{url}/1", 10).body == b"/1"


def test_connections_are_renewed_on_demand() -> None:
    with wire_server(_echo) as server, _transport(f"http://{server.address}") as transport:
        url = f"http://{server.address}"
        _bodies(transport, url)
        assert server.connections == 1
        transport.renew_connections()
        _bodies(transport, url)
        assert server.connections == 2


@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize("tls", [False, True])
def test_a_server_that_closes_idle_connections_costs_nothing(
    tls: bool,
) -> None:
    """It closes as soon as the next request comes: the tap could not know before."""

    def respond(asked: Asked) -> bytes:
        return b"" if asked.place else _echo(asked)

    with wire_server(respond, tls=tls) as server:
        url = f"http{'s' if tls else ''}://{server.address}"
        with _transport(url) as transport:
            assert _bodies(transport, url, 5) == [b"/%d" % place for place in range(5)]


def test_a_new_connection_that_closes_is_not_tried_again() -> None:
    with wire_server(lambda _: b"") as server:
        assert type(_problem(f"http://{server.address}")) is BrokenConnectionError
    assert server.connections == 1


def test_a_reused_connection_that_breaks_within_a_response_is_not_tried_again() -> None:
    def respond(asked: Asked) -> list[bytes]:
        return [b"HTT", b""] if asked.place else [_echo(asked)]

    with wire_server(respond) as server, _transport(f"http://{server.address}") as transport:
        assert transport.get(f"http://{server.address}/0", 10).body == b"/0"
        with pytest.raises(BrokenConnectionError):
            transport.get(f"http://{server.address}/1", 10)
    assert server.connections == 1


def _drip(start: bytes, piece: bytes) -> Callable[[Asked], Iterator[bytes]]:
    def respond(_: Asked) -> Iterator[bytes]:
        if start:
            yield start
        while True:
            time.sleep(0.02)
            yield piece

    return respond


def _flood(start: bytes, piece: bytes) -> Callable[[Asked], Iterator[bytes]]:
    return lambda _: itertools.chain(
        [start] if start else [], itertools.repeat(piece * (65536 // len(piece)))
    )


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
NEVER_ENDING = {
    "status line": (b"HTTP/1.1 ", b"2"),
    "headers": (HEAD, b"X: y\r\n"),
    "one header": (HEAD + b"X: ", b"y"),
    "100s": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "103s": (b"", HINTS),
    "body": (HEAD + b"\r\n", b" "),
    "chunk size": (CHUNKED, b"0"),
    "chunk extension": (CHUNKED + b"1;", b"x"),
    "chunks": (CHUNKED, b"1\r\n \r\n"),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n"),
    "members that unpack to nothing": (
        HEAD + b"Content-Encoding: gzip\r\n\r\n",
        gzip.compress(b""),
    ),
    "the body of an error": (b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
}


@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize("place", NEVER_ENDING)
@pytest.mark.parametrize("tls", [False, True])
def test_a_response_that_drips_for_ever_ends(place: str, tls: bool) -> None:
    with wire_server(_drip(*NEVER_ENDING[place]), tls=tls) as server:
        url = f"http{'s' if tls else ''}://{server.address}"
        begun = time.monotonic()
        with _transport(url) as transport, pytest.raises(TransportError) as caught:
            transport.get(f"{url}/", 0.4)
    assert time.monotonic() - begun < 5
    # More than a hundred headers are refused at once.
    assert isinstance(caught.value, TimedOutError) or place == "headers"


@pytest.mark.parametrize("place", NEVER_ENDING)
def test_a_response_that_floods_for_ever_ends(place: str) -> None:
    with wire_server(_flood(*NEVER_ENDING[place])) as server:
        begun = time.monotonic()
        with _transport(f"http://{server.address}") as transport, pytest.raises(TransportError):
            transport.get(f"http://{server.address}/", 0.4)
    assert time.monotonic() - begun < 5


def test_a_handshake_that_drips_for_ever_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            sock, _ = listener.accept()
            with sock:
                try:
                    sock.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 KiB
                    while True:
                        time.sleep(0.02)
                        sock.sendall(b"\x02")
                except OSError:
                    pass

        threading.Thread(target=drip, daemon=True).start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        begun = time.monotonic()
        with _transport(url) as transport, pytest.raises(TimedOutError):
            transport.get(f"{url}/", 0.4)
        assert time.monotonic() - begun < 5


def test_many_requests_have_one_watchdog_and_idleness_has_none() -> None:
    def respond(asked: Asked) -> Iterator[bytes]:
        time.sleep(0.1)
        yield _echo(asked)

    with wire_server(respond) as server, _transport(f"http://{server.address}") as transport:
        url = f"http://{server.address}"
        workers = [
            threading.Thread(target=transport.get, args=(f"{url}/{place}", 0.5))
            for place in range(8)
        ]
        for each in workers:
            each.start()
        for each in workers:
            each.join()
        until = time.monotonic() + 10
        while transport._watchdog._process and time.monotonic() < until:
            time.sleep(0.01)
        assert not transport._watchdog._process
        with pytest.raises(TimedOutError):
            transport.get(f"{url}/late", 0.05)


def test_without_a_thread_for_the_watchdog_requests_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    with wire_server(_echo) as server, _transport(f"http://{server.address}") as transport:
        monkeypatch.setattr("tap_compose.api.watchdog._thread.start_new_thread", refuse)
        assert transport.get(f"http://{server.address}/0", 10).body == b"/0"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_has_a_watchdog_of_its_own() -> None:
    with wire_server(_drip(HEAD, b"X")) as server, _transport(f"http://{server.address}") as one:
        url = f"http://{server.address}"
        with pytest.raises(TimedOutError):
            one.get(f"{url}/", 0.2)
        one._watchdog._process = os.getpid() - 1  # what a child finds
        begun = time.monotonic()
        with pytest.raises(TimedOutError):
            one.get(f"{url}/", 0.2)
        assert time.monotonic() - begun < 5


BOMB = bomb(LARGEST_BODY + 1)


@pytest.mark.parametrize(
    ("packing", "body", "message"),
    [
        (b"gzip", BOMB, "larger than 256 MiB"),
        (b"gzip", BOMB[:100_000], "not a complete gzip file"),
        (b"gzip", gzip.compress(b"{}") + BOMB, "larger than 256 MiB"),
        (b"gzip, gzip", gzip.compress(BOMB), "compressed as 'gzip, gzip', which was not requested"),
        (b"br", b"{}", "compressed as 'br', which was not requested"),
    ],
)
def test_a_body_takes_no_more_memory_than_it_may(packing: bytes, body: bytes, message: str) -> None:
    head = HEAD + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (packing, len(body))
    with wire_server(lambda _: head + body) as server:
        url = f"http://{server.address}"
        with _transport(url) as transport, pytest.raises(TransportError) as caught:
            transport.get(f"{url}/", 60)
    assert str(caught.value) == f"the response of {server.address} is {message}"
    assert isinstance(caught.value, TooLargeError) is message.startswith("larger")


def test_several_gzip_members_are_one_body() -> None:
    body = gzip.compress(b'{"a":') + gzip.compress(b"1}")
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    with wire_server(lambda _: head + body) as server:
        assert _bodies_of(server) == [b'{"a":1}'] * 3
    assert b"Accept-Encoding: gzip\r\n" in server.asked[0].head


@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY", "HTTPS_PROXY"])
@pytest.mark.parametrize("tls", [False, True])
def test_this_machine_is_asked_without_a_proxy(
    host: str, variable: str, tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with raw_server(lambda _: b"") as proxy, wire_server(_echo, tls=tls) as server:
        for name in (variable, variable.lower()):
            monkeypatch.setenv(name, proxy.url)
        url = f"http{'s' if tls else ''}://{server.address.replace('127.0.0.1', host)}"
        with _transport(url) as transport:
            assert transport.get(f"{url}/0", 10).body == b"/0"
    assert proxy.paths == []


def _proxied(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, proxy)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")


def test_a_proxy_gets_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with wire_server(lambda _: b"HTTP/1.1 502 Bad Gateway\r\n\r\n") as proxy:
        _proxied(monkeypatch, f"http://{proxy.address}")
        with (
            _transport("https://api.example") as transport,
            pytest.raises(TransportError) as caught,
        ):
            transport.get("https://api.example/teams", 5)
        (asked,) = proxy.asked
        assert asked.path == "api.example:443"
        assert TOKEN.encode() not in asked.head
    assert str(caught.value) == (
        f"the proxy http://{proxy.address} does not connect to api.example: 502 Bad Gateway"
    )
    assert type(caught.value) is BrokenConnectionError


def _problem(url: str = "https://api.example") -> TransportError:
    with _transport(url) as transport, pytest.raises(TransportError) as caught:
        transport.get(f"{url}/teams", 5)
    return caught.value


CORRECT = "correct HTTPS_PROXY or ALL_PROXY, or add the API's host to NO_PROXY"


def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
    with wire_server(lambda _: refusal) as proxy:
        _proxied(monkeypatch, f"http://user:password@{proxy.address}")
        problem = _problem()
    assert isinstance(problem, SetupError)
    assert str(problem) == (
        f"the proxy {proxy.address} does not connect to api.example: "
        f"407 Proxy Authentication Required; {CORRECT}"
    )


def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    _proxied(monkeypatch, f"http://{address}")
    problem = _problem()
    assert type(problem) is NoConnectionError
    assert str(problem) == f"no connection to the proxy http://{address}"


@pytest.mark.parametrize("proxy", ["ftp://proxy.example", "http://", "http://proxy.example:port"])
def test_what_is_no_proxy(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _proxied(monkeypatch, proxy)
    problem = _problem()
    assert isinstance(problem, SetupError)
    assert str(problem) == f"{proxy} is not the URL of a proxy; {CORRECT}"


def test_a_socks_proxy_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:  # as requests has it where PySocks is missing
        raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")

    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", missing)
    _proxied(monkeypatch, "socks5h://user:password@proxy.example:1080")
    problem = _problem()
    assert isinstance(problem, SetupError)
    assert str(problem) == (
        "the proxy proxy.example:1080 needs the package PySocks: install it together with "
        "tap-compose, or set another proxy"
    )


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize(("name", "reason"), [("gone", "No such file or directory"), ("bad", None)])
def test_certificates_that_cannot_be_read(
    variable: str, name: str, reason: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bad").write_text("no PEM")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / name))
    problem = _problem()
    assert isinstance(problem, SetupError)
    assert str(problem) == (
        f"cannot read certificates from {tmp_path / name}: {reason or 'it has none'}; "
        f"correct {variable}"
    )


def test_a_certificate_that_does_not_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with wire_server(_echo, tls=True) as server:
        problem = _problem(f"https://{server.address}")
    assert isinstance(problem, CertificateError)
    assert str(problem) == (
        f"no secure connection to {server.address}: certificate verify failed: "
        "unable to get local issuer certificate"
    )


def test_a_handshake_that_breaks_off_may_pass() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def close_at_once() -> None:
            sock, _ = listener.accept()
            sock.recv(65536)  # all of it, or the connection would be reset
            sock.close()

        threading.Thread(target=close_at_once, daemon=True).start()
        problem = _problem(f"https://127.0.0.1:{listener.getsockname()[1]}")
    assert type(problem) is BrokenConnectionError
