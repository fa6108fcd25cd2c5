"""The client: hands out the answers to many calls in the order in which they were asked for.

Worker threads only fetch. Bodies are read, and everything else happens, in the thread that
takes the answers, so whoever uses the client needs no lock. The number of requests in flight
adapts: it grows by one per round of answers up to ``max_concurrency`` and is halved on 429,
5xx and time-outs; a ``Retry-After`` pauses every worker.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections import deque
from copy import copy
from dataclasses import dataclass, field
from queue import SimpleQueue
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from urllib.parse import urlencode, urlsplit

import backoff
import requests
import requests.adapters
import requests.auth
import urllib3.exceptions
from typing_extensions import Self, override

from tap_compose.api.errors import (
    ApiError,
    DeniedError,
    RejectedError,
    TokenRejectedError,
    TransientError,
    UnauthorizedError,
    UnreachableError,
    UnreadableBodyError,
    error_of,
    masked,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

T = TypeVar("T")

LONGEST_BACKOFF = 60.0
"""Seconds that a retry waits at most, unless the API asks for more by ``Retry-After``."""

_MOST_SILENCES = 8
"""Calls in a row that may fail without any answer before the API is asked whether it is there."""

_CHUNK = 1 << 18
_LONGEST_ERROR_BODY = 1 << 16

logger = logging.getLogger("tap-compose.client")


@dataclass(frozen=True)
class Call(Generic[T]):
    """A GET request and how its body is read.

    Attributes:
        path: Path below the base URL, values percent-encoded (``hal.url_path``).
        read: Makes the result from the body; raises ``UnreadableBodyError`` if the body is not
            what the endpoint promises, and the call is tried again.
        params: Query parameters, unescaped.
        follow: The call for the page after a result, or None after the last one.
        shared: Whether later calls of the same path take this call's body.
        about: Whatever the caller wants to find beside the outcome.
    """

    path: str
    read: Callable[[bytes], T]
    params: Mapping[str, str] = field(default_factory=dict)
    follow: Callable[[T], Call[T] | None] | None = None
    shared: bool = False
    about: Any = None


class BearerAuth(requests.auth.AuthBase):
    """Sends the token as contract section 1 says.

    An ``auth=`` callable, because requests lets a .netrc entry replace a plain header.

    Args:
        token: The bearer token.
    """

    def __init__(self, token: str) -> None:
        self._token = token

    @override
    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        r.headers["Authorization"] = f"Bearer {self._token}"
        return r


class Client:
    """One session for a whole run.

    Attributes:
        max_concurrency: Most requests in flight at once.

    Args:
        url: Base URL without a slash at its end.
        token: The bearer token.
        user_agent: What the ``User-Agent`` header says.
        timeout: Seconds for one request, from the first byte sent to the last one received.
        max_retries: Further tries of a request after the first.
        max_concurrency: Most requests in flight at once.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        user_agent: str,
        timeout: float = 60,
        max_retries: int = 8,
        max_concurrency: int = 8,
    ) -> None:
        self.max_concurrency = max_concurrency
        self._url = url
        self._token = token
        self._timeout = timeout
        self._max_retries = max_retries
        self._address = urlsplit(url).netloc
        self._answered = False
        self._silences = 0
        self._probe_ended = 0.0
        self._probe_error: ApiError | None = None
        self._shared: dict[str, _Task] = {}

        session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=max_concurrency + 1)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        request = requests.Request("GET", url, auth=BearerAuth(token))
        request.headers = {"User-Agent": user_agent, "Accept": "application/json"}
        self._request = session.prepare_request(request)
        # Proxies and certificates of the environment, looked up once: a session that does it
        # for every request spends half a millisecond on it.
        transport = session.merge_environment_settings(url, {}, True, None, None)  # noqa: FBT003
        self._transport: dict[str, Any] = {**transport, "stream": True}
        self._adapter = session.get_adapter(url)

        self._pool = _Pool(self._attempt, max_concurrency)

    @property
    def requests_sent(self) -> int:
        """How many requests were sent so far, but for the probes of the token."""
        return self._pool.sent

    @property
    def waits_for(self) -> str:
        """What the next answer is waiting for, in words; empty if there is nothing to wait for."""
        return self._pool.waits_for()

    def get(self, call: Call[T]) -> T:
        """Get one answer.

        Args:
            call: The call.

        Returns:
            What ``call.read`` made of the body.

        Raises:
            ApiError: If there was no usable answer.
        """
        answers: Answers[T | ApiError] = self.get_many([call])
        result = next(answers)
        if isinstance(result, ApiError):
            raise result
        return result

    def get_many(self, calls: Iterable[Call[T]]) -> Answers[T | ApiError]:
        """Get the answers to many calls, each call for itself.

        Args:
            calls: The calls; taken from as there is room, never all at once.

        Returns:
            An iterator over one result or error for each call, in the order of the calls.
        """
        return Answers(self, calls, _lone, ahead=2 * self.max_concurrency, in_order=True)

    def walk_many(self, calls: Iterable[Call[T]]) -> Answers[tuple[Any, list[T] | ApiError]]:
        """Get the answers to many calls and to all calls that follow from them.

        Args:
            calls: The first call of each walk. An iterator that is exhausted is asked again
                after each walk, so what a walk finds may lead to further ones.

        Returns:
            An iterator over the walks as they end: what each first call is about, and its
            results page by page, or why it broke off.
        """
        return Answers(self, calls, _walked, ahead=self.max_concurrency, in_order=False)

    def close(self) -> None:
        """Start no further request, now or later; those in flight are not waited for."""
        self._pool.close()
        self._adapter.close()

    def _submit(self, walk: _Walk) -> None:
        call = walk.call
        task = self._shared.get(call.path) if call.shared else None
        if task is None:
            task = _Task(call)
            if call.shared:
                self._shared[call.path] = task
            task.walks.append(walk)  # before a worker sees it: it drops what nobody waits for
            walk.requests += 1
            self._pool.put(task)
            return
        task.walks.append(walk)
        if task.is_final:
            self._settle(task, walk)

    def _advance(self) -> None:
        """Wait for the next thing that comes back and work it off."""
        task = self._pool.take_done()
        if isinstance(task.outcome, TransientError) and task.tries <= self._max_retries:
            self._retry(task, task.outcome)
            return
        if isinstance(task.outcome, UnauthorizedError):
            task.outcome = self._judged(task, task.outcome)
        if isinstance(task.outcome, ApiError):
            self._may_go_on(task.outcome)
        task.is_final = True
        for walk in task.walks:
            self._settle(task, walk)

    def _settle(self, task: _Task, walk: _Walk) -> None:
        """Hand a final outcome to a walk; the body of a lone call is read when it is taken."""
        if isinstance(task.outcome, ApiError):
            walk.error, walk.done = task.outcome, True
        elif walk.cancelled:
            walk.done = True
        elif walk.call.follow is None:
            walk.body, walk.done = task, True
        else:
            self._read(task, walk)

    def _read(self, task: _Task, walk: _Walk) -> None:
        if isinstance(task.outcome, ApiError):  # a body that another walk could not read
            walk.error = task.outcome
            return
        try:
            result = walk.call.read(cast("bytes", task.outcome))
        except UnreadableBodyError as error:
            problem = TransientError(f"HTTP 200 with {error}", status=200)
            task.outcome = problem
            if task.tries <= self._max_retries:
                walk.done = False
                task.walks = [walk]
                self._retry(task, problem)
            else:
                walk.error, walk.done = problem, True
            return
        walk.results.append(result)
        following = walk.call.follow(result) if walk.call.follow else None
        if following is None:
            walk.done = True
        else:
            walk.call = following
            self._submit(walk)

    def _retry(self, task: _Task, problem: TransientError) -> None:
        if problem.retry_after is None:
            wait = backoff.full_jitter(next(task.waits))
        else:
            wait = problem.retry_after
        logger.info(
            "GET %s: %s; try %d of %d in %.1f s",
            task.call.path,
            problem,
            task.tries + 1,
            self._max_retries + 1,
            wait,
        )
        for walk in task.walks[:1]:
            walk.requests += 1
            walk.retries += 1
        task.is_final = False
        self._pool.put(task, wait)

    def _may_go_on(self, error: ApiError) -> None:
        """Raise the errors after which no further call makes sense."""
        if isinstance(error, (TokenRejectedError, UnreachableError)):
            raise error
        if error.status is not None:
            return
        self._silences += 1
        if not self._answered or (self._silences >= _MOST_SILENCES and self._is_silent()):
            raise UnreachableError(
                f"{error}; nothing answers at {self._address}: check api_url and the network"
            ) from error

    def _judged(self, task: _Task, refusal: UnauthorizedError) -> ApiError:
        """Tell a dead token from a resource that is not for this token (contract section 4)."""
        if task.call.path == "/accounts":
            return _dead(refusal)
        if task.started > self._probe_ended:
            self._probe_error = self._probe()
            self._probe_ended = monotonic()
        if isinstance(self._probe_error, UnauthorizedError):
            return _dead(refusal)
        if isinstance(self._probe_error, TransientError):
            return RejectedError(
                f"{refusal}; whether the token is alive could not be told: {self._probe_error}",
                status=refusal.status,
            )
        return DeniedError(str(refusal), status=refusal.status)

    def _is_silent(self) -> bool:
        problem = self._probe()
        return problem is not None and problem.status is None

    def _probe(self) -> ApiError | None:
        """Ask for the one resource that every live token may read."""
        task = _Task(Call("/accounts", bytes))
        outcome: bytes | ApiError = self._attempt(task)
        for wait in itertools.islice(task.waits, self._max_retries):
            if not isinstance(outcome, TransientError):
                break
            sleep(backoff.full_jitter(wait) if outcome.retry_after is None else outcome.retry_after)
            outcome = self._attempt(task)
        return outcome if isinstance(outcome, ApiError) else None

    def _attempt(self, task: _Task) -> bytes | ApiError:
        """Send a call's request once."""
        request = copy(self._request)  # the address alone differs
        query = f"?{urlencode(task.call.params)}" if task.call.params else ""
        request.url = f"{self._url}{task.call.path}{query}"
        try:
            response = self._adapter.send(request, timeout=self._timeout, **self._transport)
            self._answered, self._silences = True, 0
            with response:
                body = self._body(response)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            return self._broken(error)
        return error_of(response.status_code, response.headers, body, self._token) or body

    def _body(self, response: requests.Response) -> bytes:
        """Read a body whole: requests' own time-out starts anew with every byte."""
        deadline = monotonic() + self._timeout
        limit = None if response.status_code == requests.codes.ok else _LONGEST_ERROR_BODY
        chunks: list[bytes] = []
        size = 0
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            chunks.append(chunk)
            size += len(chunk)
            if limit is not None and size > limit:
                break
            if monotonic() > deadline:
                raise requests.Timeout
        return b"".join(chunks)

    def _broken(self, error: Exception) -> ApiError:
        if isinstance(error, requests.exceptions.SSLError):
            why = masked(str(error), self._token)
            return UnreachableError(f"no secure connection to {self._address}: {why}")
        if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)):
            return TransientError(f"no whole answer from {self._address} in {self._timeout:g} s")
        if isinstance(error, requests.exceptions.ConnectionError) and isinstance(
            _cause(error),
            (urllib3.exceptions.NewConnectionError, urllib3.exceptions.NameResolutionError),
        ):
            return TransientError(f"no connection to {self._address}")
        return TransientError(f"the connection to {self._address} broke")


