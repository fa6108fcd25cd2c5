"""A Compose API that costs little to serve: bodies are encoded first, each response is noted."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from bisect import bisect_left, bisect_right
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import uvicorn

from tap_compose.sandbox.deployment_bodies import RESOURCES
from tap_compose.sandbox.events import event_times
from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.quirks import Quirks

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST, LAST = "2015-01-01T00:00:00.000Z", "2025-01-01T00:00:00.000Z"
TOKEN = "benchmark-token"  # noqa: S105

_EVENT = (
    '{"id":"%024x","account_id":"52a50cb96230650018000000","event":"deployment.scale.members",'
    '"deployment_id":"5854017d89d50f424e000192","cluster_id":null,"ip":"198.51.100.7",'
    '"user_id":"58b7f2b8c7b6a10015000001","email":"ops@northwind.example",'
    '"user_agent":"Mozilla/5.0 (X11; Linux x86_64)","created_at":"%s",'
    '"data":{"units":"2","memory":"2 GB","storage":"4 GB","deployment":"prod-orders"}}'
)


def in_bursts(count: int) -> list[int]:
    """Return the times of events, in milliseconds: a trickle, bursts, and months without events."""
    return event_times(Random(1), count)


def even(count: int) -> list[int]:
    """Return the times of events, in milliseconds: spread over ten years at random."""
    random, first, last = Random(1), _milliseconds(FIRST), _milliseconds(LAST)
    return sorted(random.randrange(first, last) for _ in range(count))


def written(at: int) -> str:
    """Write the time of an event as the API does."""
    moment = datetime.fromtimestamp(at / 1000, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _milliseconds(text: str) -> int:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return round(moment.replace(tzinfo=timezone.utc).timestamp() * 1000)


@dataclass
class Api:
    """What is served, and how.

    Attributes:
        events: The times of the audit log, in milliseconds, ascending.
        deployments: How many, all of which can be read.
        recipes: How many each of them has, none with sub-recipes.
        latency: Seconds before each response.
        rate: Requests per second that are allowed, ``burst`` of them at once; 0 for any number.
        retry_after: The header of a refusal, if it has one.
        sent: When each response was sent, by ``time.monotonic``, and its status.
    """

    events: list[int] = field(default_factory=list)
    deployments: int = 0
    recipes: int = 1
    latency: float = 0.0
    rate: float = 0
    burst: float = 1
    retry_after: str | None = None
    sent: list[tuple[float, int]] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        """Encode all bodies but the pages of the audit log."""
        account = Account(Size(self.deployments, 0, self.recipes, quirks=Quirks.NONE))
        self.ids = account.deployment_ids
        bodies = dict(account.account_level)
        for deployment_id in self.ids:
            for name in RESOURCES:
                body = account.resource(deployment_id, name)
                if name == "recipes":
                    for recipe in body["_embedded"]["recipes"]:
                        recipe["_embedded"]["recipes"] = []
                bodies[f"/deployments/{deployment_id}/{name}".rstrip("/")] = body
        self._bodies = {path: json.dumps(body).encode() for path, body in bodies.items()}
        self._tokens, self._refilled = self.burst, time.monotonic()

    def _is_refused(self) -> bool:
        """Take a token from the bucket; tell whether there was none."""
        now = time.monotonic()
        self._tokens = min(self.burst, self._tokens + (now - self._refilled) * self.rate)
        self._refilled = now
        is_empty = self.rate > 0 and self._tokens < 1
        self._tokens -= not is_empty
        return is_empty

    def page(self, query: dict[str, str]) -> bytes:
        """Return a page of the audit log, newest first; the bounds are inclusive."""
        low = bisect_left(self.events, _milliseconds(query.get("newer_than", FIRST)))
        high = bisect_right(self.events, _milliseconds(query.get("older_than", LAST)))
        if "cursor" in query:
            high = min(high, int(query["cursor"], 16))
        places = range(high - 1, max(low, high - int(query["limit"])) - 1, -1)
        events = (_EVENT % (place, written(self.events[place])) for place in places)
        return f'{{"_embedded":{{"audit_events":[{",".join(events)}]}}}}'.encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Respond to a request, as ASGI wants it."""
        del receive
        is_refused = self._is_refused()
        if self.latency:
            await asyncio.sleep(self.latency)
        status, body = 429, b""
        if not is_refused:
            query = dict(parse_qsl(scope["query_string"].decode()))
            status, body = 200, self._bodies.get(scope["path"]) or self.page(query)
        headers = [(b"content-length", b"%d" % len(body))]
        if is_refused and self.retry_after:
            headers.append((b"retry-after", self.retry_after.encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        self.sent.append((time.monotonic(), status))


@contextmanager
def serving(api: Api) -> Iterator[Api]:
    """Serve in a thread, on a free port."""
    # asyncio turns Nagle's algorithm off only where the protocol is named.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        api.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(api, log_level="error", access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield api
        finally:
            server.should_exit = server.force_exit = True
            thread.join()
