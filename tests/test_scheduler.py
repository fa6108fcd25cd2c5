"""Many requests: how many at once, what is sent again and when, and who waits for what."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tap_compose.api.errors import ApiError, GoneError, TransientError
from tap_compose.api.scheduler import PendingRequest, RequestScheduler, RequestState, Tuning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHORT = Tuning(longest_backoff=0.02)
Outcome = bytes | ApiError


@contextmanager
def _scheduler(
    send: Callable[[str], Outcome],
    *,
    max_concurrency: int = 4,
    max_retries: int = 2,
    tuning: Tuning = SHORT,
) -> Iterator[RequestScheduler]:
    scheduler = RequestScheduler(
        send, max_concurrency=max_concurrency, max_retries=max_retries, tuning=tuning
    )
    yield scheduler
    scheduler.close()


def _pending(path: str) -> PendingRequest:
    return PendingRequest(f"https://api.example{path}", path)


def _wait_for_all(scheduler: RequestScheduler, pending: list[PendingRequest]) -> None:
    for each in pending:
        scheduler.wait(each)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Held:
    """A ``send`` that holds every request until it is released."""

    def __init__(self, outcome: Outcome = b"1") -> None:
        self.outcome = outcome
        self.urls: list[str] = []
        self.is_released = threading.Event()

    def __call__(self, url: str) -> Outcome:
        self.urls.append(url)
        assert self.is_released.wait(10)
        return self.outcome


def test_a_request_from_submission_to_outcome() -> None:
    send = Held()
    with _scheduler(send) as scheduler:
        pending = _pending("/teams")
        assert (pending.state, pending.tries) == (RequestState.WAITING, 0)
        scheduler.submit(pending)
        _until(lambda: pending.state is RequestState.IN_FLIGHT)
        send.is_released.set()
        scheduler.wait(pending)
        assert (pending.state, pending.outcome, pending.tries) == (RequestState.DONE, b"1", 1)
        assert 0 < pending.started <= pending.ended
        assert scheduler.requests_sent == 1
    assert send.urls == ["https://api.example/teams"]


def test_what_may_pass_is_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    outcomes: Iterator[Outcome] = iter(
        [TransientError("HTTP 503"), TransientError("it broke"), b"1"]
    )
    with caplog.at_level(logging.INFO), _scheduler(lambda _: next(outcomes)) as scheduler:
        pending = _pending("/teams")
        scheduler.submit(pending)
        scheduler.wait(pending)
        assert (pending.outcome, pending.tries) == (b"1", 3)
        assert scheduler.requests_sent == 3
    assert caplog.messages == [
        "GET /teams: HTTP 503; retry 1 of 2 in 0.0 s",
        "GET /teams: it broke; retry 2 of 2 in 0.0 s",
    ]


@pytest.mark.parametrize("max_retries", [0, 3])
def test_tries_are_used_up(max_retries: int) -> None:
    problem = TransientError("HTTP 503", status=503)
    with _scheduler(lambda _: problem, max_retries=max_retries) as scheduler:
        pending = _pending("/teams")
        scheduler.submit(pending)
        scheduler.wait(pending)
        assert pending.outcome is problem
        assert pending.tries == max_retries + 1


def test_what_will_not_pass_is_not_sent_again() -> None:
    gone = GoneError("HTTP 404", status=404)
    with _scheduler(lambda _: gone) as scheduler:
        pending = _pending("/teams")
        scheduler.submit(pending)
        scheduler.wait(pending)
        assert (pending.outcome, pending.tries) == (gone, 1)


def test_an_unreadable_body_is_sent_again_until_tries_are_used_up() -> None:
    bodies = iter([b"1", b"2", b"3"])
    problem = TransientError("unreadable")
    with _scheduler(lambda _: next(bodies)) as scheduler:
        pending = _pending("/teams")
        scheduler.submit(pending)
        scheduler.wait(pending)
        for body in (b"2", b"3"):
            assert scheduler.retry(pending, problem)
            scheduler.wait(pending)
            assert pending.outcome == body
        assert not scheduler.retry(pending, problem)
        assert (pending.state, pending.outcome) == (RequestState.DONE, b"3")


def test_retry_after_pauses_every_request() -> None:
    sent: list[float] = []

    def send(_url: str) -> Outcome:
        sent.append(time.monotonic())
        return TransientError("HTTP 429", retry_after=0.4) if len(sent) == 1 else b"1"

    with _scheduler(send, max_concurrency=1) as scheduler:
        requests = [_pending(f"/{number}") for number in range(4)]
        for each in requests:
            scheduler.submit(each)
        _until(lambda: "pause" in scheduler.waiting_for)
        expected = "the end of a pause of all requests, in 1 s"
        assert scheduler.waiting_for == expected
        _wait_for_all(scheduler, requests)
    assert len(sent) == 5
    assert sent[1] - sent[0] >= 0.39


def test_refusals_for_the_rate_are_no_tries_and_the_rate_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = iter([False, False, True] * 5)

    def send(_url: str) -> Outcome:
        is_refused = next(refusals, False)
        return TransientError("HTTP 429", status=429, retry_after=0.0) if is_refused else b"1"

    with caplog.at_level(logging.INFO), _scheduler(send) as scheduler:
        requests = [_pending(f"/{number}") for number in range(12)]
        for each in requests:
            scheduler.submit(each)
        _wait_for_all(scheduler, requests)
    assert [each.outcome for each in requests] == [b"1"] * 12
    assert sum(each.refusals for each in requests) == 4
    assert sum(each.tries_that_count for each in requests) == 13
    assert len(caplog.messages) == 2
    assert re.fullmatch(r"GET /\d+: HTTP 429; retry 1 of 2 in 0.0 s", caplog.messages[0])
    assert re.fullmatch(
        r"the API refuses requests that come too fast \(HTTP 429\); from here on they are sent at "
        r"the rate that it bears, now about [0-9.]+ per second",
        caplog.messages[1],
    )


def test_the_rate_is_what_is_waited_for() -> None:
    outcomes: Iterator[Outcome] = iter(
        [b"1", *[TransientError("HTTP 429", status=429, retry_after=0.0)] * 2]
    )
    seen: list[str] = []

    def is_seen() -> bool:
        seen.append(scheduler.waiting_for)
        return "the turn" in seen[-1]

    with _scheduler(lambda _: next(outcomes, b"1"), max_concurrency=1) as scheduler:
        requests = [_pending(f"/{number}") for number in range(5)]
        for each in requests:
            scheduler.submit(each)
        _until(is_seen)
        assert re.fullmatch(r"the turn of GET /[1-4] at the rate of the API, in 1 s", seen[-1])
        _wait_for_all(scheduler, requests)


def test_only_one_worker_watches_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts: list[float] = []
    wait = threading.Condition.wait

    def counted(condition: threading.Condition, timeout: float | None = None) -> bool:
        if timeout is not None and timeout < 1:
            timeouts.append(timeout)
        return wait(condition, timeout)

    monkeypatch.setattr(threading.Condition, "wait", counted)
    together = threading.Barrier(16)
    outcomes: Iterator[Outcome] = iter([TransientError("HTTP 503", retry_after=0.3)])

    def send(url: str) -> Outcome:
        if url.endswith("/together"):
            together.wait(10)
            return b"1"
        return next(outcomes, b"1")

    with _scheduler(send, max_concurrency=16) as scheduler:
        for path in ("/together", "/more"):
            requests = [_pending(path) for _ in range(16)]
            for each in requests:
                scheduler.submit(each)
            _wait_for_all(scheduler, requests)
    assert 1 <= len(timeouts) < 8


def test_a_request_that_waits_for_its_retry_does_not_hold_up_others() -> None:
    def send(url: str) -> Outcome:
        return b"1" if url.endswith("/good") else TransientError("HTTP 503")

    with _scheduler(send, max_concurrency=1, max_retries=20, tuning=Tuning()) as scheduler:
        bad, good = _pending("/bad"), _pending("/good")
        scheduler.submit(bad)
        _until(lambda: bad.tries > 0)
        scheduler.submit(good)
        scheduler.wait(bad, good)
        assert good.is_done
        assert not bad.is_done


def test_at_most_max_concurrency_at_once_by_threads_started_as_needed() -> None:
    held = Held()
    threads: list[int] = []

    def send(url: str) -> Outcome:
        threads.append(threading.get_ident())
        return held(url)

    with _scheduler(send, max_concurrency=6) as scheduler:
        requests = [_pending(f"/{number}") for number in range(20)]
        for each in requests[:2]:
            scheduler.submit(each)
        _until(lambda: len(held.urls) == 2)
        held.is_released.set()
        _wait_for_all(scheduler, requests[:2])
        held.is_released.clear()
        for each in requests[2:]:
            scheduler.submit(each)
        _until(lambda: len(held.urls) == 2 + 6)
        assert scheduler.requests_sent == 2 + 6
        held.is_released.set()
        _wait_for_all(scheduler, requests)
    assert len(threads) == 20
    assert len(set(threads[:2])) == 2
    assert len(set(threads)) == 6


def test_a_request_in_flight_does_not_keep_the_process() -> None:
    program = (
        "import time\n"
        "from tap_compose.api.scheduler import PendingRequest, RequestScheduler, Tuning\n"
        "scheduler = RequestScheduler(\n"
        "    lambda url: time.sleep(600), max_concurrency=1, max_retries=0, tuning=Tuning()\n"
        ")\n"
        "scheduler.submit(PendingRequest('url', 'path'))\n"
        "while not scheduler.requests_sent:\n"
        "    time.sleep(0.01)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_burst_of_failures_halves_the_limit_once_and_success_raises_it_again() -> None:
    everyone = threading.Barrier(8)
    failures = iter([True] * 8)
    send_again = Held()

    def send(url: str) -> Outcome:
        if next(failures, False):
            everyone.wait(10)
            return TransientError("HTTP 503")
        if url.endswith("/together"):
            everyone.wait(10)
            return b"1"
        return send_again(url)

    with _scheduler(send, max_concurrency=8) as scheduler:
        requests = [_pending(f"/{number}") for number in range(60)]
        for each in requests:
            scheduler.submit(each)
        _until(lambda: scheduler.requests_sent == 8 + 4)
        time.sleep(0.05)  # the backoff of the retries is over
        assert len(send_again.urls) == 4
        send_again.is_released.set()
        _wait_for_all(scheduler, requests)
        requests = [_pending("/together") for _ in range(8)]
        for each in requests:
            scheduler.submit(each)
        _wait_for_all(scheduler, requests)
        assert [each.outcome for each in requests] == [b"1"] * 8


def test_an_idle_worker_is_woken_when_the_limit_rises() -> None:
    both_fail = threading.Barrier(2)
    both_at_once = threading.Barrier(2)
    failures = iter([True] * 2)

    def send(url: str) -> Outcome:
        if next(failures, False):
            both_fail.wait(10)
            return TransientError("HTTP 503")
        if url.endswith("/2"):
            time.sleep(0.05)  # alone, and meanwhile the other worker falls idle
        if url.endswith(("/3", "/4")):
            both_at_once.wait(10)
        return b"1"

    with _scheduler(send, max_concurrency=2) as scheduler:
        requests = [_pending(f"/{number}") for number in range(5)]
        for each in requests:
            scheduler.submit(each)
        _wait_for_all(scheduler, requests)
        assert [each.outcome for each in requests] == [b"1"] * 5


def test_the_limit_never_falls_below_one() -> None:
    problem = TransientError("HTTP 503")
    with _scheduler(lambda _: problem, max_concurrency=2, max_retries=9) as scheduler:
        pending = _pending("/teams")
        scheduler.submit(pending)
        assert scheduler.wait(pending, timeout=10)
        assert pending.tries == 10


def test_waiting_for_one_of_several() -> None:
    slow = Held()

    def send(url: str) -> Outcome:
        return slow(url) if url.endswith("/slow") else b"1"

    with _scheduler(send) as scheduler:
        requests = [_pending("/slow"), _pending("/fast")]
        for each in requests:
            scheduler.submit(each)
        scheduler.wait(*requests)
        assert [each.is_done for each in requests] == [False, True]
        scheduler.wait(*requests)  # it is there already
        slow.is_released.set()
        scheduler.wait(requests[0])
        assert requests[0].is_done


def test_several_callers_wait_for_the_same_request() -> None:
    send = Held()
    with _scheduler(send) as scheduler:
        pending = _pending("/teams")
        callers = [threading.Thread(target=scheduler.wait, args=(pending,)) for _ in range(5)]
        scheduler.submit(pending)
        for each in callers:
            each.start()
        send.is_released.set()
        for each in callers:
            each.join(10)
            assert not each.is_alive()


def test_what_a_worker_did_not_expect_is_raised_where_somebody_waits() -> None:
    bug = RuntimeError("a bug")

    def send(_url: str) -> Outcome:
        raise bug

    with _scheduler(send) as scheduler:
        pending = _pending("/teams")
        scheduler.submit(pending)
        with pytest.raises(RuntimeError) as caught:
            scheduler.wait(pending)
        assert caught.value is bug
        with pytest.raises(RuntimeError, match="a bug"):
            scheduler.wait(_pending("/another"))


def test_a_cancelled_request_is_not_sent() -> None:
    send = Held()
    with _scheduler(send, max_concurrency=1) as scheduler:
        first, second, third = requests = [_pending(f"/{number}") for number in range(3)]
        for each in requests:
            scheduler.submit(each)
        scheduler.cancel(second)
        send.is_released.set()
        _wait_for_all(scheduler, [first, third])
        assert second.state is RequestState.CANCELLED
        assert scheduler.waiting_for == ""
    assert [url[-1] for url in send.urls] == ["0", "2"]


@pytest.mark.parametrize("outcome", [b"1", TransientError("HTTP 503")])
def test_the_response_to_a_cancelled_request_is_ignored(outcome: Outcome) -> None:
    send = Held(outcome)
    with _scheduler(send, max_concurrency=1) as scheduler:
        cancelled, another = _pending("/cancelled"), _pending("/another")
        scheduler.submit(cancelled)
        _until(lambda: bool(send.urls))
        scheduler.cancel(cancelled)
        scheduler.submit(another)
        send.is_released.set()
        scheduler.wait(another)
        assert (cancelled.state, cancelled.outcome) == (RequestState.CANCELLED, None)
        assert cancelled.tries == 1


def test_closing_waits_for_nobody_and_nothing_is_sent_afterwards() -> None:
    send = Held()
    scheduler = RequestScheduler(send, max_concurrency=1, max_retries=2, tuning=SHORT)
    in_flight, queued, late = requests = [_pending(f"/{number}") for number in range(3)]
    scheduler.submit(in_flight)
    scheduler.submit(queued)
    _until(lambda: bool(send.urls))
    raised: list[str] = []

    def wait() -> None:
        try:
            scheduler.wait(in_flight)
        except RuntimeError as error:
            raised.append(str(error))

    caller = threading.Thread(target=wait)
    caller.start()
    scheduler.close()
    caller.join(10)
    assert raised == ["closed while a request was waited for"]
    scheduler.submit(late)
    with pytest.raises(RuntimeError, match="closed"):
        scheduler.wait(late)
    send.is_released.set()
    _until(lambda: in_flight.state is RequestState.CANCELLED)
    assert [each.state for each in requests] == [RequestState.CANCELLED] * 3
    assert scheduler.requests_sent == len(send.urls) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no POSIX signals")
def test_a_signal_handler_that_raises_ends_the_wait_and_locks_nothing() -> None:
    def stop(*_: object) -> None:
        raise InterruptedError("by a signal")

    send = Held()
    before = signal.signal(signal.SIGINT, stop)
    try:
        with _scheduler(send) as scheduler:
            pending = _pending("/teams")
            scheduler.submit(pending)
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
            with pytest.raises(InterruptedError, match="by a signal"):
                scheduler.wait(pending)
            assert scheduler.waiting_for == "GET /teams"
            send.is_released.set()
            scheduler.wait(pending)
            assert pending.outcome == b"1"
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_is_waited_for() -> None:
    send = Held()
    with _scheduler(send) as scheduler:
        assert scheduler.waiting_for == ""
        requests = [_pending(f"/{number}") for number in range(3)]
        for each in requests:
            scheduler.submit(each)
        _until(lambda: len(send.urls) == 3)
        assert scheduler.waiting_for == "GET /0 and 2 more"
        send.is_released.set()
        _wait_for_all(scheduler, requests)
        assert scheduler.waiting_for == ""


def test_a_retry_is_what_is_waited_for() -> None:
    problem = TransientError("HTTP 503")
    with _scheduler(lambda _: problem, max_retries=20, tuning=Tuning()) as scheduler:
        scheduler.submit(_pending("/teams"))
        _until(lambda: scheduler.waiting_for.startswith("the retry of GET /teams, in "))


def test_an_idle_worker_holds_no_body() -> None:
    dropped: list[int] = []

    class Body(bytes):
        __slots__ = ()

        def __del__(self) -> None:
            dropped.append(len(self))

    with _scheduler(lambda _: Body(b"12345")) as scheduler:
        pending = _pending("/teams")
        scheduler.submit(pending)
        scheduler.wait(pending)
        scheduler.release(pending)
        del pending
        _until(lambda: dropped == [5])


def test_a_worker_that_cannot_wait_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    wait = threading.Condition.wait

    def cannot_wait(condition: threading.Condition, timeout: float | None = None) -> bool:
        if threading.current_thread() is threading.main_thread():
            return wait(condition, timeout)
        raise RuntimeError("can't allocate lock")

    monkeypatch.setattr(threading.Condition, "wait", cannot_wait)
    scheduler = RequestScheduler(lambda _: b"{}", max_concurrency=1, max_retries=0, tuning=Tuning())
    first, second = PendingRequest("url", "/a"), PendingRequest("url", "/b")
    scheduler.submit(first)
    assert scheduler.wait(first, timeout=60)
    scheduler.submit(second)
    with pytest.raises(RuntimeError, match="can't allocate lock"):
        scheduler.wait(second, timeout=60)
    scheduler.close()
