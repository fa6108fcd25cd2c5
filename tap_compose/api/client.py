"""Get resources of the Compose API: one, many in order, or many as they complete.

Worker threads only fetch and retry. Requests are submitted, and bodies read, in the one thread
that takes the results, so whoever uses the client needs no lock.
"""

from __future__ import annotations

import _thread
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlencode

import backoff
from typing_extensions import override

from tap_compose.api import hal
from tap_compose.api.errors import (
    ApiError,
    DeniedError,
    RejectedError,
    RunEndingError,
    TransientError,
    unexpected,
)
from tap_compose.api.pace import Attempt, Throttle

if TYPE_CHECKING:
    from tap_compose.api.transport import Transport

T = TypeVar("T")

logger = logging.getLogger("tap-compose.api")

PUBLIC_API = "api.compose.io"
"""The host of Compose's public API, which was shut down in 2023."""

_SHUT_DOWN = (
    "Compose's public API was shut down in 2023; set api_url to another server, such as that of "
    "compose-sandbox"
)
"""The advice to a run without any response from it."""

MOST_BYTES = 64 << 20
"""Bytes of all bodies that are in flight or unread, so that a run fits into a small container."""

_FIRST_SIZE = 3 << 20
"""Bytes of a body before others are known: the recipes of a deployment that is some years old."""

LONGEST_BACKOFF = 60.0
"""Seconds before a retry at most, unless ``Retry-After`` asks for more."""

_WRONG_SHAPES = 2
"""Retries because of a body of the wrong shape: waiting rarely changes one."""

_GRACE = 5.0
"""Seconds after its time-out until a request that is still on its way is given up."""

_TICK = 1.0
"""Seconds between looks at the clock while nothing arrives."""

_LONGEST_SILENCE = 68.0
"""Seconds until the first response of a run: a minute for a slow one, and less than 75 in all."""

_FIRST_ATTEMPTS = 3
"""Attempts of a request while nothing has ever responded."""

_MOST_UNANSWERED = 8
"""Requests in a row that fail without any response before the API is probed."""

_PROBE = "/accounts"
"""The one resource that every live token may read."""