class Answers(Generic[T]):
    """The answers to many calls, in the order of the calls.

    Args:
        client: Who fetches.
        calls: The calls.
        finish: Makes what is handed out of a walk.
        ahead: How many walks may be under way or waiting to be taken.
        in_order: Whether they are handed out in the order of the calls, or as they end.
    """

    def __init__(
        self,
        client: Client,
        calls: Iterable[Call[Any]],
        finish: Callable[[_Walk], T],
        *,
        ahead: int,
        in_order: bool,
    ) -> None:
        self.requests = 0
        self.retries = 0
        self._client = client
        self._calls: Iterator[Call[Any]] | None = iter(calls)
        self._finish = finish
        self._ahead = ahead
        self._in_order = in_order
        self._walks: deque[_Walk] = deque()
        self._next: Callable[[], Answers[Any]] | None = None

    def then(self, following: Callable[[], Answers[Any]]) -> None:
        """Name the answers that will be wanted after these.

        Args:
            following: Gives them. Their first calls are under way while these ones' last
                answers are taken.
        """
        self._next = following

    def __iter__(self) -> Self:
        """Iterate over the answers."""
        return self

    def __next__(self) -> T:
        """Wait for the next answer.

        Returns:
            The result of a call, or why there is none.

        Raises:
            TokenRejectedError: If the API accepts the token nowhere.
            UnreachableError: If there is no API at this address.
        """
        while True:
            self._fill(self._ahead)
            if not self._walks:
                raise StopIteration
            walk = self._walks[0]
            if not self._in_order:
                walk = next((each for each in self._walks if each.done), walk)
            if not walk.done:
                self._client._advance()  # noqa: SLF001
            elif walk.body is not None:
                body, walk.body = walk.body, None
                self._client._read(body, walk)  # noqa: SLF001
            else:
                break
        self._walks.remove(walk)
        self.requests += walk.requests
        self.retries += walk.retries
        return self._finish(walk)

    def poll(self) -> None:
        """Work off what has come back meanwhile, and send what there is room for."""
        while self._client._pool.has_done():  # noqa: SLF001
            self._client._advance()  # noqa: SLF001
            self._fill(self._ahead)

    def close(self) -> None:
        """Ask for nothing more."""
        self._calls = None
        for walk in self._walks:
            walk.cancelled = True
        self._walks.clear()

    def _fill(self, room: int) -> None:
        while self._calls is not None and len(self._walks) < room:
            call = next(self._calls, None)
            if call is None:
                break
            walk = _Walk(call, about=call.about)
            self._walks.append(walk)
            self._client._submit(walk)  # noqa: SLF001
        if self._next is not None and len(self._walks) < room:
            self._next()._fill(room - len(self._walks))  # noqa: SLF001


