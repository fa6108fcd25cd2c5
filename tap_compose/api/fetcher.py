"""Fetch each body once, however many read it, and again if it is unreadable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from urllib.parse import urlencode

from tap_compose.api.errors import ApiError, NoJsonError, TransientError, UnreadableBodyError
from tap_compose.api.scheduler import PendingRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tap_compose.api.budget import BodySizes
    from tap_compose.api.liveness import Liveness
    from tap_compose.api.scheduler import RequestScheduler
    from tap_compose.api.transport import Transport

T = TypeVar("T")

_SHAPE_RETRIES = 2
"""Retries because of a body of the wrong shape: waiting rarely changes one."""


@dataclass(frozen=True)
class Request(Generic[T]):
    """A GET request and how its body is read.

    Attributes:
        path: Path below the base URL, values percent-encoded (``hal.url_path``).
        read: Makes the result from the body; raises ``UnreadableBodyError`` if the body is not
            what the endpoint promises, and the request is sent again, at most twice unless the
            body is no JSON at all.
        params: Query parameters, unescaped.
        readers: How many requests of this run want this body. It is fetched once, and dropped
            when so many have read it.
        context: Whatever the caller wants to find with the result.
    """

    path: str
    read: Callable[[bytes], T]
    params: Mapping[str, str] = field(default_factory=dict)
    readers: int = 1
    context: Any = None


@dataclass(eq=False)
class Fetch(PendingRequest):
    """A request on its way, and who wants it.

    Attributes:
        readers: How many have not read its outcome yet.
        tries_counted: How many of its tries somebody has counted.
        wrong_shapes: How many of its tries brought a body of the wrong shape.
        error: Its outcome if that is an error, after a 401 was judged.
    """

    readers: int = 1
    tries_counted: int = 0
    wrong_shapes: int = 0
    error: ApiError | None = None


class Fetcher:
    """Fetches for all results of a client; one body for all its readers."""

    def __init__(
        self,
        base_url: str,
        transport: Transport,
        scheduler: RequestScheduler,
        liveness: Liveness,
    ) -> None:
        self._base_url = base_url
        self._transport = transport
        self._scheduler = scheduler
        self._liveness = liveness
        self._shared: dict[str, Fetch] = {}

    def send(self, request: Request[Any], sizes: BodySizes) -> Fetch:
        """Send a request, unless its body is there or on its way for another reader."""
        query = f"?{urlencode(request.params)}" if request.params else ""
        url = f"{self._base_url}{request.path}{query}"
        fetch = self._shared.get(url)
        if fetch is None:
            fetch = Fetch(url, request.path, sizes, readers=request.readers)
            if request.readers > 1:
                self._shared[url] = fetch
            self._scheduler.submit(fetch)
        return fetch

    def wait(self, fetches: Iterable[Fetch]) -> None:
        """Wait until one of several is done."""
        first_contact = self._liveness.first_contact
        while not self._scheduler.wait(*fetches, timeout=first_contact.seconds_left):
            first_contact.check()

    def read(self, request: Request[T], fetch: Fetch) -> tuple[Request[T], T | ApiError] | None:
        """Read the body of a request that is done; None if it had to be sent again."""
        result: T | ApiError
        if isinstance(fetch.outcome, ApiError):
            if fetch.error is None:
                fetch.error = self._liveness.judge(fetch, fetch.outcome)
            result = fetch.error
        else:
            try:
                result = request.read(cast("bytes", fetch.outcome))
            except UnreadableBodyError as error:
                self._transport.renew_connections()  # it may belong to another request
                result = _unreadable(fetch, error)
                if self._scheduler.retry(fetch, result):
                    return None
            self._scheduler.release(fetch)
        self._release(fetch)
        return request, result

    def cancel(self, fetch: Fetch) -> None:
        """Forget a request for one of its readers."""
        self._release(fetch)
        if not fetch.readers:
            self._scheduler.cancel(fetch)

    def _release(self, fetch: Fetch) -> None:
        fetch.readers -= 1
        if not fetch.readers:
            self._shared.pop(fetch.url, None)


def _unreadable(fetch: Fetch, error: UnreadableBodyError) -> TransientError:
    """Return what a body that cannot be read means to its request."""
    most_retries = None
    if not isinstance(error, NoJsonError):
        fetch.wrong_shapes += 1
        others = fetch.tries_that_count - fetch.wrong_shapes  # failed for other reasons
        most_retries = others + _SHAPE_RETRIES
    return TransientError(f"HTTP 200 with {error}", status=200, most_retries=most_retries)