_NO_ATTEMPT = Attempt(0.0)
"""Stands for an attempt that was never made, or was given up."""


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
        target: Its path and query.
        path: Its path, as logs name it.
        readers: How many have not read its result yet.
        result: The body, or why there is none; None until it is known.
        attempts: How often it was sent; 0 once somebody has counted them.
        wrong_shapes: How many of these brought a body of the wrong shape.
        attempt: The latest of these.
        kept_bytes: The size of its body while that is kept for a reader.
    """

    target: str
    path: str
    readers: int = 1
    result: bytes | ApiError | None = None
    attempts: int = 0
    wrong_shapes: int = 0
    attempt: Attempt = _NO_ATTEMPT
    kept_bytes: int = 0


class Client:
    """Gets resources for a run.

    Args:
        transport: Sends one request.
        max_retries: Further attempts of a request after the first.

    Attributes:
        max_concurrency: Most requests in flight at once.
    """

    def __init__(self, transport: Transport, max_retries: int) -> None:
        self.max_concurrency = transport.max_concurrency
        self._transport, self._max_retries = transport, max_retries
        self._throttle = Throttle(self.max_concurrency)
        self._submitted: SimpleQueue[Pending | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[Pending, bytes | ApiError]] = SimpleQueue()
        self._wanted: dict[Pending, None] = {}  # not done yet, the oldest first
        self._shared: dict[str, Pending] = {}
        self._kept_bytes, self._expected_size = 0, _FIRST_SIZE
        self._probe: Pending | None = None
        self._refused: dict[Pending, ApiError] = {}  # with 401, until the probe is done
        self._accepted_at, self._began = 0.0, monotonic()
        self._has_responded, self._unanswered = False, 0
        self._is_closed = False
        self._fetch_with_retries = backoff.on_exception(
            backoff.expo,
            TransientError,
            max_tries=max_retries + 1,
            max_value=LONGEST_BACKOFF,
            on_backoff=self._log_retry,
            logger=None,
        )(self._fetch)
        for _ in range(self.max_concurrency):
            self._start_worker()

    # -- for the thread that takes the results

    @property
    def requests_sent(self) -> int:
        """How many requests were sent so far."""
        return self._throttle.sent

    @property
    def waiting_for(self) -> str:
        """The oldest request that is not done, in words; empty if there is none."""
        return next((f"GET {each.path}" for each in list(self._wanted)), "")

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
        return CompletedRequests(self, [])

    def close(self) -> None:
        """Send no further request; those in flight are not waited for."""
        self._is_closed = True
        self._submitted.put(None)
        self._transport.close()

    def has_room(self, outstanding: int) -> bool:
        """Return whether a further request may be sent; the only one always may."""
        if not outstanding:
            return True
        expected = self._kept_bytes + (len(self._wanted) + 1) * self._expected_size
        return outstanding < 2 * self.max_concurrency and expected <= MOST_BYTES

    def submit(self, request: Request[Any]) -> Pending:
        """Send a request, unless its body is there or on its way for another reader."""
        target = request.path + (f"?{urlencode(request.params)}" if request.params else "")
        if (pending := self._shared.get(target)) is None:
            pending = Pending(target, request.path, request.readers)
            if request.readers > 1:
                self._shared[target] = pending
            self._send(pending)
        return pending

    def _send(self, pending: Pending) -> None:
        pending.result = None
        self._wanted[pending] = None
        self._submitted.put(pending)

    def wait(self, pending: Sequence[Pending]) -> int:
        """Wait until one of several requests is done; return the place of the first that is."""
        while True:
            self.take_done()
            for place, each in enumerate(pending):
                if each.result is not None:
                    return place
            if self._is_closed:
                raise RunEndingError("the client is closed")
            try:
                self._note_done(*self._done.get(timeout=_TICK))
            except Empty:
                self._give_up_overdue()

    def take_done(self) -> None:
        """Note which requests are done by now."""
        while not self._done.empty():
            self._note_done(*self._done.get())

    def _note_done(self, pending: Pending, result: bytes | ApiError) -> None:
        if pending not in self._wanted:
            return
        del self._wanted[pending]
        if isinstance(result, RunEndingError):
            raise result
        if pending is self._probe:
            self._note_probe(result)
        elif isinstance(result, bytes):
            size, expected = len(result), self._expected_size
            self._expected_size = max(size, expected - (expected - size) // 8)
            self._kept_bytes += size - pending.kept_bytes
            pending.result, pending.kept_bytes = result, size
        elif (
            result.status == HTTPStatus.UNAUTHORIZED
            and self._accepted_at <= pending.attempt.started
        ):
            self._refused[pending] = result
        else:
            pending.result = result
            self._unanswered = self._unanswered + 1 if _is_unanswered(result) else 0
        if self._probe is None and (self._refused or self._unanswered >= _MOST_UNANSWERED):
            self._probe = Pending(_PROBE, _PROBE)
            self._send(self._probe)

    def _note_probe(self, result: bytes | ApiError) -> None:
        """Give the refused requests their results, or end the run."""
        self._probe, self._unanswered = None, 0
        if _is_unanswered(result):
            raise self._unreachable(str(result))
        for pending, error in self._refused.items():
            pending.result = error
            if not isinstance(result, (bytes, DeniedError)):
                message = f"{error}; could not check whether the token works: {result}"
                pending.result = RejectedError(message, status=error.status)
        self._refused.clear()

    def _give_up_overdue(self) -> None:
        """Give up attempts that outlive their time, such as a look-up of the host.

        Such an attempt counts like any other. Its thread is lost until it ends.
        """
        now = monotonic()
        if not self._has_responded and now > self._began + _LONGEST_SILENCE:
            raise self._unreachable(f"no response in {_LONGEST_SILENCE:g} s")
        for attempt, pending in self._throttle.in_flight.copy().items():
            seconds = now - attempt.started
            if seconds < self._transport.timeout + _GRACE:
                continue
            error = TransientError(f"no complete response in {seconds:.0f} s; given up")
            self._throttle.end(attempt, error)
            self._start_worker()
            pending.attempt = _NO_ATTEMPT
            if pending.attempts > self._max_retries:
                self._note_done(pending, error)
            else:
                logger.info("GET %s: %s; sent again", pending.path, error)
                self._submitted.put(pending)

    def read(self, request: Request[T], pending: Pending) -> T | ApiError | None:
        """Return what the request makes of its result; None if it is sent again."""
        if not isinstance(pending.result, bytes):
            return pending.result
        try:
            return request.read(pending.result)
        except TransientError as error:
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

    def release(self, pending: Pending) -> None:
        """Forget a request for one of its readers."""
        pending.readers -= 1
        if not pending.readers:
            self._wanted.pop(pending, None)
        if not pending.readers or self._kept_bytes > MOST_BYTES // 2:  # others fetch it again
            self._kept_bytes -= pending.kept_bytes
            pending.kept_bytes = 0
            self._shared.pop(pending.target, None)

    # -- in the worker threads

    def _start_worker(self) -> None:
        # Not threading.Thread: if a signal handler raises within its start(), the thread dies with
        # a traceback on stderr. Such a thread never delays the exit.
        _thread.start_new_thread(self._work, ())

    def _work(self) -> None:
        while (pending := self._submitted.get()) is not None:
            result: bytes | ApiError | None
            try:
                result = self._fetch_with_retries(pending)
            except ApiError as error:
                result = error
            except Exception as bug:  # fails the request that met it, and no other
                logger.debug("an exception in GET %s", pending.path, exc_info=True)
                result = ApiError(unexpected(bug))
            if result is not None:
                self._done.put((pending, result))
            del pending, result  # so that an idle worker holds no body
        self._submitted.put(None)  # ends the next one

    def _fetch(self, pending: Pending) -> bytes | None:
        """Send a request once; return None if nobody waits for it any more."""
        if pending not in self._wanted or self._is_closed:
            return None
        attempt = pending.attempt = self._throttle.begin(pending)
        pending.attempts += 1
        error: ApiError | None = None
        try:
            body = hal.require_json(self._transport.get(pending.target))
        except ApiError as problem:
            error = problem
        finally:
            self._throttle.end(attempt, error)
        if pending.attempt is not attempt:  # it was given up
            return None
        if error is None or error.status is not None:
            self._has_responded = True
        if error is None:
            self._accepted_at = max(self._accepted_at, attempt.started)
            return body
        if pending.path == _PROBE and error.status == HTTPStatus.UNAUTHORIZED:
            raise RunEndingError(
                f"the API rejects this api_token ({error}): it was mistyped or revoked; ask "
                "whoever runs the server for a new one (compose-sandbox prints its own)",
                status=error.status,
            )
        most = min(_FIRST_ATTEMPTS, self._max_retries + 1)
        if not self._has_responded and pending.attempts >= most:
            raise self._unreachable(str(error))
        raise error

    def _unreachable(self, problem: str) -> RunEndingError:
        address = self._transport.address
        advice = _SHUT_DOWN if PUBLIC_API in address else "check api_url and the network"
        return RunEndingError(f"{problem}; nothing responds at {address}: {advice}")

    def _log_retry(self, details: Mapping[str, Any]) -> None:
        (pending,), error = details["args"], details["exception"]
        number = f"{details['tries']} of {self._max_retries}"
        wait = max(details["wait"], self._throttle.paused_until - monotonic())
        logger.info("GET %s: %s; retry %s in %.1f s", pending.path, error, number, wait)


def _is_unanswered(result: bytes | ApiError) -> bool:
    return isinstance(result, TransientError) and result.status is None


class Responses(Iterator[tuple[Request[T], "T | ApiError"]]):
    """The results of many requests, each with its request, in the order of the requests.

    Args:
        client: Sends them.
        requests: The requests.

    Attributes:
        requests: How many requests were sent for the results taken so far, retries included.
        retries: How many of them were retries.
    """

    def __init__(self, client: Client, requests: Iterable[Request[T]]) -> None:
        self.requests = self.retries = 0
        self._client, self._unsent = client, iter(requests)
        self._sent: list[tuple[Request[T], Pending]] = []  # the oldest first

    def add(self, request: Request[T]) -> None:
        """Send a request at once.

        Args:
            request: The request.
        """
        self._sent.append((request, self._client.submit(request)))

    @override
    def __next__(self) -> tuple[Request[T], T | ApiError]:
        """Wait for the next result.

        Returns:
            A request, and its result or why there is none.

        Raises:
            RunEndingError: If no further request makes sense.
        """
        while self._client.has_room(len(self._sent)) and (request := next(self._unsent, None)):
            self.add(request)
        if not self._sent:
            raise StopIteration
        return self._take(1)

    def _take(self, most: int) -> tuple[Request[T], T | ApiError]:
        """Wait for a result of the oldest requests."""
        result = None
        while result is None:  # or it was sent again
            place = self._client.wait([pending for _, pending in self._sent[:most]])
            request, pending = self._sent[place]
            result = self._client.read(request, pending)
        del self._sent[place]
        self.requests += pending.attempts
        self.retries += max(pending.attempts - 1, 0)
        pending.attempts = 0
        self._client.release(pending)
        return request, result

    def close(self) -> None:
        """Forget what was sent."""
        while self._sent:
            self._client.release(self._sent.pop()[1])


class CompletedRequests(Responses[T]):
    """The results of requests in the order in which they arrive."""

    @property
    def has_room(self) -> bool:
        """Whether a further request would be sent at once."""
        sent = len(self._sent)
        return sent < self._client.max_concurrency and self._client.has_room(sent)

    @property
    def is_ready(self) -> bool:
        """Whether a response is there, so that ``take`` does not wait if its body is readable."""
        self._client.take_done()
        return any(pending.result is not None for _, pending in self._sent)

    def take(self) -> tuple[Request[T], T | ApiError]:
        """Wait for a result; of several that are there take that of the oldest request.

        Returns:
            A request, and its result or why there is none.

        Raises:
            RunEndingError: If no further request makes sense.
        """
        return self._take(len(self._sent))
