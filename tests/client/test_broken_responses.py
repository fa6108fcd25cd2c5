"""Bytes on the wire: nothing is taken for another request's response, and everything ends."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
import time
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from tap_compose.api.errors import ApiError, TransientError
from tests.support.clients import open_client, open_transport, results_of
from tests.support.raw_server import kept, raw_server
from tests.support.tap_runs import sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP = b"Content-Encoding: gzip\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
TWENTY = list(range(20))


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tap_compose.api.client._GRACE", 0.2)
    monkeypatch.setattr("tap_compose.api.client._TICK", 0.1)


def _number(path: str) -> bytes:
    """A correct response: the number in the path."""
    return kept(path[1:].encode())


def _problem(url: str, timeout: float = 5) -> ApiError:
    with open_transport(url, timeout=timeout) as transport, pytest.raises(ApiError) as caught:
        transport.get("/teams")
    return caught.value


def _results(url: str, paths: int = 20, timeout: float = 5, **settings: Any) -> list[Any]:
    with open_client(url, timeout=timeout, **settings) as client:
        return results_of(client, paths)


# Another request's response


@pytest.mark.parametrize(
    ("status", "informational"),
    [
        (103, HINTS),
        (101, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
        (199, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 199 X\r\nContent-Length: 2\r\n\r\n" + HINTS),
    ],
)
def test_what_follows_an_informational_response_belongs_to_no_request(
    status: int, informational: bytes
) -> None:
    """http.client takes it for the response, but for 100."""
    before = iter([informational])
    with (
        raw_server(lambda path: next(before, b"") + _number(path)) as server,
        open_transport(server.url) as transport,
    ):
        with pytest.raises(TransientError, match=f"^HTTP {status}"):
            transport.get("/0")
        assert transport.get("/1") == b"1"
    assert server.connections == 2


@pytest.mark.parametrize("is_later", [False, True])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_second_response_is_not_taken_for_the_next(framing: str, is_later: bool) -> None:
    first = kept(b"0") if framing == "length" else CHUNKED + b"1\r\n0\r\n0\r\n\r\n"
    was_sent = threading.Event()

    def respond(path: str) -> Iterator[bytes]:
        stray = kept(b"x" * 50_000)
        if path != "/0":
            yield _number(path)
        elif is_later:
            yield from (first, stray)
        else:
            yield first + stray
        was_sent.set()

    with raw_server(respond) as server, open_transport(server.url) as transport:
        assert transport.get("/0") == b"0"
        assert was_sent.wait(5)
        assert [transport.get(f"/{number}") for number in (1, 2)] == [b"1", b"2"]


def test_a_body_of_another_deployment_is_never_written_nor_its_connection_used_again() -> None:
    listed = kept(b'{"_embedded": {"deployments": [{"id": "d"}]}}')
    owners = iter(["other", "another"])

    def respond(path: str) -> bytes:
        if path == "/deployments":
            return listed
        return kept(json.dumps({"id": next(owners, "d"), "name": path}).encode())

    with raw_server(respond) as server:
        config = {"api_url": server.url, "api_token": "a-token", "max_retries": 2}
        output = sync(config, streams=["deployment_details"])
    assert output.status == 0
    assert [row["id"] for row in output.rows["deployment_details"]] == ["d"]
    used = [each.connection for each in server.requests if each.path != "/deployments"]
    assert len({*used}) == len(used) == 3


def test_a_server_that_closes_idle_connections_costs_nothing_but_time() -> None:
    with raw_server(lambda path: [_number(path), b""]) as server:
        assert _results(server.url) == TWENTY


# What never ends


def _drip(start: bytes, piece: bytes) -> Callable[[str], Iterator[bytes]]:
    def respond(_path: str) -> Iterator[bytes]:
        yield start
        for _ in range(1000):  # for 20 s, so that a request that waits for all of it ends otherwise
            time.sleep(0.02)
            yield piece
        yield b""

    return respond


def test_a_body_that_never_ends_ends_at_the_timeout() -> None:
    with raw_server(_drip(HEAD + b"\r\n", b" ")) as server:
        problem = _problem(server.url, timeout=0.2)
    assert isinstance(problem, TransientError)
    assert str(problem) == f"no complete response from {server.address} in 0.2 s"


@pytest.mark.parametrize(
    ("start", "piece"),
    [(HEAD + b"X: ", b"y"), (HEAD + GZIP + b"\r\n", gzip.compress(b""))],
    ids=["header", "members that unpack to nothing"],
)
def test_what_no_timeout_bounds_is_given_up_a_little_later(start: bytes, piece: bytes) -> None:
    with raw_server(_drip(start, piece)) as server:
        (problem,) = _results(server.url, 1, timeout=1, max_retries=0)
    assert re.fullmatch(r"no complete response in \d s; given up", str(problem))


def test_a_probe_that_never_ends_is_given_up() -> None:
    """So that the refused request does not wait for ever."""
    drip = _drip(b"HTTP/1.1 ", b"2")

    def respond(path: str) -> bytes | Iterator[bytes]:
        return drip(path) if path == "/accounts" else kept(b"{}", b"401 Unauthorized")

    with raw_server(respond) as server, open_client(server.url, timeout=0.5, max_retries=0) as it:
        with pytest.raises(ApiError, match="nothing responds at"):
            results_of(it, 1)
        assert it.requests_sent == 2


def test_what_was_given_up_is_sent_again_and_takes_no_turn_for_ever() -> None:
    """The attempt that was given up fails later, and must not be sent once more."""
    attempts = count()
    has_failed = threading.Event()

    def respond(path: str) -> Iterator[bytes]:
        if path == "/0" and next(attempts) == 0:
            yield b"HTTP/1.1 "
            for _ in range(60):
                time.sleep(0.02)
                yield b"2"
            yield b""
            has_failed.set()
        else:
            yield _number(path)

    with (
        raw_server(respond) as server,
        open_client(server.url, timeout=0.5, max_concurrency=1) as client,
    ):
        assert results_of(client, 3) == [0, 1, 2]
        assert client.requests_sent == 4
        assert has_failed.wait(5)
        time.sleep(0.2)
        assert client.requests_sent == 4


@pytest.mark.parametrize("drips", [False, True])
def test_a_handshake_that_breaks_off_or_never_ends_may_succeed_later(drips: bool) -> None:
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
        problem = _problem(f"https://{address}", timeout=0.2 if drips else 5)
    assert type(problem) is TransientError
    assert str(problem).startswith(f"no complete response from {address}")
    assert str(problem).endswith(" in 0.2 s" if drips else "EOF occurred in violation of protocol")


# Bodies


NO_JSON = "HTTP 200 with a body that is not JSON"
BAD = "no complete response from {}: Error -3 while decompressing data: incorrect header check"


@pytest.mark.parametrize(
    ("body", "expected", "attempts"),
    [
        (gzip.compress(b'{"a":') + gzip.compress(b"1}"), "{'a': 1}", 1),
        (gzip.compress(b'{"a": "%s"}' % bytes(range(35, 92)))[:50], NO_JSON, 2),
        (b"{}", BAD, 2),
    ],
    ids=["two members", "cut off", "not packed"],
)
def test_packed_bodies(body: bytes, expected: str, attempts: int) -> None:
    with raw_server(lambda _: kept(body, headers=GZIP)) as server:
        (result,) = _results(server.url, 1, max_retries=1)
    assert str(result) == expected.replace("{}", server.address)
    assert len(server.paths) == attempts
