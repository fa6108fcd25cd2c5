"""The rate of requests, against simulated limits by a simulated clock."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from math import floor, inf
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_compose.api.errors import GoneError, TransientError
from tap_compose.api.pacing import AdaptiveLimit, Pace, RateSearch, RetryPolicy, is_refusal

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_RETRIES = 8


def _refusal(retry_after: float | None = None) -> TransientError:
    return TransientError("HTTP 429", status=429, retry_after=retry_after)


def _pace() -> Pace:
    return Pace(longest_backoff=60.0, max_refusals=MAX_RETRIES)


def _fixed(most: int, seconds: float = 1.0, begins: float = 0.4) -> Callable[[float], bool]:
    """Bear a number of requests in each window; the clock begins within one."""
    window, borne = -1, 0

    def bears(now: float) -> bool:
        nonlocal window, borne
        if floor(now / seconds + begins) != window:
            window, borne = floor(now / seconds + begins), 0
        borne += 1
        return borne <= most

    return bears


def _sliding(most: int, seconds: float = 1.0) -> Callable[[float], bool]:
    """Bear a number of requests in the seconds before each."""
    times: list[float] = []

    def bears(now: float) -> bool:
        times[:] = [each for each in times if each > now - seconds]
        is_borne = len(times) < most
        if is_borne:
            times.append(now)
        return is_borne

    return bears


def _bucket(rate: float, burst: int) -> Callable[[float], bool]:
    """Bear a burst, then a rate."""
    tokens, filled = float(burst), 0.0

    def bears(now: float) -> bool:
        nonlocal tokens, filled
        tokens, filled = min(burst, tokens + (now - filled) * rate), now
        is_borne = tokens >= 1
        tokens -= is_borne
        return is_borne

    return bears


@dataclass
class Result:
    """What a simulated run took.

    Attributes:
        seconds: Until the last response.
        answered: When requests were answered.
        refused: When they were refused, by request.
        failed: Requests that were given up.
    """

    seconds: float = 0.0
    answered: list[float] = field(default_factory=list)
    refused: dict[int, list[float]] = field(default_factory=dict)
    failed: int = 0

    @property
    def late_refusals(self) -> float:
        """Refused requests after the first 10 s, of those answered then."""
        late = sum(each > 10 for times in self.refused.values() for each in times)
        return late / max(sum(each > 10 for each in self.answered), 1)


def _simulate(
    bears: Callable[[float], bool],
    *,
    requests: int = 800,
    latency: float = 0.05,
    in_flight: int = 16,
    retry_after: float | None = None,
    seed: int = 1,
) -> Result:
    """Send requests as the scheduler does."""
    pace, retries, random, number = _pace(), RetryPolicy(MAX_RETRIES, 60.0), Random(seed), count()
    waiting, refusals = list(range(requests)), [0] * requests
    events: list[tuple[float, int, int, float, bool | None]] = []
    now, flying, result = 0.0, 0, Result()
    while waiting or events:
        while waiting and flying < in_flight and pace.ready_at <= now:
            pace.note_sent(now)
            flying += 1
            arrives = now + latency * random.uniform(0.5, 0.55)
            heapq.heappush(events, (arrives, next(number), waiting.pop(0), now, None))
        sends_at = inf
        if waiting and flying < in_flight:
            sends_at = pace.ready_at + random.expovariate(2000)
        if sends_at < (events[0][0] if events else inf):
            now = max(now, sends_at)
            continue
        now, _, request, started, is_borne = heapq.heappop(events)
        if is_borne is None:
            event = (now + latency / 2, next(number), request, started, bears(now))
            heapq.heappush(events, event)
            continue
        flying -= 1
        outcome = b"" if is_borne else _refusal(retry_after)
        is_for_rate = pace.note_outcome(outcome, started, now)
        if is_borne:
            result.answered.append(now)
            continue
        times = result.refused.setdefault(request, [])
        times.append(now)
        refusals[request] += is_for_rate  # others count as tries, and wait longer than here
        if not is_for_rate or refusals[request] == 1:
            waiting.insert(0, request)
        elif retries.allows_another_refusal(refusals[request], pace.refusals):
            waiting.append(request)
        else:
            result.failed += 1
    result.seconds = now
    return result


@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize(
    "limit",
    [
        _fixed,
        lambda rate: _fixed(rate, begins=0.93),  # a window ends within the first burst
        _sliding,
        lambda rate: _bucket(rate, 5),
        lambda rate: _bucket(rate, rate),
    ],
)
@pytest.mark.parametrize("rate", [1, 5, 20])
def test_the_rate_of_the_api_is_found_and_held(
    limit: Callable[[int], Callable[[float], bool]], rate: int, retry_after: float | None
) -> None:
    result = _simulate(limit(rate), retry_after=retry_after)
    assert result.failed == 0
    assert result.seconds <= 1.1 * 800 / rate
    assert result.late_refusals <= {1: 0.08, 5: 0.04, 20: 0.02}[rate]


@pytest.mark.parametrize("retry_after", [None, 30.0])
@pytest.mark.parametrize("limit", [_fixed, _sliding])
def test_a_limit_by_the_minute(
    limit: Callable[[int, float], Callable[[float], bool]], retry_after: float | None
) -> None:
    result = _simulate(limit(60, 60.0), retry_after=retry_after)
    assert result.failed == 0
    assert result.seconds <= 1.15 * 800
    assert result.late_refusals <= 0.05


@pytest.mark.parametrize(("before", "after"), [(20, 5), (20, 100)])
def test_a_limit_that_changes(before: int, after: int) -> None:
    old, new = _fixed(before), _fixed(after)
    requests = 20 * before + 60 * after
    result = _simulate(lambda now: old(now) if now < 20 else new(now), requests=requests)
    assert result.failed == 0
    assert result.seconds <= 1.4 * (20 + 60)


@settings(max_examples=60, deadline=None)
@given(
    limit=st.sampled_from(["fixed", "sliding", "bucket"]),
    rate=st.integers(1, 200),
    burst=st.integers(1, 100),
    latency=st.floats(0.005, 1.0),
    in_flight=st.integers(1, 64),
    retry_after=st.sampled_from([None, 0.0, 1.0]),
    seed=st.integers(0, 1000),
)
def test_no_request_fails_and_the_rate_is_used(
    *,
    limit: str,
    rate: int,
    burst: int,
    latency: float,
    in_flight: int,
    retry_after: float | None,
    seed: int,
) -> None:
    bears = {"fixed": _fixed(rate), "sliding": _sliding(rate), "bucket": _bucket(rate, burst)}
    requests = min(20 * rate, 1000)
    result = _simulate(
        bears[limit],
        requests=requests,
        latency=latency,
        in_flight=in_flight,
        retry_after=retry_after,
        seed=seed,
    )
    assert (result.failed, len(result.answered)) == (0, requests)
    possible = min(rate, in_flight / (1.05 * latency))
    assert result.seconds <= 20 + 8 * requests / possible


def test_nothing_is_paced_without_refusals() -> None:
    pace = _pace()
    for now in range(100):
        assert pace.ready_at <= now
        pace.note_sent(now)
        pace.note_outcome(GoneError("HTTP 404") if now % 2 else b"", now, now + 0.5)
        pace.note_outcome(TransientError("HTTP 503", status=503), now, now + 0.5)
    assert pace.rate is None


@pytest.mark.parametrize("share", [0.01, 0.05, 0.15])
def test_refusals_now_and_then_are_not_paced(share: float) -> None:
    random = Random(1)
    result = _simulate(lambda _: random.random() > share)
    assert result.failed == 0
    assert sum(map(len, result.refused.values())) > 400 * share
    assert result.seconds < 1.3 * 800 * 0.052 / 16


def test_requests_that_are_all_refused_once_are_not_paced_for_long() -> None:
    random = Random(1)
    result = _simulate(lambda _: random.random() > 0.5, requests=200)
    assert result.seconds < 10


@pytest.mark.parametrize(
    ("answered", "refused", "retry_after", "is_paced"),
    [
        (0, 10, None, False),
        (0, 11, None, True),
        (40, 20, None, False),
        (40, 21, None, True),
        (0, 1, 1.0, False),
        (0, 2, 1.0, True),
        (100, 4, 1.0, False),
        (100, 5, 1.0, True),
    ],
)
def test_when_pacing_begins(
    answered: int, refused: int, retry_after: float | None, *, is_paced: bool
) -> None:
    pace = _pace()
    pace.note_sent(100.0)
    for _ in range(answered):
        pace.note_outcome(b"", 100.0, 100.1)
    for _ in range(refused):
        was_for_rate = pace.note_outcome(_refusal(retry_after), 100.0, 100.1)
    assert was_for_rate == is_paced
    assert (pace.rate is not None) == is_paced


def test_the_pauses_of_a_burst_count_as_one() -> None:
    pace = _pace()
    for _ in range(16):
        pace.note_sent(100.0)
    for number in range(16):
        pace.note_outcome(_refusal(1.0), 100.0, 100.1 + number / 100)
    assert pace.paused_until == pytest.approx(101.11)
    assert pace.refusals == 1


def test_a_failure_that_is_no_refusal_pauses_until_its_retry_after() -> None:
    pace = _pace()
    pace.note_sent(100.0)
    for retry_after in (7.0, 2.0):
        problem = TransientError("HTTP 503", status=503, retry_after=retry_after)
        pace.note_outcome(problem, 100.0, 100.5)
    assert (pace.paused_until, pace.rate) == (107.5, None)


def test_no_burst_follows_a_pause() -> None:
    pace = _pace()
    for now in range(100, 120):
        pace.note_sent(float(now))
        pace.note_outcome(b"", now, now + 0.1)
    for _ in range(2):
        pace.note_sent(120.0)
        pace.note_outcome(_refusal(7.0), 120.0, 120.1)
    assert pace.rate == RateSearch.FIRST_RATE
    assert pace.ready_at == 127.1
    pace.note_sent(130.0)
    assert pace.ready_at == pytest.approx(130.195)


def test_pauses_grow_while_everything_is_refused_until_they_are_of_no_use() -> None:
    pace, now, pauses = _pace(), 100.0, []
    for _ in range(10):
        pace.note_outcome(_refusal(), now, now)
    for _ in range(11):
        pace.note_sent(now)
        pace.note_outcome(_refusal(), now, now)
        pauses.append(pace.ready_at - now)
        now = pace.ready_at
    assert pauses == pytest.approx([0.2, 1, 2, 4, 8, 16, 32, 60, 0.2, 0.2, 0.2])


def test_who_may_be_sent_again_after_a_refusal() -> None:
    allows = RetryPolicy(2, 60.0).allows_another_refusal
    assert allows(2, 99)
    assert not allows(3, 3)
    assert allows(3, 2)
    assert allows(8, 1)
    assert not allows(9, 1)
    assert not RetryPolicy(0, 60.0).allows_another_refusal(1, 1)


def test_steps_of_the_rate() -> None:
    search = RateSearch(20, 0.1)
    now = 100.0
    for _ in range(10):
        search.bear(now, now, pause=0.0)
    assert search.rate == pytest.approx(27.0)
    search.refuse()
    assert search.rate == pytest.approx(19.4)

    rates = []
    for _ in range(4):
        before = search.rate
        while search.rate == before:
            now += 1 / search.rate
            search.bear(now, now, pause=0.0)
        rates.append(search.rate / before)
    assert rates == pytest.approx([1.07, 1.07, 1.14, 1.28])
    for change in (1 / 1.28, 0.916, 0.832, 0.664, 0.5):
        before = search.rate
        search.refuse()
        assert search.rate / before == pytest.approx(change)
    for _ in range(50):
        search.refuse()
    assert search.rate == RateSearch.LEAST_RATE


def test_what_passed_at_first_counts_however_late_it_is_answered() -> None:
    pace = _pace()
    for _ in range(20):
        pace.note_sent(100.0)
    for _ in range(2):
        pace.note_outcome(_refusal(1.0), 100.0, 100.1)
    for _ in range(18):
        pace.note_outcome(b"", 100.0, 100.2)
    assert pace.rate == 18.0


def test_the_rate_is_not_above_what_passed_after_a_pause() -> None:
    search = RateSearch(36, 0.1)  # two windows
    search.refuse(20.0)
    assert search.rate == pytest.approx(19.4)


@pytest.mark.parametrize("status", [503, 408, None])
def test_failures_of_a_burst_halve_the_number_in_flight_once(status: int | None) -> None:
    limit, problem = AdaptiveLimit(8), TransientError("", status=status)
    limit.adapt(problem, 1.0, 2.0)
    limit.adapt(problem, 1.5, 2.1)
    assert limit.value == 4
    assert not is_refusal(problem)
