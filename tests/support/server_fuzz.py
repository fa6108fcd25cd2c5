"""Many servers that hypothesis makes up, and what the tap makes of each.

``python -m tests.support.server_fuzz 1000`` prints how it went as JSON.
"""

from __future__ import annotations

import _thread
import gzip
import json
import logging
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tap_compose.api.transport import LARGEST_BODY
from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.server import Sandbox
from tests.support.raw_server import bomb, kept, raw_server
from tests.support.tap_runs import Output, catalog_of, config_for, peak_mib, sync

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT = 1.0
# Their bodies tell whose they are, so that those of others can be told from them.
STREAMS = ("deployments", "deployment_details", "deployment_backups", "teams")

_INTERIM = st.sampled_from(
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 7\r\n\r\n",
        b"HTTP/1.0 199 x\r\nTransfer-Encoding: chunked\r\n\r\n",
    ]
)
_STATUS_LINES = st.one_of(
    st.just(b"HTTP/1.1 200 OK"),
    st.sampled_from(
        b"HTTP/1.0 200 OK|HTTP/1.1 200|HTTP/1.1  200  OK  |HTTP/1.9 200 OK|HTTP/2 200 OK|"
        b"http/1.1 200 OK|ICY 200 OK|HTTP/1.1 +200 OK|HTTP/1.1 99 Low|HTTP/1.1 1000 High|"
        b"HTTP/1.1 101 Switching Protocols|HTTP/1.1 204 No Content|HTTP/1.1 206 Partial Content|"
        b"HTTP/1.1 304 Not Modified||\x16\x03\x01\x02\x00".split(b"|")
    ),
    st.just(b"HTTP/1.1 200 " + b"x" * 70_000),
    st.integers(100, 999).map(b"HTTP/1.1 %d X".__mod__),
    st.binary(max_size=30),
)
_HEADERS = st.one_of(
    st.sampled_from(
        b"Connection: close|Connection: keep-alive|Keep-Alive: timeout=0, max=1|"
        b"Content-Length: 2|Content-Length: -1|Content-Length: 99999999999999999999999|"
        b"Content-Length: 5, 5|Transfer-Encoding: chunked|Transfer-Encoding: gzip, chunked|"
        b"Transfer-Encoding: identity|Content-Encoding: gzip|Content-Encoding: gzip, gzip|"
        b"Content-Encoding: br|Content-Encoding:|Set-Cookie: a=b; Expires=never|"
        b"Retry-After: -1|Location: //elsewhere|no colon|: no name|X-Folded: a\r\n b\r\n\tc|"
        b"X-Bare: a\rb\nc: d|X: \xff\xfe\x00".split(b"|")
    ),
    st.sampled_from([b"X-Long: " + b"y" * 70_000, b"\r\n".join([b"X: y"] * 120)]),
    st.binary(max_size=20),
)


@dataclass(frozen=True)
class Behaviour:
    """How a server responds to a request."""

    interim: list[bytes]
    status: bytes
    headers: list[bytes]
    packing: str
    framing: str
    chunk: int
    error: int
    after: str
    piece: int
    gap: float
    cut: int | None
    stalls: bool


_BEHAVIOURS = st.builds(
    Behaviour,
    interim=st.lists(_INTERIM, max_size=3),
    status=st.one_of(st.just(b"HTTP/1.1 200 OK"), _STATUS_LINES),
    headers=st.one_of(st.just([]), st.lists(_HEADERS, max_size=3)),
    packing=st.sampled_from(["plain"] * 4 + ["gzip", "two members", "cut gzip", "bomb"]),
    framing=st.sampled_from(
        ["length"] * 3 + ["chunked", "trailers", "bad chunk", "close", "none", "wrong length"]
    ),
    chunk=st.integers(1, 5000),
    error=st.integers(-20, 20),
    after=st.sampled_from(["nothing"] * 3 + ["another", "another later", "garbage", "line"]),
    piece=st.sampled_from([1 << 20, 1 << 20, 1000, 100]),
    gap=st.sampled_from([0.0, 0.0, 0.001]),
    cut=st.one_of(st.none(), st.none(), st.integers(0, 400)),
    stalls=st.sampled_from([False] * 9 + [True]),
)
_PLAIN = Behaviour([], b"HTTP/1.1 200 OK", [], "plain", "length", 1, 0, "nothing", 1 << 20, 0, None, False)  # fmt: skip  # noqa: E501, FBT003
_BOMB = bomb(LARGEST_BODY + 1)


