"""Send many requests: a limited number at once, and again those that may pass.

Worker threads send and retry; their caller waits for final outcomes. The number of requests in
flight adapts: it grows by one per round of responses up to ``max_concurrency``, and is halved
when one fails and may pass. If the API refuses many requests with HTTP 429, they are sent at the
rate that it bears. ``Retry-After`` pauses all of them.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from math import ceil, inf
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING

from tap_compose.api.budget import BodySizes, ByteBudget, NoRoomError
from tap_compose.api.errors import RunEndingError, TransientError
from tap_compose.api.pacing import AdaptiveLimit, Pace, RetryPolicy, is_refusal
from tap_compose.api.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from tap_compose.api.errors import ApiError

logger = logging.getLogger("tap-compose.api")


_FIRST = -1.0
"""When a request is due that goes before all others."""


@dataclass(frozen=True)
class Tuning:
    """What no user sets, and tests do.

    Attributes:
        longest_backoff: Seconds before a retry at most, unless ``Retry-After`` asks for more.
        silent_failures: Requests in a row that may fail without any response before the API is
            probed.
        first_timeout: Seconds for a request at most until the API has responded once.
        first_retries: How often they are sent again at most until then.
        longest_first_contact: Seconds until the first response, whatever the requests do.
    """

    longest_backoff: float = 60.0
    silent_failures: int = 8
    first_timeout: float = 20.0
    first_retries: int = 2
    longest_first_contact: float = 68.0


class RequestState(Enum):
    """The life of a request."""

    WAITING = auto()
    """For its time, or for a free slot."""

    IN_FLIGHT = auto()
    """A worker sends it, and again if need be."""

    DONE = auto()
    """Its outcome is there."""

    CANCELLED = auto()
    """Nobody wants the outcome; there will be none."""


@dataclass(eq=False)
class PendingRequest:
    """A request on its way to its outcome.

    Attributes:
        url: The complete URL.
        path: Its path, as logs name it.
        sizes: Estimates the size of its body; shared by requests whose bodies are alike.
        state: Where it is in its life.
        outcome: The body, or why there is none; only once it is done.
        tries: How often it was sent.
        refusals: How often the API refused it for the rate, which is no fault of the request.
        started: When it was last sent, by the monotonic clock.
        ended: When that came to an end.
    """

    url: str
    path: str
    sizes: BodySizes = field(default_factory=BodySizes)
    state: RequestState = RequestState.WAITING
    outcome: bytes | ApiError | None = None
    tries: int = 0
    refusals: int = 0
    started: float = 0.0
    ended: float = 0.0

    @property
    def is_done(self) -> bool:
        """Whether the outcome is there."""
        return self.state is RequestState.DONE

    @property
    def tries_that_count(self) -> int:
        """How often it was sent and not refused for the rate."""
        return self.tries - self.refusals


class _Queue:
    """Requests that wait, those whose time comes first in front."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, PendingRequest]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, due: float, pending: PendingRequest) -> None:
        heapq.heappush(self._heap, (due, next(self._order), pending))

    def first(self) -> tuple[float, PendingRequest] | None:
        """Return when the first request is due, and the request."""
        while self._heap:
            due, _, pending = self._heap[0]
            if pending.state is not RequestState.CANCELLED:
                return due, pending
            heapq.heappop(self._heap)
        return None

    def first_of(self, wanted: Container[PendingRequest]) -> tuple[float, PendingRequest] | None:
        """Return the same for the first of certain requests."""
        found = min((each for each in self._heap if each[2] in wanted), default=None)
        return found and (found[0], found[2])

    def remove(self, pending: PendingRequest) -> None:
        if self._heap[0][2] is pending:
            heapq.heappop(self._heap)
        else:
            self._heap = [each for each in self._heap if each[2] is not pending]
            heapq.heapify(self._heap)

    def cancel_all(self) -> None:
        for _, _, pending in self._heap:
            pending.state = RequestState.CANCELLED
        self._heap.clear()


class _Thread(threading.local):
    """What a thread sends."""

    pending: PendingRequest | None = None


