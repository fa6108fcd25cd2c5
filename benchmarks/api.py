"""A Compose API that shares no code with the tap or its sandbox, and notes each response.

It serves an audit log and deployments, with a latency and a rate limit (docs/compose-api.md).
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from bisect import bisect_left, bisect_right
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

FIRST, LAST = (datetime(year, 1, 1, tzinfo=timezone.utc) for year in (2015, 2025))
TOKEN = "benchmark-token"  # noqa: S105
CLUSTERS = {
    "2015-01-05T09:00": (25, 8),
    "2015-01-05T15:00": (5, 86_400),
    "2015-11-02T03:00": (0.1, 0),
    "2016-04-01T12:00": (10, 30 * 86_400),
    "2017-02-14T08:00": (20, 3),
    "2017-02-14T08:10": (2, 3600),
    "2018-12-01T00:00": (0.05, 3600),
    "2020-06-30T23:59": (15, 0.5),
    "2020-07-01T00:01": (5, 7 * 86_400),
    "2023-03-15T10:00": (10, 60),
    "2024-09-09T09:09": (7.85, 60 * 86_400),
}
"""Percent of the events, by the start of a cluster, and the seconds that the cluster lasts."""

_EVENT = (
    '{"id":"%024x","account_id":"52a50cb96230650018000000","event":"deployment.scale.members",'
    '"deployment_id":"5854017d89d50f424e000192","cluster_id":null,"ip":"198.51.100.7",'
    '"user_id":"58b7f2b8c7b6a10015000001","email":"ops@northwind.example",'
    '"user_agent":"Mozilla/5.0 (X11; Linux x86_64)","created_at":"%s",'
    '"data":{"units":"2","memory":"2 GB","storage":"4 GB","deployment":"prod-orders"}}'
)
_PLACEHOLDER = "000000000000face"
_RECIPE = (
    f'{{"id":"%08x{_PLACEHOLDER}","deployment_id":"00000000{_PLACEHOLDER}","parent_id":null,'
    '"account_id":"52a50cb96230650018000000","name":"Creating haproxy portal",'
    '"template":"Recipes::Deployment::Run","status":"complete","status_detail":"Created a capsule",'
    '"source":"customer_api","source_user":"58b7f2b8c7b6a10015000001","source_reason":null,'
    '"source_ip":"198.51.100.7","operations_complete":3,"operations_total":3,'
    '"created_at":"2017-10-06T15:07:02Z","updated_at":"2017-10-06T15:07:10Z",'
    '"_embedded":{"recipes":[]}}'
)
_SCALINGS = b'{"allocated_units":1,"used_units":1,"starting_units":1,"minimum_units":1}'


def clustered(count: int) -> list[int]:
    """Return the times of events, in milliseconds: bursts of some seconds, months of nothing."""
    random, times = Random(1), []
    for start, (percent, seconds) in CLUSTERS.items():
        at = _milliseconds(start)
        share = round(count * percent / 100)
        times += [at + int(1000 * seconds * random.random()) for _ in range(share)]
    return sorted(times)


def even(count: int) -> list[int]:
    """Return the times of events, in milliseconds: spread over ten years at random."""
    random, first = Random(1), _milliseconds(FIRST.isoformat())
    span = (LAST - FIRST) // timedelta(milliseconds=1)
    return sorted(first + random.randrange(span) for _ in range(count))


def written(at: int) -> str:
    """Write a time of an event as the API does."""
    moment = datetime.fromtimestamp(at / 1000, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _list(name: str, entries: Iterable[str]) -> bytes:
    return f'{{"_embedded":{{"{name}":[{",".join(entries)}]}}}}'.encode()


def _milliseconds(text: str) -> int:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return round(moment.replace(tzinfo=timezone.utc).timestamp() * 1000)


@dataclass(frozen=True)
class Sent:
    """A response that was sent.

    Attributes:
        at: When, by ``time.monotonic``.
        status: Its HTTP status.
        round_trip: One more than that of any response sent before its request came.
    """

    at: float
    status: int
    round_trip: int


@dataclass
class Api:
    """What is served, and how.

    Attributes:
        events: The times of the audit log, in milliseconds, ascending.
        deployments: How many deployments.
        recipes: How many recipes each of them has.
        latency: Seconds before each response.
        rate: Requests a second that are allowed; 0 for any number.
        burst: Requests that are allowed at once, after a pause.
        retry_after: The header of a refusal; None for no header.
        after_response: Called after each response.
        sent: The responses so far.
        url: The base URL.
    """

    events: list[int] = field(default_factory=list)
    deployments: int = 0
    recipes: int = 0
    latency: float = 0.0
    rate: float = 0
    burst: float = 1
    retry_after: str | None = None
    after_response: Callable[[], None] = lambda: None
    sent: list[Sent] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        """Write the body of recipes once."""
        self._recipes = _list("recipes", [_RECIPE % number for number in range(self.recipes)])
        self._round_trips = 0
        self._tokens, self._refilled = self.burst, time.monotonic()

    def is_refused(self) -> bool:
        """Take a token from the bucket; tell whether there was none."""
        if not self.rate:
            return False
        now = time.monotonic()
        self._tokens = min(self.burst, self._tokens + (now - self._refilled) * self.rate)
        self._refilled = now
        is_empty = self._tokens < 1
        self._tokens -= not is_empty
        return is_empty

    def body(self, path: str, query: dict[str, str]) -> bytes | None:
        """Return the body of a resource; None if there is none."""
        match path.strip("/").split("/"):
            case ["audit_events"]:
                return self._page(query)
            case ["deployments"]:
                entries = (f'{{"id":"{n:024x}","name":"orders"}}' for n in range(self.deployments))
                return _list("deployments", entries)
            case ["deployments", deployment_id, "recipes"]:
                return self._recipes.replace(_PLACEHOLDER.encode(), deployment_id[8:].encode())
            case ["deployments", _, "scalings"]:
                return _SCALINGS
        return None

    def _page(self, query: dict[str, str]) -> bytes:
        low = bisect_left(self.events, _milliseconds(query["newer_than"]))
        high = bisect_right(self.events, _milliseconds(query["older_than"]))
        if "cursor" in query:
            high = min(high, int(query["cursor"], 16))
        places = range(high - 1, max(low, high - int(query["limit"])) - 1, -1)
        events = (_EVENT % (place, written(self.events[place])) for place in places)
        return _list("audit_events", events)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Respond to a request, as ASGI wants it."""
        del receive
        round_trip, is_refused = self._round_trips + 1, self.is_refused()
        if self.latency:
            await asyncio.sleep(self.latency)
        query = dict(parse_qsl(scope["query_string"].decode()))
        body = None if is_refused else self.body(scope["path"], query)
        status = 429 if is_refused else 404 if body is None else 200
        headers = {"content-length": str(len(body or b""))}
        if is_refused and self.retry_after:
            headers["retry-after"] = self.retry_after
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": body or b""})
        self._round_trips = max(self._round_trips, round_trip)
        self.sent.append(Sent(time.monotonic(), status, round_trip))
        self.after_response()


@contextmanager
def serving(api: Api) -> Iterator[Api]:
    """Serve in a thread, on a free port."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
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
        listener.close()
