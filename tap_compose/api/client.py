"""Get resources of the Compose API: one, many in order, or many as they complete.

Worker threads only fetch and retry. Requests are submitted, and bodies read, in the one thread
that takes the results, so whoever uses the client needs no lock.
"""

from __future__ import annotations

import _thread
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlencode, urlsplit

import backoff
from typing_extensions import override

from tap_compose.api import hal
from tap_compose.api.errors import (
    ApiError,
    DeniedError,
    RejectedError,
    RunEndingError,
    TransientError,
    UnreadableBodyError,
    unexpected,
)
from tap_compose.api.pace import Throttle

if TYPE_CHECKING:
    from tap_compose.api.transport import Transport

T = TypeVar("T")

logger = logging.getLogger("tap-compose.api")

PUBLIC_API = "api.compose.io"
"""The host of Compose's public API, which was shut down in 2023."""

MOST_BYTES = 64 << 20
"""Bytes of all bodies that are in flight or unread, so that a run fits into a small container."""

_FIRST_SIZE = 3 << 20
"""Bytes of a body before others are known: the recipes of a deployment that is some years old."""

_WRONG_SHAPES = 2
"""Retries because of a body of the wrong shape: waiting rarely changes one."""

_GRACE = 5.0
"""Seconds after its time-out until a request that is still on its way is given up."""

_LONGEST_SILENCE = 68.0
"""Seconds until the first response of a run: a minute for a slow one, and less than 75 in all."""

_FIRST_ATTEMPTS = 3
"""Attempts of a request while nothing has ever responded."""

_SILENT_FAILURES = 8
"""Requests in a row that fail without any response before the API is probed."""

_PROBE = "/accounts"
"""The one resource that every live token may read."""


