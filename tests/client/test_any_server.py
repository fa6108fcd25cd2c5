"""Whatever a server makes of HTTP: the rows are right, or the exit status is 1."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from typing import TYPE_CHECKING

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.server import Sandbox
from tests.support.raw_server import kept, raw_server
from tests.support.tap_runs import catalog_of, config_for, sync

if TYPE_CHECKING:
    from collections.abc import Iterator

# Their bodies tell whose they are, so that those of others can be told from them.
STREAMS = ("deployments", "deployment_details", "deployment_backups", "teams")

_STATUS_LINES = st.one_of(
    st.just(b"HTTP/1.1 200 OK"),
    st.sampled_from(
        b"HTTP/1.0 200 OK|HTTP/1.1 200|HTTP/1.1  200  OK  |HTTP/2 200 OK|ICY 200 OK|"
        b"HTTP/1.1 +200 OK|HTTP/1.1 99 Low|HTTP/1.1 1000 High|HTTP/1.1 304 Not Modified||"
        b"\x16\x03\x01\x02\x00".split(b"|")
    ),
    st.integers(100, 999).map(b"HTTP/1.1 %d X".__mod__),
    st.binary(max_size=30),
)
_HEADERS = st.one_of(
    st.sampled_from(
        b"Connection: close|Keep-Alive: timeout=0, max=1|Content-Length: 2|Content-Length: -1|"
        b"Content-Length: 5, 5|Transfer-Encoding: chunked|Transfer-Encoding: gzip, chunked|"
        b"Content-Encoding: gzip, gzip|Content-Encoding: br|Content-Encoding:|Retry-After: -1|"
        b"Location: //elsewhere|no colon|: no name|X-Folded: a\r\n b|X-Bare: a\rb\nc: d|"
        b"X: \xff\xfe\x00".split(b"|")
    ),
    st.sampled_from([b"X-Long: " + b"y" * 70_000, b"\r\n".join([b"X: y"] * 120)]),
    st.binary(max_size=20),
)


@dataclass(frozen=True)
class Behaviour:
    """How a server responds to a request."""

    status: bytes = b"HTTP/1.1 200 OK"
    headers: tuple[bytes, ...] = ()
    packing: str = "plain"
    framing: str = "length"
    after: str = "nothing"
    cut: int | None = None


_BEHAVIOURS = st.builds(
    Behaviour,
    status=st.one_of(st.just(b"HTTP/1.1 200 OK"), _STATUS_LINES),
    headers=st.one_of(st.just(()), st.lists(_HEADERS, max_size=3).map(tuple)),
    packing=st.sampled_from(["plain", "plain", "gzip", "two members", "cut gzip"]),
    framing=st.sampled_from(
        ["length", "length", "chunked", "bad chunk", "close", "none", "too long", "too short"]
    ),
    after=st.sampled_from(["nothing", "nothing", "another", "another later", "garbage"]),
    cut=st.one_of(st.none(), st.none(), st.integers(0, 400)),
)


def _response(body: bytes, how: Behaviour, another: bytes) -> Iterator[bytes]:
    """The pieces of a response; an empty one ends the connection."""
    headers, half = list(how.headers), len(body) // 2
    if how.packing != "plain":
        headers.append(b"Content-Encoding: gzip")
        packed = gzip.compress(body)
        body = {
            "two members": gzip.compress(body[:half]) + gzip.compress(body[half:]),
            "cut gzip": packed[: len(packed) // 2],
        }.get(how.packing, packed)
    if how.framing in {"chunked", "bad chunk"}:
        headers.append(b"Transfer-Encoding: chunked")
        wrong = b"zz\r\n" if how.framing == "bad chunk" else b""
        body = b"%x;name=value\r\n%s\r\n%s0\r\nX: y\r\n\r\n" % (len(body), body, wrong)
    elif how.framing == "close":
        headers.append(b"Connection: close")
    elif how.framing != "none":
        error = {"too long": 7, "too short": -7}.get(how.framing, 0)
        headers.append(b"Content-Length: %d" % max(0, len(body) + error))
    after = {"another": kept(another), "garbage": b"\x00garbage" * 50}.get(how.after, b"")
    head = b"\r\n".join([how.status, *headers])
    yield (head + b"\r\n\r\n" + body + after)[: how.cut]
    if how.after == "another later":
        yield kept(another)
    if how.framing in {"close", "none"} or how.cut is not None:
        yield b""


# The connections that broke within a response are closed when they are collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("servers", "is_random"), [(15, False), pytest.param(200, True, marks=pytest.mark.slow)]
)
def test_rows_are_right_or_the_status_is_1(servers: int, is_random: bool) -> None:
    catalog = catalog_of(*STREAMS)
    statuses: list[int] = []
    with Sandbox(Size(deployments=2, events=10, recipes=2)) as sandbox:
        config = {**config_for(sandbox), "request_timeout": 1, "fail_on_skip": True}
        token = {"Authorization": f"Bearer {sandbox.token}"}
        calm = sync(config, catalog=catalog)
        assert calm.rows.keys() == {*STREAMS}

        @cache
        def get(path: str) -> bytes:
            return requests.get(sandbox.url + path, headers=token, timeout=60).content

        @settings(
            max_examples=servers,
            derandomize=not is_random,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(st.one_of(st.just(Behaviour()), _BEHAVIOURS), min_size=1, max_size=6))
        def check(behaviours: list[Behaviour]) -> None:
            turns = cycle(behaviours)

            def respond(path: str) -> Iterator[bytes]:
                another = get("/accounts" if path == "/teams" else "/teams")
                return _response(get(path), next(turns), another)

            with raw_server(respond, idle=0.1) as server:
                output = sync({**config, "api_url": server.url}, catalog=catalog)
            assert output.status in {0, 1}
            if output.status == 0:
                assert output.rows == calm.rows
            statuses.append(output.status)

        check()
    assert {*statuses} == {0, 1}