class Server:
    """Responds as its behaviours say, one after another, over and over.

    Args:
        bodies: What a correct server sends, by path.
        behaviours: How it sends them.
    """

    def __init__(self, bodies: dict[str, bytes], behaviours: list[Behaviour]) -> None:
        self._bodies = bodies
        self._behaviours = behaviours
        self._lock = threading.Lock()
        self._served = 0
        self._rare = {"stall", "bomb"}  # once a run, so that three time-outs can suffice
        self.is_over = threading.Event()

    def respond(self, path: str) -> Iterator[bytes]:
        with self._lock:
            how = self._behaviours[self._served % len(self._behaviours)]
            self._served += 1
            stalls = how.stalls and self._take("stall")
            explodes = how.packing == "bomb" and self._take("bomb")
        whole, ends = self._response(path, how, explodes=explodes)
        whole = whole[: how.cut]
        if stalls:
            yield whole[: len(whole) // 2]
            self.is_over.wait(60)
            return
        step = max(how.piece, len(whole) // 40 + 1)
        for start in range(0, len(whole), step):
            yield whole[start : start + step]
            if how.gap:
                time.sleep(how.gap)
        if how.after == "another later":
            yield kept(self._another(path))
        if ends or how.cut is not None:
            yield b""

    def _take(self, what: str) -> bool:
        is_there = what in self._rare
        self._rare.discard(what)
        return is_there

    @property
    def has_exploded(self) -> bool:
        return "bomb" not in self._rare

    def _another(self, path: str) -> bytes:
        others = (body for other, body in list(self._bodies.items()) if other != path)
        return next(others, b"{}")

    def _response(self, path: str, how: Behaviour, *, explodes: bool) -> tuple[bytes, bool]:
        """The bytes, and whether the connection ends with them."""
        body = self._bodies[path]
        headers = list(how.headers)
        if how.packing != "plain":
            headers.append(b"Content-Encoding: gzip")
            half = len(body) // 2
            packed = gzip.compress(body)
            body = {
                "two members": gzip.compress(body[:half]) + gzip.compress(body[half:]),
                "cut gzip": packed[: len(packed) // 2],
                "bomb": _BOMB if explodes else packed,
            }.get(how.packing, packed)
        if how.framing in {"chunked", "trailers", "bad chunk"}:
            headers.append(b"Transfer-Encoding: chunked")
            body = _chunked(body, how)
        elif how.framing in {"length", "wrong length"}:
            error = how.error if how.framing == "wrong length" else 0
            headers.append(b"Content-Length: %d" % (len(body) + error))
        elif how.framing == "close":
            headers.append(b"Connection: close")
        head = b"\r\n".join([how.status, *headers])
        after = {
            "another": kept(self._another(path)),
            "garbage": b"\x00garbage" * 50,
            "line": b"\r\n",
        }.get(how.after, b"")
        ends = how.framing in {"close", "none"}
        return b"".join(how.interim) + head + b"\r\n\r\n" + body + after, ends


def _chunked(body: bytes, how: Behaviour) -> bytes:
    size = max(how.chunk, len(body) // 200 + 1)
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = [b"%x;name=value\r\n%s\r\n" % (len(each), each) for each in pieces]
    if how.framing == "bad chunk":
        wrong = [b"-5\r\n", b"ffffffffffffffffffff\r\n", b"zz\r\n", b"\r\n", b"1_0\r\n", b"0x2\r\n"]
        chunks.insert(len(chunks) // 2, wrong[how.error % len(wrong)])
    trailers = b"X: y\r\n" * 3 if how.framing == "trailers" else b""
    return b"".join(chunks) + b"0\r\n" + trailers + b"\r\n"


class _Bodies(dict[str, bytes]):
    """What the sandbox sends, by path."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        self._sandbox = sandbox

    def __missing__(self, path: str) -> bytes:
        headers = {"Authorization": f"Bearer {self._sandbox.token}"}
        response = requests.get(self._sandbox.url + path, headers=headers, timeout=60)
        self[path] = response.content
        return self[path]


def fuzz(servers: int, *, derandomize: bool) -> dict[str, Any]:
    """Run the tap against servers.

    Args:
        servers: How many.
        derandomize: Whether they are the same each time.

    Returns:
        How many runs ended how, and the seconds of the slowest.
    """
    ends = {"right": 0, "failed": 0}
    slowest = 0.0
    catalog = catalog_of(*STREAMS)
    with Sandbox(Size(deployments=2, events=10, recipes=2)) as sandbox:
        bodies = _Bodies(sandbox)
        plain = {**config_for(sandbox), "request_timeout": TIMEOUT, "fail_on_skip": True}

        def run(behaviours: list[Behaviour]) -> tuple[Output, float]:
            server = Server(bodies, behaviours)
            threads = _thread._count()
            with raw_server(server.respond, idle=0.1) as running:
                try:
                    config = {**plain, "api_url": running.url}
                    begun = time.monotonic()
                    return sync(config, catalog=catalog), time.monotonic() - begun
                finally:
                    server.is_over.set()
                    if server.has_exploded:  # a run that failed may still unpack it
                        until = time.monotonic() + 2
                        while _thread._count() > threads and time.monotonic() < until:
                            time.sleep(0.01)

        calm, _ = run([_PLAIN])
        assert calm.status == 0
        assert calm.rows.keys() == set(STREAMS)

        @settings(
            max_examples=servers,
            derandomize=derandomize,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(st.one_of(st.just(_PLAIN), _BEHAVIOURS), min_size=1, max_size=6))
        def check(behaviours: list[Behaviour]) -> None:
            nonlocal slowest
            output, took = run(behaviours)
            slowest = max(slowest, took)
            assert took < 3 * TIMEOUT
            if output.status == 0:
                wrong = [name for name in STREAMS if output.rows.get(name) != calm.rows[name]]
                assert not wrong, [output.rows.get(name) for name in wrong]
            else:
                assert output.status == 1
            ends["failed" if output.status else "right"] += 1

        check()
    return {**ends, "slowest": round(slowest, 2)}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    found = fuzz(int(sys.argv[1]), derandomize="--same" in sys.argv)
    sys.stdout.write(json.dumps({**found, "peak_mib": round(peak_mib())}))