@dataclass(frozen=True)
class Request(Generic[T]):
    """A GET request and how its body is read.

    Attributes:
        path: Path below the base URL, values percent-encoded (``hal.url_path``).
        read: Makes the result from the body; raises ``UnreadableBodyError`` if the body is not
            what the endpoint promises. The request is then sent again, at most twice.
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
class Pending:
    """A request that was submitted and not yet read by all its readers.

    Attributes:
        url: The complete URL.
        path: Its path, as logs name it.
        readers: How many have not read its result yet.
        result: The body, or why there is none; None until it is known.
        attempts: How often it was sent; 0 once somebody has counted them.
        wrong_shapes: How many of these brought a body of the wrong shape.
        started: When it was sent, by the monotonic clock; 0 while it is not on its way.
        unread_bytes: The size of its body until somebody has read it.
        ticket: What the worker that fetches it was given; another one once that was given up.
    """

    url: str
    path: str
    readers: int = 1
    result: bytes | ApiError | None = None
    attempts: int = 0
    wrong_shapes: int = 0
    started: float = 0.0
    unread_bytes: int = 0
    ticket: object = field(default_factory=object)


class Client:
    """Gets resources for a run.

    Args:
        transport: Sends one request.
        base_url: Base URL without a slash at its end.
        timeout: Seconds for one request in total.
        max_retries: Further attempts of a request after the first.
        max_concurrency: Most requests in flight at once.
        longest_backoff: Seconds before a retry at most, unless ``Retry-After`` asks for more.

    Attributes:
        max_concurrency: Most requests in flight at once.
    """

    def __init__(
        self,
        transport: Transport,
        base_url: str,
        *,
        timeout: float = 60,
        max_retries: int = 8,
        max_concurrency: int = 8,
        longest_backoff: float = 60.0,
    ) -> None:
        self.max_concurrency = max_concurrency
        self._transport, self._base_url = transport, base_url
        self._timeout, self._max_retries = timeout, max_retries
        self._longest_backoff = longest_backoff
        self._throttle = Throttle(max_concurrency)
        self._submitted: SimpleQueue[tuple[Pending, object] | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[Pending, object, bytes | ApiError]] = SimpleQueue()
        self._in_flight: dict[Pending, None] = {}  # the oldest first
        self._shared: dict[str, Pending] = {}
        self._unread_bytes, self._expected_size = 0, _FIRST_SIZE
        self._probing = threading.Lock()
        self._accepted_at = self._probed_at = 0.0
        self._probe_error: ApiError | None = None
        self._began = monotonic()
        self._has_responded, self._silent_failures = False, 0
        self._is_closed = False
        self._fetch_with_retries = backoff.on_exception(
            backoff.runtime,
            TransientError,
            giveup=self._is_final,
            on_backoff=self._log_retry,
            value=self._wait_before_retry,
            jitter=None,  # it is in the wait
            logger=None,
        )(self._fetch)
        for _ in range(max_concurrency):
            self._start_worker()

    # -- for the thread that takes the results

    @property
    def requests_sent(self) -> int:
        """How many requests were sent so far."""
        return self._throttle.sent

    @property
    def waiting_for(self) -> str:
        """What the next result is waiting for, in words; empty if for nothing."""
        pending, now = list(self._in_flight), monotonic()
        if not pending:
            return ""
        pause = int(self._throttle.paused_until - now)
        if pause > 0:
            return f"the end of a pause of all requests, in {pause} s"
        oldest, *more = pending
        seconds = int(now - oldest.started) if oldest.started else 0
        others = f" and {len(more)} more" if more else ""
        return f"GET {oldest.path}{others}" + (f", for {seconds} s" if seconds else "")

    def get(self, request: Request[T]) -> T:
        """Get one resource.

        Args:
            request: The request.

        Returns:
            What ``request.read`` made of the body.

        Raises:
            ApiError: If there was no usable response.
        """
        _, result = next(self.get_many([request]))
        if isinstance(result, ApiError):
            raise result
        return result

    def get_many(self, requests: Iterable[Request[T]]) -> Responses[T]:
        """Get many resources in the order of the requests.

        Args:
            requests: The requests; taken as there is room, never all at once.

        Returns:
            An iterator over each request with its result or error.
        """
        return Responses(self, requests)

    def as_completed(self) -> CompletedRequests[T]:
        """Return what takes requests and hands out their results as they arrive."""
        return CompletedRequests(self)

    def close(self) -> None:
        """Send no further request; those in flight are not waited for."""
        self._is_closed = True
        self._submitted.put(None)
        self._transport.close()

    def has_room(self, outstanding: int) -> bool:
        """Return whether a further request may be sent; the only one always may."""
        expected = self._unread_bytes + (len(self._in_flight) + 1) * self._expected_size
        return not outstanding or (
            outstanding < 2 * self.max_concurrency and expected <= MOST_BYTES
        )

    def submit(self, request: Request[Any]) -> Pending:
        """Send a request, unless its body is there or on its way for another reader."""
        query = f"?{urlencode(request.params)}" if request.params else ""
        url = f"{self._base_url}{request.path}{query}"
        pending = self._shared.get(url)
        if pending is None:
            pending = Pending(url, request.path, request.readers)
            if request.readers > 1:
                self._shared[url] = pending
            self._send(pending)
        return pending

    def _send(self, pending: Pending) -> None:
        pending.result = None
        self._in_flight[pending] = None
        self._submitted.put((pending, pending.ticket))

    def wait(self, wanted: Collection[Pending]) -> None:
        """Wait until one of several requests is done."""
        self.take_done()
        while all(each.result is None for each in wanted):
            if self._is_closed:
                raise RunEndingError("the client is closed")
            try:
                self._note_done(*self._done.get(timeout=1))
            except Empty:
                self._give_up_overdue()
            self.take_done()

    def take_done(self) -> None:
        """Note which requests are done by now."""
        while not self._done.empty():
            self._note_done(*self._done.get())

    def _note_done(self, pending: Pending, ticket: object, result: bytes | ApiError) -> None:
        if pending.ticket is not ticket:  # it was given up, or nobody wants it any more
            return
        if isinstance(result, RunEndingError):
            raise result
        del self._in_flight[pending]
        pending.result = result
        if isinstance(result, bytes):
            size, expected = len(result), self._expected_size
            self._expected_size = max(size, expected - (expected - size) // 8)
            self._unread_bytes += size
            pending.unread_bytes = size

    def _give_up_overdue(self) -> None:
        """Give up attempts that outlive their time, such as a look-up of the host.

        Such an attempt counts like any other. Its thread is lost until it ends.
        """
        now = monotonic()
        if not self._has_responded and now > self._began + _LONGEST_SILENCE:
            raise self._unreachable(f"no response in {_LONGEST_SILENCE:g} s")
        latest = now - self._timeout - _GRACE
        for pending in [each for each in self._in_flight if 0 < each.started < latest]:
            seconds = now - pending.started
            error = TransientError(f"no complete response in {seconds:.0f} s; given up")
            error.attempts = pending.attempts
            self._throttle.end(pending.ticket, pending.started, error)
            pending.ticket, pending.started = object(), 0.0
            if self._is_final(error):
                self._note_done(pending, pending.ticket, error)
            else:
                logger.info("GET %s: %s; sent again", pending.path, error)
                self._submitted.put((pending, pending.ticket))
            self._start_worker()

    def read(self, request: Request[T], pending: Pending) -> T | ApiError | None:
        """Return what the request makes of its result; None if it is sent again."""
        result = pending.result
        self._count_as_read(pending)
        if not isinstance(result, bytes):
            return result
        try:
            return request.read(result)
        except UnreadableBodyError as error:
            self._transport.forget_connections()  # it may belong to another request
            if pending.wrong_shapes >= min(_WRONG_SHAPES, self._max_retries):
                return error
            pending.wrong_shapes += 1
            logger.info("GET %s: %s; sent again", pending.path, error)
            self._send(pending)
            return None
        except Exception as bug:  # of one reader; a StopIteration must not end the others' loop
            logger.debug("an exception in the reader of %s", pending.path, exc_info=True)
            return ApiError(unexpected(bug))

    def _count_as_read(self, pending: Pending) -> None:
        self._unread_bytes -= pending.unread_bytes
        pending.unread_bytes = 0

    def release(self, pending: Pending) -> None:
        """Forget a request for one of its readers."""
        pending.readers -= 1
        if not pending.readers:
            self._count_as_read(pending)
            self._shared.pop(pending.url, None)
            self._in_flight.pop(pending, None)
            pending.ticket = object()

    # -- in the worker threads

    def _start_worker(self) -> None:
        try:
            # Not threading.Thread: if a signal handler raises within its start(), the thread dies
            # with a traceback on stderr. Such a thread never delays the exit.
            _thread.start_new_thread(self._work, ())
        except RuntimeError as error:
            raise RunEndingError(f"{error}; lower max_concurrency") from None

    def _work(self) -> None:
        while self._fetch_next():
            pass
        self._submitted.put(None)  # ends the next one

    def _fetch_next(self) -> bool:
        """Fetch one resource; a function, so that an idle worker holds no body."""
        submitted = self._submitted.get()
        if submitted is None or self._is_closed:
            return False
        pending, ticket = submitted
        result: bytes | ApiError
        try:
            result = self._fetch_with_retries(pending, ticket)
        except ApiError as error:
            result = error
        except Exception as bug:  # fails the request that met it, and no other
            logger.debug("an exception in GET %s", pending.path, exc_info=True)
            result = ApiError(unexpected(bug))
        self._done.put((pending, ticket, result))
        return True

    def _fetch(self, pending: Pending, ticket: object) -> bytes:
        """Send a request once."""
        if pending.ticket is not ticket:
            raise ApiError("given up")
        started = self._throttle.begin(ticket)
        error: ApiError | None = None
        pending.attempts += 1
        pending.started = started
        try:
            body = hal.require_json(self._transport.get(pending.url))
        except UnreadableBodyError as problem:
            error = TransientError(str(problem), status=problem.status)
        except ApiError as problem:
            error = problem
        finally:
            self._throttle.end(ticket, started, error)
        if pending.ticket is not ticket:
            raise ApiError("given up")
        pending.started = 0.0
        if error is None or error.status is not None:
            self._has_responded, self._silent_failures = True, 0
        if error is None:
            self._accepted_at = max(self._accepted_at, started)
            return body
        if isinstance(error, TransientError):
            error.attempts = pending.attempts
        if error.status == HTTPStatus.UNAUTHORIZED:
            raise self._judged_refusal(error, pending, started)
        if error.status is None:
            self._judge_silence(error, pending)
        raise error

    def _judged_refusal(self, error: ApiError, pending: Pending, started: float) -> ApiError:
        """Return what a 401 means: it says nothing of the token unless all is refused."""
        if pending.path == _PROBE:
            return RunEndingError(
                f"the API rejects this api_token ({error}): it was mistyped or revoked; ask "
                "whoever runs the server for a new one (compose-sandbox prints its own)",
                status=error.status,
            )
        with self._probing:  # one probe for all refusals of that time
            if self._accepted_at > started:
                return error
            if self._probed_at <= started:
                self._probe_error = self._probe()
                self._probed_at = monotonic()
            problem = self._probe_error
        if problem is None or isinstance(problem, DeniedError):
            return error
        message = f"{error}; could not check whether the token works: {problem}"
        return RejectedError(message, status=error.status)

    def _judge_silence(self, error: ApiError, pending: Pending) -> None:
        """End the run if nothing responds."""
        if pending.path == _PROBE and self._has_responded:
            return
        if not self._has_responded:
            if pending.attempts >= min(_FIRST_ATTEMPTS, self._max_retries + 1):
                raise self._unreachable(str(error)) from error
        elif pending.attempts > self._max_retries:
            self._silent_failures += 1
            if self._silent_failures >= _SILENT_FAILURES:
                problem = self._probe()
                if problem is not None and problem.status is None:
                    raise self._unreachable(str(error)) from error

    def _probe(self) -> ApiError | None:
        """Request what every live token may read; return what is wrong with the response."""
        try:
            pending = Pending(self._base_url + _PROBE, _PROBE)
            self._fetch_with_retries(pending, pending.ticket)
        except RunEndingError:
            raise
        except ApiError as error:
            return error
        return None

    def _unreachable(self, problem: str) -> RunEndingError:
        address = urlsplit(self._base_url).netloc
        advice = "check api_url and the network"
        if address == PUBLIC_API:
            advice = (
                "Compose's public API was shut down in 2023; set api_url to another server, "
                "such as that of compose-sandbox"
            )
        return RunEndingError(f"{problem}; nothing responds at {address}: {advice}")

    def _is_final(self, error: Any) -> bool:  # a TransientError
        return self._is_closed or error.attempts > self._max_retries

    def _wait_before_retry(self, error: TransientError) -> float:
        if error.retry_after is not None:
            return error.retry_after
        return backoff.full_jitter(min(2.0 ** (error.attempts - 1), self._longest_backoff))

    def _log_retry(self, details: Mapping[str, Any]) -> None:
        error, (pending, _) = details["exception"], details["args"]
        logger.info(
            "GET %s: %s; retry %d of %d in %.1f s",
            pending.path,
            error,
            error.attempts,
            self._max_retries,
            details["wait"],
        )


class _Results(Generic[T]):
    """Requests that were sent and whose results were not taken yet, the oldest first.

    Attributes:
        requests: How many requests were sent for the results taken so far, retries included.
        retries: How many of them were retries.
    """

    def __init__(self, client: Client) -> None:
        self.requests = self.retries = 0
        self._client = client
        self._outstanding: list[tuple[Request[T], Pending]] = []

    def __len__(self) -> int:
        """Count the requests whose results were not taken yet."""
        return len(self._outstanding)

    def _send(self, request: Request[T]) -> None:
        self._outstanding.append((request, self._client.submit(request)))

    def _take(self, place: int) -> tuple[Request[T], T | ApiError] | None:
        """Read a request that is done; None if it is sent again."""
        request, pending = self._outstanding[place]
        result = self._client.read(request, pending)
        if result is None:
            return None
        del self._outstanding[place]
        self.requests += pending.attempts
        self.retries += max(pending.attempts - 1, 0)
        pending.attempts = 0
        self._client.release(pending)
        return request, result

    def close(self) -> None:
        """Forget what is outstanding."""
        while self._outstanding:
            self._client.release(self._outstanding.pop()[1])


class Responses(_Results[T], Iterator[tuple[Request[T], "T | ApiError"]]):
    """The results of many requests, each with its request, in the order of the requests.

    Args:
        client: Sends them.
        requests: The requests.
    """

    def __init__(self, client: Client, requests: Iterable[Request[T]]) -> None:
        super().__init__(client)
        self._requests = iter(requests)
        self._following: Callable[[], Responses[Any]] | None = None

    def prefetch_next(self, following: Callable[[], Responses[Any]]) -> None:
        """Name the responses that will be wanted after these.

        Args:
            following: Returns them. Their first requests are sent while the last of these are
                being taken.
        """
        self._following = following

    def fetch_ahead(self, before: int = 0) -> None:
        """Send further requests while there is room, without waiting for any.

        Args:
            before: How many results will be taken before these.
        """
        while self._client.has_room(before + len(self)):
            request = next(self._requests, None)
            if request is None:
                if self._following is not None:
                    self._following().fetch_ahead(before + len(self))
                return
            self._send(request)

    @override
    def __next__(self) -> tuple[Request[T], T | ApiError]:
        """Wait for the next result.

        Returns:
            A request, and its result or why there is none.

        Raises:
            RunEndingError: If no further request makes sense.
        """
        result = None
        while result is None:
            self.fetch_ahead()
            if not self._outstanding:
                raise StopIteration
            self._client.wait([self._outstanding[0][1]])
            result = self._take(0)
        return result


class CompletedRequests(_Results[T]):
    """The results of requests in the order in which they arrive."""

    @property
    def has_room(self) -> bool:
        """Whether a further request would be sent at once."""
        return len(self) < self._client.max_concurrency and self._client.has_room(len(self))

    @property
    def is_ready(self) -> bool:
        """Whether a response is there, so that ``take`` does not wait if its body is readable."""
        self._client.take_done()
        return any(pending.result is not None for _, pending in self._outstanding)

    def add(self, request: Request[T]) -> None:
        """Send a request.

        Args:
            request: The request.
        """
        self._send(request)

    def take(self) -> tuple[Request[T], T | ApiError]:
        """Wait for a result; of several that are there take that of the oldest request.

        Returns:
            A request, and its result or why there is none.

        Raises:
            IndexError: If no request is outstanding.
            RunEndingError: If no further request makes sense.
        """
        if not self._outstanding:
            raise IndexError("no request is outstanding")
        result = None
        while result is None:
            pending = [each for _, each in self._outstanding]
            self._client.wait(pending)
            done = (place for place, each in enumerate(pending) if each.result is not None)
            result = self._take(next(done, 0))
        return result