@dataclass
class _Walk:
    """A call, the calls that followed from it so far, and what came of them."""

    call: Call[Any]
    about: Any
    results: list[Any] = field(default_factory=list)
    error: ApiError | None = None
    body: _Task | None = None
    done: bool = False
    cancelled: bool = False
    requests: int = 0
    retries: int = 0


class _Task:
    """A request to be sent, again if need be, for one walk or for several that share it.

    A worker leaves the outcome of its try; it is final when it was judged and needs no other.
    """

    def __init__(self, call: Call[Any]) -> None:
        self.call = call
        self.walks: list[_Walk] = []
        self.outcome: bytes | ApiError | None = None
        self.is_final = False
        self.bug: Exception | None = None
        self.tries = 0
        self.started = 0.0
        self.ended = 0.0
        self.waits = backoff.expo(max_value=LONGEST_BACKOFF)
        next(self.waits)  # the generator's first value is a greeting, not a wait


class _Pool:
    """Threads that send requests: at most ``limit`` at once, none before its time."""

    def __init__(self, attempt: Callable[[_Task], bytes | ApiError], size: int) -> None:
        self._attempt = attempt
        self._size = size
        self._limit = float(size)
        self._lowered = 0.0
        self._not_before = 0.0
        self.sent = 0
        self._threads = 0
        self._closed = False
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, _Task]] = []
        self._running: dict[_Task, None] = {}  # the oldest first
        self._changed = threading.Condition()
        self._done: SimpleQueue[_Task] = SimpleQueue()

    def put(self, task: _Task, wait: float = 0.0) -> None:
        """Queue a task, to be started no earlier than in ``wait`` seconds."""
        with self._changed:
            due = monotonic() + wait if wait else 0.0
            heapq.heappush(self._waiting, (due, next(self._order), task))
            if (
                self._threads < self._size
                and len(self._running) + len(self._waiting) > self._threads
            ):
                self._threads += 1
                threading.Thread(target=self._work, name="compose", daemon=True).start()
            self._changed.notify()

    def take_done(self) -> _Task:
        """Wait for a task that has its outcome; raises what its worker did not expect."""
        task = self._done.get()
        if task.bug is not None:
            raise task.bug
        return task

    def has_done(self) -> bool:
        """Tell whether ``take_done`` would not wait."""
        return not self._done.empty()

    def waits_for(self) -> str:
        """Tell what holds up the next outcome."""
        with self._changed:
            now = monotonic()
            if self._running:
                oldest = next(iter(self._running))
                more = len(self._running) - 1
                others = f" and {more} more" if more else ""
                return f"GET {oldest.call.path}{others}, for {now - oldest.started:.0f} s"
            if self._waiting and self._not_before > now:
                return (
                    f"the end of a pause that the API asked for, in {self._not_before - now:.0f} s"
                )
            if self._waiting:
                due, _, task = self._waiting[0]
                return f"GET {task.call.path} to be tried again, in {max(due - now, 0):.0f} s"
            return ""

    def close(self) -> None:
        """Start no further task."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        while (task := self._take()) is not None:
            task.tries += 1
            try:
                outcome = self._attempt(task)
            except Exception as bug:  # noqa: BLE001  # whoever waits for the task shall have it
                task.bug = bug
                self._done.put(task)
                return
            task.ended = monotonic()
            task.outcome = outcome
            self._adapt(task, outcome)
            self._done.put(task)

    def _take(self) -> _Task | None:
        with self._changed:
            while not self._closed:
                wait = None
                if self._waiting and len(self._running) < int(self._limit):
                    due, _, task = self._waiting[0]
                    wait = max(due, self._not_before) - monotonic()
                    if wait <= 0:
                        heapq.heappop(self._waiting)
                        if not task.call.shared and all(walk.cancelled for walk in task.walks):
                            continue
                        task.started = monotonic()
                        self._running[task] = None
                        self.sent += 1
                        return task
                self._changed.wait(wait)
        return None

    def _adapt(self, task: _Task, outcome: bytes | ApiError) -> None:
        with self._changed:
            del self._running[task]
            if not isinstance(outcome, TransientError):
                self._limit = min(self._size, self._limit + 1 / self._limit)
            elif task.started > self._lowered:  # a burst of failures counts as one
                self._limit = max(1.0, self._limit / 2)
                self._lowered = task.ended
            if isinstance(outcome, TransientError) and outcome.retry_after is not None:
                self._not_before = max(self._not_before, task.ended + outcome.retry_after)
            self._changed.notify()


def _lone(walk: _Walk) -> Any:
    return walk.error if walk.error is not None else walk.results[0]


def _walked(walk: _Walk) -> tuple[Any, Any]:
    return walk.about, walk.error if walk.error is not None else walk.results


def _dead(refusal: UnauthorizedError) -> TokenRejectedError:
    return TokenRejectedError(
        f"the API refuses this api_token ({refusal}): it was mistyped or revoked; make a new one "
        "in the Compose console under Account > API Tokens",
        status=refusal.status,
    )


def _cause(error: Exception) -> object:
    """The reason inside requests' and urllib3's wrappings of a connection error."""
    inner = error.args[0] if error.args else None
    return getattr(inner, "reason", inner)
