"""How many requests are in flight and how fast they are sent, by a simulated clock."""

from __future__ import annotations

import heapq
from contextlib import suppress
from functools import partial
from itertools import count
from math import inf
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tap_compose.api import pace
from tap_compose.api.errors import GoneError, TransientError
from tap_compose.api.pace import Attempt, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_compose.api.errors import ApiError

WORKERS = 16
LATENCY = 0.05


class _Blocked(BaseException):
    """A request has to wait so many seconds, or until another one has ended."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds


class _Condition:
    """A condition that raises instead of waiting."""

    def __init__(self) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self, seconds: float | None = None) -> NoReturn:
        raise _Blocked(seconds)

    def notify_all(self) -> None:
        pass


class Clock:
    """What the throttle takes for the time."""

    now = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "monotonic", lambda: clock.now)
    threads = SimpleNamespace(Condition=_Condition)
    monkeypatch.setattr(pace, "threading", threads)
    return clock


class Simulation:
    """Sends requests as the workers of a client do: each keeps its request until it is accepted.

    Attributes:
        refused: How often a request was refused.
        most_attempts: How often the same one was sent at most.
    """

    def __init__(
        self,
        clock: Clock,
        accepts: Callable[[float], bool],
        *,
        retry_after: float | None = None,
        seed: int = 1,
    ) -> None:
        self.refused, self.most_attempts = 0, 1
        self._clock, self._accepts, self._retry_after = clock, accepts, retry_after
        self._throttle, self._random, self._number = Throttle(WORKERS), Random(seed), count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._ready: list[int] = []  # how often each request that may go was sent
        self._left, self._due = 0, inf

    def run(self, requests: int) -> float:
        """Return how many seconds some requests take."""
        began = self._clock.now
        self._ready, self._left = [0] * WORKERS, requests - WORKERS
        self._send()
        while self._events:
            self._clock.now, _, happen = heapq.heappop(self._events)
            happen()
            self._send()
        return self._clock.now - began

    def _later(self, seconds: float, happen: Callable[..., None], *arguments: Any) -> None:
        at, what = self._clock.now + seconds, partial(happen, *arguments)
        event: tuple[float, int, Callable[[], None]] = (at, next(self._number), what)
        heapq.heappush(self._events, event)

    def _send(self) -> None:
        while self._ready:
            try:
                attempt = self._throttle.begin(None)
            except _Blocked as blocked:
                if blocked.seconds is not None and self._clock.now + blocked.seconds < self._due:
                    self._due = self._clock.now + blocked.seconds
                    self._later(blocked.seconds, self._note_due)
                return
            latency = LATENCY * self._random.uniform(0.5, 0.6)
            self._later(latency, self._arrive, attempt, self._ready.pop(0) + 1)

    def _note_due(self) -> None:
        self._due = inf

    def _arrive(self, *sent: Any) -> None:
        self._later(LATENCY / 2, self._end, *sent, self._accepts(self._clock.now))

    def _end(self, attempt: Attempt, attempts: int, is_accepted: bool) -> None:
        self.most_attempts = max(self.most_attempts, attempts)
        if is_accepted:
            self._throttle.end(attempt, None)
            self._ready += [0] * (self._left > 0)
            self._left -= 1
            return
        self.refused += 1
        self._throttle.end(attempt, _refusal(self._retry_after))
        jitter = self._random.uniform(0, min(2 ** (attempts - 1), 60))
        wait = jitter if self._retry_after is None else self._retry_after
        self._later(wait, self._ready.append, attempts)


def _refusal(retry_after: float | None = None) -> TransientError:
    return TransientError("HTTP 429", status=429, retry_after=retry_after)


def _bucket(rate: float, size: int) -> Callable[[float], bool]:
    """Accept a burst of some size, then a rate."""
    tokens, filled = float(size), 0.0

    def accepts(now: float) -> bool:
        nonlocal tokens, filled
        tokens, filled = min(size, tokens + (now - filled) * rate), now
        is_accepted = tokens >= 1
        tokens -= is_accepted
        return is_accepted

    return accepts


def _at_random(share: float, seed: int) -> Callable[[float], bool]:
    """Accept a share of all requests."""
    random = Random(seed)
    return lambda _now: random.random() < share


@pytest.mark.parametrize("retry_after", [None, 1.0])
def test_a_limited_rate_is_used(clock: Clock, retry_after: float | None) -> None:
    for seed in range(5):
        simulation = Simulation(clock, _bucket(20, 5), retry_after=retry_after, seed=seed)
        assert simulation.run(800) <= 1.3 * 800 / 20
        assert simulation.refused <= 0.1 * (800 + simulation.refused)
        assert simulation.most_attempts <= 5


def test_a_refusal_now_and_then_slows_nothing_down(clock: Clock) -> None:
    for seed in range(10):
        simulation = Simulation(clock, _at_random(0.98, seed), seed=seed)
        assert simulation.run(2000) <= 2.5 * 2000 * 1.05 * LATENCY / WORKERS
        assert simulation.refused > 20


def _burst(throttle: Throttle, error: ApiError | None = None) -> int:
    """Send as many requests as may go at once, end all, and return how many they were."""
    begun: list[Attempt] = []
    with suppress(_Blocked):
        while True:
            begun.append(throttle.begin(None))
    for attempt in begun:
        throttle.end(attempt, error)
    return len(begun)


@pytest.mark.parametrize("status", [408, 503, None])
def test_failures_of_one_moment_halve_the_requests_in_flight_once(
    clock: Clock, status: int | None
) -> None:
    throttle, problem = Throttle(8), TransientError("", status=status)
    sent = []
    for error in (problem, problem, problem, problem, GoneError(""), None, None, None, None):
        sent.append(_burst(throttle, error))
        clock.now += 1
    assert sent == [8, 4, 2, 1, 1, 2, 2, 3, 4]


def test_retry_after_pauses_all_requests(clock: Clock) -> None:
    throttle = Throttle(8)
    throttle.end(throttle.begin(None), _refusal(7.0))
    clock.now += 6.9
    assert _burst(throttle) == 0
    clock.now += 0.2
    assert _burst(throttle) > 0


def test_pauses_grow_while_everything_is_refused(clock: Clock) -> None:
    throttle, waits = Throttle(1), []
    for _ in range(11):
        began = clock.now
        while not _burst(throttle, _refusal()):
            clock.now += 0.5
        waits.append(round(clock.now - began))
        clock.now += 0.01
    assert waits == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
