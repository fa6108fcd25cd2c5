"""Get resources of the Compose API: one, many in order, or many as they complete.

Worker threads only fetch. Bodies are read, and everything else happens, in the thread that takes
the results, so whoever uses the client needs no lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from typing_extensions import override

from tap_compose.api.budget import BodySizes
from tap_compose.api.errors import (
    ApiError,
    RejectedError,
    TransientError,
    UnreachableError,
    error_of,
)
from tap_compose.api.fetcher import Fetch, Fetcher, Request
from tap_compose.api.liveness import Liveness
from tap_compose.api.pacing import RetryPolicy
from tap_compose.api.scheduler import RequestScheduler, Tuning
from tap_compose.api.transport import (
    SetupError,
    TooLargeError,
    Transport,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Client", "CompletedRequests", "Request", "Responses"]

T = TypeVar("T")


class Client:
    """Gets resources for a run.

    Args:
        transport: Sends one request.
        base_url: Base URL without a slash at its end.
        token_for_masking: The bearer token, to keep it out of messages.
        timeout: Seconds for one request in total.
        max_retries: Further tries of a request after the first.
        max_concurrency: Most requests in flight at once.
        tuning: What no user sets.

    Attributes:
        max_concurrency: Most requests in flight at once.
    """

    def __init__(
        self,
        transport: Transport,
        base_url: str,
        *,
        token_for_masking: str,
        timeout: float = 60,
        max_retries: int = 8,
        max_concurrency: int = 8,
        tuning: Tuning | None = None,
    ) -> None:
        self.max_concurrency = max_concurrency
        self._transport = transport
        self._token = token_for_masking
        self._timeout = timeout
        tuning = tuning or Tuning()
        self._scheduler = RequestScheduler(
            self._get, max_concurrency=max_concurrency, max_retries=max_retries, tuning=tuning
        )
        retries = RetryPolicy(max_retries, tuning.longest_backoff)
        self._liveness = Liveness(base_url, self._get, retries, tuning)
        self._fetcher = Fetcher(base_url, transport, self._scheduler, self._liveness)

    @property
    def requests_sent(self) -> int:
        """How many requests were sent so far, not counting probes of the token."""
        return self._scheduler.requests_sent

    @property
    def waiting_for(self) -> str:
        """What the next result is waiting for, in words; empty if nothing is to be sent."""
        return self._scheduler.waiting_for

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
        return Responses(self._fetcher, requests, ahead=2 * self.max_concurrency)

    def as_completed(self) -> CompletedRequests[T]:
        """Return what takes requests and hands out their results as they arrive."""
        return CompletedRequests(self._fetcher, room=self.max_concurrency)

    def close(self) -> None:
        """Send no further request, now or later; those in flight are not waited for."""
        self._scheduler.close()
        self._transport.close()

    def _get(self, url: str) -> bytes | ApiError:
        """Send a request once; called by the worker threads."""
        started = monotonic()
        first_contact = self._liveness.first_contact
        try:
            response = self._transport.get(
                url, first_contact.timeout(self._timeout), self._scheduler.receive
            )
        except SetupError as problem:
            return UnreachableError(str(problem))
        except TooLargeError as problem:
            self._liveness.note_response()
            return RejectedError(str(problem), status=200)
        except TransportError as problem:
            if problem.has_response:
                self._liveness.note_response()
            return first_contact.judge(str(problem), started)
        except MemoryError:
            return TransientError("not enough memory for the response")
        self._liveness.note_response()
        error = error_of(response.status, response.headers, response.body, self._token)
        if error is not None:
            return error
        self._liveness.note_accepted(started)
        return response.body


class _Results(Generic[T]):
    """Requests that were sent and whose results were not taken yet.

    Attributes:
        requests: How many requests were sent for the results taken so far, retries included.
        retries: How many of them were retries.
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self.requests = 0
        self.retries = 0
        self._fetcher = fetcher
        self._sizes = BodySizes()
        self._outstanding: list[tuple[Request[T], Fetch]] = []

    def _send(self, request: Request[T]) -> None:
        self._outstanding.append((request, self._fetcher.send(request, self._sizes)))

    def _read(self, place: int) -> tuple[Request[T], T | ApiError] | None:
        """Read a request that is done; None if it had to be sent again."""
        request, fetch = self._outstanding[place]
        result = self._fetcher.read(request, fetch)
        if result is not None:
            del self._outstanding[place]
            self.requests += fetch.tries - fetch.tries_counted
            self.retries += fetch.tries - max(fetch.tries_counted, 1)
            fetch.tries_counted = fetch.tries
        return result

    def close(self) -> None:
        """Cancel what is outstanding."""
        for _, fetch in self._outstanding:
            self._fetcher.cancel(fetch)
        self._outstanding.clear()


class Responses(_Results[T], Iterator[tuple[Request[T], "T | ApiError"]]):
    """The results of many requests, each with its request, in the order of the requests.

    Args:
        fetcher: Fetches.
        requests: The requests.
        ahead: How many may be in flight or waiting to be taken.
    """

    def __init__(self, fetcher: Fetcher, requests: Iterable[Request[T]], *, ahead: int) -> None:
        super().__init__(fetcher)
        self._requests = iter(requests)
        self._ahead = ahead
        self._next: Callable[[], Responses[Any]] | None = None

    def prefetch_next(self, following: Callable[[], Responses[Any]]) -> None:
        """Name the responses that will be wanted after these.

        Args:
            following: Returns them. Their first requests are sent while the last of these are
                being taken.
        """
        self._next = following

    def fetch_ahead(self, room: int) -> None:
        """Send further requests, without waiting for any.

        Args:
            room: How many may be in flight or waiting to be taken.
        """
        while len(self._outstanding) < room:
            request = next(self._requests, None)
            if request is None:
                break
            self._send(request)
        if self._next is not None and len(self._outstanding) < room:
            self._next().fetch_ahead(room - len(self._outstanding))

    @override
    def __next__(self) -> tuple[Request[T], T | ApiError]:
        """Wait for the next result.

        Returns:
            A request, and its result or why there is none.

        Raises:
            RunEndingError: If no further request makes sense.
        """
        while True:
            self.fetch_ahead(self._ahead)
            if not self._outstanding:
                raise StopIteration
            self._fetcher.wait([self._outstanding[0][1]])
            result = self._read(0)
            if result is not None:
                return result


class CompletedRequests(_Results[T]):
    """The results of requests in the order in which they arrive.

    Args:
        fetcher: Fetches.
        room: How many requests should be outstanding at most.
    """

    def __init__(self, fetcher: Fetcher, *, room: int) -> None:
        super().__init__(fetcher)
        self._room = room

    def __len__(self) -> int:
        """Count the requests whose results were not taken yet."""
        return len(self._outstanding)

    @property
    def has_room(self) -> bool:
        """Whether a further request would be sent at once."""
        return len(self) < self._room

    @property
    def is_ready(self) -> bool:
        """Whether a response is there, so that ``take`` does not wait if its body is readable."""
        return any(fetch.is_done for _, fetch in self._outstanding)

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
        while self._outstanding:
            fetches = [fetch for _, fetch in self._outstanding]
            self._fetcher.wait(fetches)
            result = self._read(next(n for n, fetch in enumerate(fetches) if fetch.is_done))
            if result is not None:
                return result
        raise IndexError("no request is outstanding")
