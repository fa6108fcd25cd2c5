"""Inject faults into the sandbox: by kind, rate and path, the same for the same seed."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from dataclasses import dataclass
from email.utils import formatdate
from fnmatch import fnmatchcase
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BIG = 50_000_000
"""Bytes of a big body."""

KINDS: Mapping[str, str] = {
    "STATUS": "an error with this HTTP status, 300 to 599, such as 503",
    "429-seconds": "status 429 with Retry-After: 1",
    "429-date": "status 429 with a date in Retry-After, one second ahead",
    "reset": "the connection is reset, without a response",
    "close": "the connection is closed, without a response",
    "cut": "the connection is closed in the middle of the body",
    "length": "Content-Length is half the length of the body",
    "html": "status 200 with an HTML page",
    "empty": "status 200 with an empty body",
    "list": "the body inside a JSON list",
    "null": "null instead of the list or the object",
    "strings": "every number in the body is a string",
    "no-id": "the first entry of the list has no id",
    "drip": "the body comes byte by byte, 20 per second",
    "redirect": "status 302 to another host",
    "dead-token": "status 401 for all requests, after as many requests as RATE",
    "big": f"{BIG // 1_000_000} MB of blanks after the body",
}
"""What each kind of fault does."""


_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


@dataclass(frozen=True)
class Fault:
    """A fault to inject.

    Attributes:
        kind: One of ``KINDS``, or an HTTP status.
        rate: The share of requests that fail, from 0 to 1; for ``dead-token`` the number of
            requests that still succeed.
        path: A pattern for the path below the base URL, as for file names.
    """

    kind: str
    rate: float = 1.0
    path: str = "*"

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read ``KIND[:RATE[:PATH]]``.

        Args:
            text: Such as ``503:0.1`` or ``reset:1:/deployments/*/alerts``.

        Returns:
            The fault.

        Raises:
            ValueError: If it is not a fault.
        """
        kind, _, rest = text.partition(":")
        rate, _, path = rest.partition(":")
        is_status = kind.isdecimal() and 300 <= int(kind) <= 599
        if kind not in KINDS.keys() - {"STATUS"} and not is_status:
            raise ValueError(f"unknown fault {kind}: use one of {', '.join(KINDS)}")
        return cls(kind, float(rate or 1.0), path or "*")


class Faults:
    """Injects faults into the requests to an application.

    Args:
        app: The application.
        faults: The faults; the first that applies to a request is used.
        seed: Decides which requests fail.
        streak: Maximum number of faults in a row for the same request; 0 for no limit.
        prefix: The prefix of every path.
    """

    def __init__(
        self, app: ASGIApp, faults: Sequence[Fault], *, seed: int, streak: int, prefix: str
    ) -> None:
        self._app = app
        self._faults = faults
        self._seed = seed
        self._streak = streak
        self._prefix = prefix
        self._tries: dict[str, int] = {}
        self._streaks: dict[str, int] = {}
        self._requests = 0
        self.struck: list[tuple[str, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._requests += 1
        path = scope["path"].removeprefix(self._prefix)
        fault = self._strikes(path, f"{path}?{scope['query_string'].decode()}")
        if fault is None:
            await self._app(scope, receive, send)
        else:
            self.struck.append((fault.kind, path))
            await self._strike(fault, scope, receive, send)

    def _strikes(self, path: str, request: str) -> Fault | None:
        number = self._tries[request] = self._tries.get(request, 0) + 1
        for fault in self._faults:
            if not fnmatchcase(path, fault.path):
                continue
            if fault.kind == "dead-token":
                if self._requests > fault.rate:
                    return fault
                continue
            chance = Random(f"{self._seed}/{fault}/{request}/{number}").random()
            streak = self._streaks.get(request, 0)
            if chance < fault.rate and not 0 < self._streak <= streak:
                self._streaks[request] = streak + 1
                return fault
        self._streaks[request] = 0
        return None

    async def _strike(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        kind = fault.kind
        if kind in {"reset", "close"}:
            await _raw(b"", receive, send, reset=kind == "reset")
        elif kind in _PAGES:
            await _answer(send, 200, _PAGES[kind], content_type=b"text/html")
        elif kind == "dead-token":
            await _answer(send, 401, b'{"errors":"invalid_token"}')
        elif kind == "redirect":
            await _answer(send, 302, b"", location=b"http://127.0.0.2:9/elsewhere")
        elif kind[:3].isdecimal():
            soon = formatdate(time.time() + 1, usegmt=True).encode()
            after = {"429-seconds": b"1", "429-date": soon}.get(kind)
            headers = {} if after is None else {"retry_after": after}
            await _answer(send, int(kind[:3]), b'{"errors":"struck by a fault"}', **headers)
        else:
            status, body = await self._answered(scope, receive)
            if kind == "cut":
                await _raw(_HEAD % len(body) + body[: len(body) // 2], receive, send)
            elif kind == "length":
                await _raw(_HEAD % (len(body) // 2) + body, receive, send)
            elif kind == "drip":
                await _drip(_HEAD % len(body), body, receive, send)
            else:
                await _answer(send, status, _SHAPES[kind](body))

    async def _answered(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        status = 200
        parts: list[bytes] = []

        async def keep(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            parts.append(message.get("body", b""))

        await self._app(scope, receive, keep)
        return status, b"".join(parts)


async def _answer(send: Send, status: int, body: bytes, **headers: bytes) -> None:
    sent = {"content_type": b"application/json", "content_length": b"%d" % len(body), **headers}
    pairs = [(name.replace("_", "-").encode(), value) for name, value in sent.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


async def _raw(data: bytes, receive: Receive, send: Send, *, reset: bool = False) -> None:
    """Write raw data to the connection and close it."""
    transport = send.__self__.transport  # type: ignore[attr-defined]  # uvicorn's own
    if reset:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.write(data)
        transport.close()
    await _gone(receive)


async def _drip(head: bytes, body: bytes, receive: Receive, send: Send) -> None:
    transport = send.__self__.transport  # type: ignore[attr-defined]  # uvicorn's own
    transport.write(head)
    gone = asyncio.ensure_future(_gone(receive))
    for place in range(len(body)):
        if gone.done() or transport.is_closing():
            break
        transport.write(body[place : place + 1])
        await asyncio.sleep(0.05)
    transport.close()
    await gone


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _as_null(body: bytes) -> bytes:
    content = json.loads(body)
    is_list = isinstance(content, dict) and "_embedded" in content
    return json.dumps({**content, "_embedded": None} if is_list else None).encode()


def _without_id(body: bytes) -> bytes:
    """Leave the id out of the first entry."""
    content = json.loads(body)
    embedded = content.get("_embedded") if isinstance(content, dict) else None
    for entries in list((embedded or {}).values())[:1]:
        for first in entries[:1]:
            first.pop("id", None)
            first.pop("_id", None)
    return json.dumps(content).encode()


_PAGES = {"html": b"<html><body>Down for maintenance</body></html>", "empty": b""}
_SHAPES: dict[str, Callable[[bytes], bytes]] = {
    "big": lambda body: body + b" " * BIG,
    "list": lambda body: b"[%s]" % body,
    "null": _as_null,
    "strings": lambda body: json.dumps(json.loads(body, parse_int=str, parse_float=str)).encode(),
    "no-id": _without_id,
}
