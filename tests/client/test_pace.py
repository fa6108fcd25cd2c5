"""How many requests are in flight and how fast they are sent, by a simulated clock."""

from __future__ import annotations

from contextlib import suppress
from math import inf
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, NoReturn

import pytest

from tap_compose.api import pace
from tap_compose.api.errors import GoneError, TransientError
from tap_compose.api.pace import Attempt, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_compose.api.errors import ApiError

WORKERS = 16
LATENCY = 0.05


class _BlockedError(Exception):
    """A request has to wait so many seconds, or until another one has ended."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds


class _Condition:
    """A condition that raises instead of waiting."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self, seconds: float | None = None) -> NoReturn:
        raise _BlockedError(seconds)

    def notify_all(self) -> None:
        pass


class Clock:
    """What the throttle takes for the time."""

    now = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "monotonic", lambda: clock.now)
    monkeypatch.setattr(pace, "threading", SimpleNamespace(Condition=_Condition))
    return clock


def _simulate(
    clock: Clock,
    requests: int,
    accepts: Callable[[float], bool],
    *,
    retry_after: float | None = None,
    seed: int = 1,
) -> tuple[float, int, int]:
    """Send requests as the workers of a client do: each keeps its request until it is accepted.

    Returns:
        How many seconds it took, how many attempts were refused, and how many attempts the same
        request took at most.
    """
    began, throttle, random = clock.now, Throttle(WORKERS), Random(seed)
    waiting = [(0.0, 1)] * WORKERS  # until when, and which attempt comes then
    in_flight: list[tuple[float, Attempt, int, bool]] = []
    unsent, refused, most_attempts = requests - WORKERS, 0, 1
    while waiting or in_flight:
        times: list[float] = []
        for each in [each for each in in_flight if each[0] <= clock.now]:
            in_flight.remove(each)
            _, attempt, number, is_accepted = each
            throttle.end(attempt, None if is_accepted else _refusal(retry_after))
            most_attempts = max(most_attempts, number)
            if not is_accepted:
                refused += 1
                jitter = random.uniform(0, min(2 ** (number - 1), 60))
                waiting.append((clock.now + jitter, number + 1))
            elif unsent:
                unsent -= 1
                waiting.append((clock.now, 1))
        try:
            for ready in [each for each in waiting if each[0] <= clock.now]:
                attempt = throttle.begin(None)
                waiting.remove(ready)
                end = clock.now + LATENCY * random.uniform(1, 1.1)
                in_flight.append((end, attempt, ready[1], accepts(clock.now)))
        except _BlockedError as blocked:
            times.append(clock.now + (blocked.seconds or inf) + 1e-9)  # or it may be too early
        times += [at for at, _ in waiting] + [at for at, *_ in in_flight]
        clock.now = min((each for each in times if each > clock.now), default=clock.now)
    return clock.now - began, refused, most_attempts


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
    for seed in range(3):
        seconds, refused, most_attempts = _simulate(
            clock, 800, _bucket(20, 5), retry_after=retry_after, seed=seed
        )
        assert seconds <= 1.3 * 800 / 20
        assert refused <= 0.1 * (800 + refused)
        assert most_attempts <= 5


def test_a_refusal_now_and_then_slows_nothing_down(clock: Clock) -> None:
    for seed in range(10):
        seconds, refused, _ = _simulate(clock, 2000, _at_random(0.98, seed))
        assert seconds <= 2.5 * 2000 * 1.05 * LATENCY / WORKERS
        assert refused > 20


def _burst(throttle: Throttle, error: ApiError | None = None) -> int:
    """Send as many requests as may go at once, end all, and return how many they were."""
    begun: list[Attempt] = []
    with suppress(_BlockedError):
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