class RequestScheduler:
    """Threads that send requests, a limited number at once, none before its time.

    Args:
        send: Sends a request to a URL once; called from several threads.
        max_concurrency: Most requests in flight at once.
        max_retries: Further tries of a request after the first.
        tuning: How long retries wait.
    """

    def __init__(
        self,
        send: Callable[[str], bytes | ApiError],
        *,
        max_concurrency: int,
        max_retries: int,
        tuning: Tuning,
    ) -> None:
        self._send = send
        self._limit = AdaptiveLimit(max_concurrency)
        self._budget = ByteBudget()
        self._thread = _Thread()
        self._retries = RetryPolicy(max_retries, tuning.longest_backoff)
        self._pace = Pace(tuning.longest_backoff, max_retries)
        self._is_rate_reported = False

        # An RLock: where a signal handler raises while its thread holds it, close() still passes.
        self._lock = threading.RLock()
        self._wake_worker = threading.Condition(self._lock)
        self._callers: dict[SimpleQueue[None], tuple[PendingRequest, ...]] = {}

        self._queue = _Queue()
        self._in_flight: dict[PendingRequest, None] = {}  # the oldest first
        self._workers = Workers(self._work, max_concurrency)
        self._next_wake = inf
        self._sent = 0
        self._ended_by: Exception | None = None
        self._is_closed = False

    @property
    def requests_sent(self) -> int:
        """How many requests the workers have sent so far, retries included."""
        return self._sent

    @property
    def waiting_for(self) -> str:
        """What holds up the next outcome, in words; empty if nothing is to be sent."""
        with self._lock:
            now = monotonic()
            if self._in_flight:
                oldest = next(iter(self._in_flight))
                more = len(self._in_flight) - 1
                others = f" and {more} more" if more else ""
                seconds = int(now - oldest.started)
                return f"GET {oldest.path}{others}" + (f", for {seconds} s" if seconds else "")
            first = self._next()
            if first is None:  # or the bodies that are there must be read before
                return ""
            pause = self._pace.paused_until - now
            if pause > 0:
                return f"the end of a pause of all requests, in {_seconds(pause)}"
            due, pending = first
            wait = self._pace.ready_at - now
            if wait > 0 and due <= now:
                return f"the turn of GET {pending.path} at the rate of the API, in {_seconds(wait)}"
            return f"the retry of GET {pending.path}, in {_seconds(due - now)}"

    def submit(self, pending: PendingRequest) -> None:
        """Send a request as soon as there is a free slot.

        Args:
            pending: The request.
        """
        self._enqueue(pending, 0.0)

    def retry(self, pending: PendingRequest, problem: TransientError) -> bool:
        """Send a request again although its outcome is there: the body is of no use.

        Args:
            pending: A request that is done.
            problem: What is wrong with the body.

        Returns:
            False if its tries are used up; it stays as it is then.
        """
        tries = pending.tries_that_count
        if not self._retries.allows_retry(tries, problem):
            return False
        wait = self._retries.wait_before_retry(pending.path, tries, problem)
        self._enqueue(pending, wait)
        return True

    def wait(self, *pending: PendingRequest, timeout: float | None = None) -> bool:
        """Block until one of several requests is done.

        Args:
            pending: Requests that were submitted.
            timeout: Seconds to wait at most; None for no limit.

        Returns:
            Whether one of them is done.

        Raises:
            RuntimeError: If the scheduler is closed before one of them is done.
            RunEndingError: If another request has ended the run before one of them is done.
            Exception: Whatever a worker did not expect.
        """
        # Not a Condition: with one, an exception that a signal handler raises in the wrong
        # microsecond is lost. And only who waits for a request is woken when it is done.
        wake: SimpleQueue[None] = SimpleQueue()
        try:
            with self._lock:
                self._callers[wake] = pending
                if self._is_over or any(each.is_done for each in pending):
                    wake.put(None)
                elif self._queue:
                    self._wake_worker.notify()  # there is always room for what is waited for
            if not self._workers.count:  # none could be started
                while not (self._is_over or any(each.is_done for each in pending)):
                    self._send_next()
            with suppress(Empty):
                wake.get(timeout=timeout)
        finally:
            with self._lock:
                self._callers.pop(wake, None)
        if any(each.is_done for each in pending):
            return True
        if self._ended_by is not None:
            raise self._ended_by
        if self._is_closed:
            raise RuntimeError("closed while a request was waited for")
        return False

    def release(self, pending: PendingRequest) -> None:
        """Count the body of a request no longer: it was read.

        Args:
            pending: A request that is done.
        """
        with self._lock:
            self._budget.release(pending)
            if self._queue and self._has_free_slot:
                self._wake_worker.notify()

    def receive(self, size: int) -> None:
        """Count what this thread has received of a body.

        Args:
            size: Its bytes so far.

        Raises:
            NoRoomError: If there is no room for it; the request will be sent again, and this does
                not count as one of its tries.
        """
        pending = self._thread.pending
        if pending is None:  # a probe
            return
        with self._lock:
            can_grow = self._budget.can_grow(pending, size)
            if not can_grow and not self._is_awaited(pending):
                pending.sizes.add(2 * size)
                raise NoRoomError
            self._budget.grow(pending, size)

    def cancel(self, pending: PendingRequest) -> None:
        """Forget a request; if it is in flight, its response is ignored.

        Args:
            pending: The request.
        """
        with self._lock:
            if pending.state is RequestState.DONE:
                self.release(pending)
            pending.state = RequestState.CANCELLED
            pending.outcome = None

    def close(self) -> None:
        """Send no further request; those in flight are not waited for."""
        with self._lock:
            self._is_closed = True
            self._queue.cancel_all()
            self._wake_everybody()

    @property
    def _is_over(self) -> bool:
        return self._is_closed or self._ended_by is not None

    def _wake_everybody(self) -> None:
        self._wake_worker.notify_all()
        for wake in self._callers:
            wake.put(None)

    def _enqueue(self, pending: PendingRequest, wait: float) -> None:
        with self._lock:
            self._budget.release(pending)
            if self._is_closed or pending.state is RequestState.CANCELLED:
                pending.state = RequestState.CANCELLED
                return
            pending.state = RequestState.WAITING
            pending.outcome = None
            self._queue.push(monotonic() + wait if wait > 0 else wait, pending)
            wanted = len(self._in_flight) + len(self._queue)
            if not self._workers.start_another(wanted) and self._has_free_slot:
                self._wake_worker.notify()
        self._workers.report_problem()  # not under the lock: logging may block

    @property
    def _has_free_slot(self) -> bool:
        return len(self._in_flight) < self._limit.value

    def _work(self) -> None:
        while self._send_next():
            pass

    def _send_next(self) -> bool:
        """Wait for a request and send it; a function, so that an idle worker holds no body."""
        try:
            pending = self._take()
            if pending is None:
                return False
            self._thread.pending = pending
            try:
                outcome = self._send(pending.url)
            except NoRoomError:
                self._put_back(pending)
                return True
            finally:
                self._thread.pending = None
            self._finish(pending, outcome)
            self._report_rate()
        except Exception as bug:  # noqa: BLE001  # raised again in wait()
            with self._lock:
                self._ended_by = bug
                self._wake_everybody()
            return False
        return True

    def _take(self) -> PendingRequest | None:
        """Wait for the next request that may be sent; None if there will be no more."""
        with self._lock:
            while not self._is_over:
                until = None
                first = self._next()
                if first is not None and self._has_free_slot:
                    due, pending = first
                    now = monotonic()
                    until = max(due, self._pace.ready_at)
                    if until <= now:
                        self._queue.remove(pending)
                        self._budget.hold(pending, pending.sizes.estimate)
                        pending.state = RequestState.IN_FLIGHT
                        pending.tries += 1
                        pending.started = now
                        self._in_flight[pending] = None
                        self._pace.note_sent(now)
                        self._sent += 1
                        if self._queue and self._has_free_slot:
                            self._wake_worker.notify()  # one at a time, each wakes the next
                        return pending
                self._wait_for_work(until)
        return None

    def _is_awaited(self, pending: PendingRequest) -> bool:
        """Whether a caller waits for a request that is in flight, and for none sent before it."""
        for awaited in self._callers.values():
            if pending in awaited:
                return pending is next(each for each in self._in_flight if each in awaited)
        return False

    def _put_back(self, pending: PendingRequest) -> None:
        """Send a request again, before all others, when there is room for its body."""
        with self._lock:
            del self._in_flight[pending]
            self._budget.release(pending)
            pending.tries -= 1
            if self._is_closed:
                pending.state = RequestState.CANCELLED
            if pending.state is not RequestState.CANCELLED:
                pending.state = RequestState.WAITING
                self._queue.push(_FIRST, pending)

    def _next(self) -> tuple[float, PendingRequest] | None:
        """Return when a request is due, and the request; None if there is no room for its body.

        What a caller waits for never waits for room: the bodies that take it may be later ones,
        which are only read afterwards.
        """
        first = self._queue.first()
        if first is None or self._budget.has_room_for(first[1].sizes.estimate):
            return first
        for awaited in self._callers.values():
            if not any(each.state is RequestState.IN_FLIGHT for each in awaited):
                first = self._queue.first_of(awaited)
                if first is not None:
                    return first
        return None

    def _wait_for_work(self, until: float | None) -> None:
        """Wait to be woken, or until a time; of several workers one does the latter."""
        if until is None or until >= self._next_wake:
            self._wake_worker.wait()
            return
        self._next_wake = until
        self._wake_worker.wait(until - monotonic())
        self._next_wake = inf

    def _finish(self, pending: PendingRequest, outcome: bytes | ApiError) -> None:
        """Take note of the outcome of a try."""
        with self._lock:
            pending.ended = monotonic()
            del self._in_flight[pending]
            is_for_rate = self._pace.note_outcome(outcome, pending.started, pending.ended)
            pending.refusals += is_for_rate
            if not is_refusal(outcome):
                self._limit.adapt(outcome, pending.started, pending.ended)
            if isinstance(outcome, bytes):
                pending.sizes.add(len(outcome))
                self._budget.hold(pending, len(outcome))
            else:
                self._budget.release(pending)
            if self._is_closed:
                pending.state = RequestState.CANCELLED
            if pending.state is RequestState.CANCELLED:
                self._budget.release(pending)
                return
            if not isinstance(outcome, TransientError) or not self._may_retry(
                pending, outcome, is_for_rate=is_for_rate
            ):
                pending.outcome = outcome
                pending.state = RequestState.DONE
                if isinstance(outcome, RunEndingError):
                    self._ended_by = outcome
                    self._wake_everybody()
                    return
                for wake, awaited in self._callers.items():
                    if pending in awaited:
                        wake.put(None)
                return
        # Not under the lock: logging may block.
        if is_for_rate:
            logger.debug("GET %s: %s; sent again at the rate of the API", pending.path, outcome)
            wait = _FIRST if pending.refusals == 1 else 0.0  # only once before all others
        else:
            tries = pending.tries_that_count
            wait = self._retries.wait_before_retry(pending.path, tries, outcome)
        self._enqueue(pending, wait)

    def _may_retry(
        self, pending: PendingRequest, problem: TransientError, *, is_for_rate: bool
    ) -> bool:
        if is_for_rate:
            return self._retries.allows_another_refusal(pending.refusals, self._pace.refusals)
        return self._retries.allows_retry(pending.tries_that_count, problem)

    def _report_rate(self) -> None:
        """Log once that the API limits the rate."""
        rate = self._pace.rate
        if rate is not None and not self._is_rate_reported:
            self._is_rate_reported = True
            logger.info(
                "the API refuses requests that come too fast (HTTP 429); from here on they are "
                "sent at the rate that it bears, now about %.2g per second",
                rate,
            )


def _seconds(seconds: float) -> str:
    """Return a wait in words; one that is about to end is 1 s."""
    return f"{max(ceil(seconds), 1)} s"
