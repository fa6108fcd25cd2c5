"""Large bodies: how many are there at once, and that none of them blocks another."""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tap_compose.api import workers
from tap_compose.api.budget import BodySizes
from tap_compose.api.client import Client, Request
from tap_compose.api.errors import ApiError, TransientError
from tap_compose.api.scheduler import PendingRequest, RequestScheduler, Tuning
from tap_compose.api.transport import RequestsTransport
from tests.tap_runs import peak_mib, piped
from tests.wire_server import kept, wire_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.wire_server import Asked

Outcome = bytes | ApiError
BODY = bytes(8 << 20)
FIT = 7
"""So many such bodies may be there: an eighth of the budget is kept for others that grow."""

SHORT = Tuning(longest_backoff=0.02)


def _scheduler(send: Callable[[str], Outcome]) -> RequestScheduler:
    return RequestScheduler(send, max_concurrency=64, max_retries=3, tuning=SHORT)


def _requests(count: int, estimate: int = len(BODY)) -> list[PendingRequest]:
    sizes = BodySizes()
    sizes.estimate = estimate
    paths = [f"/{place}" for place in range(count)]
    return [PendingRequest(f"https://api.example{path}", path, sizes) for path in paths]


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _read_all(scheduler: RequestScheduler, requests: list[PendingRequest]) -> None:
    for each in requests:
        assert scheduler.wait(each, timeout=60)
        assert each.outcome is BODY
        scheduler.release(each)


def _count_done(requests: list[PendingRequest]) -> int:
    return sum(each.is_done for each in requests)


def test_no_more_is_sent_than_there_is_room_for() -> None:
    with closing(_scheduler(lambda _: BODY)) as scheduler:
        requests = _requests(20)
        for each in requests:
            scheduler.submit(each)
        for place, each in enumerate(requests):
            _until(lambda place=place: _count_done(requests) == min(place + FIT, 20))  # type: ignore[misc]
            assert scheduler.requests_sent == min(place + FIT, 20)
            assert scheduler.waiting_for == ""
            _read_all(scheduler, [each])


def test_small_bodies_make_room_for_all_requests() -> None:
    everyone = threading.Barrier(64)

    def send(url: str) -> Outcome:
        if int(url.rpartition("/")[2]) >= 100:
            everyone.wait(60)
        return b"1"

    with closing(_scheduler(send)) as scheduler:
        requests = _requests(164, estimate=3 << 20)
        for batch in (requests[:100], requests[100:]):
            for each in batch:
                scheduler.submit(each)
            for each in batch:
                assert scheduler.wait(each, timeout=60)


def test_cancelled_requests_hold_nothing() -> None:
    with closing(_scheduler(lambda _: BODY)) as scheduler:
        for _ in range(2):
            requests = _requests(FIT)
            for each in requests:
                scheduler.submit(each)
            _until(lambda requests=requests: _count_done(requests) == FIT)  # type: ignore[misc]
            for each in requests:
                scheduler.cancel(each)


@pytest.mark.parametrize("threads", [0, 8])
def test_what_is_waited_for_is_sent_although_later_bodies_take_all_the_room(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not threads:
        monkeypatch.setattr(workers.Workers, "start_another", lambda *_: False)
    tries: list[str] = []

    def send(url: str) -> Outcome:
        tries.append(url)
        if url.endswith("/0") and tries.count(url) < 3:
            return TransientError("HTTP 503", retry_after=0.2)
        return BODY

    with closing(_scheduler(send)) as scheduler:
        requests = _requests(20)
        for each in requests:
            scheduler.submit(each)
        if threads:
            _until(lambda: _count_done(requests) == FIT)
            assert not requests[0].is_done
        _read_all(scheduler, requests)
        assert requests[0].tries == 3


def test_an_unreadable_body_holds_nothing_until_it_is_sent_again() -> None:
    with closing(_scheduler(lambda _: BODY)) as scheduler:
        requests = _requests(20)
        for each in requests:
            scheduler.submit(each)
        for _ in range(3):
            assert scheduler.wait(requests[0], timeout=60)
            assert scheduler.retry(requests[0], TransientError("unreadable"))
        _read_all(scheduler, requests)


def test_a_body_that_finds_no_room_is_sent_again_and_one_waited_for_is_not() -> None:
    """All are thought to be small, and then all of them grow at once."""
    everyone = threading.Barrier(20)
    sent: list[str] = []

    def send(url: str) -> Outcome:
        sent.append(url)
        if sent.count(url) == 1:
            everyone.wait(60)
        for size in range(1 << 20, len(BODY) + 1, 1 << 20):
            scheduler.receive(size)
        return BODY

    scheduler = _scheduler(send)
    with closing(scheduler):
        requests = _requests(20, estimate=1000)
        for each in requests:
            scheduler.submit(each)
        _until(lambda: len(sent) == 20 and scheduler.waiting_for == "")
        assert 0 < _count_done(requests) < 20
        _read_all(scheduler, requests)
        assert [each.tries for each in requests] == [1] * 20
        assert scheduler.requests_sent == len(sent) > 20


def test_bodies_of_unexpected_size_over_http() -> None:
    """Small bodies first, then many large ones at once: each arrives whole, and is no retry."""
    large = b"x" * (6 << 20)

    def respond(asked: Asked) -> bytes:
        return kept(b"1" if int(asked.path[1:]) < 60 else large)

    with wire_server(respond) as server:
        url = f"http://{server.address}"
        transport = RequestsTransport(url, "token", user_agent="test", max_concurrency=64)
        client = Client(transport, url, token_for_masking="token", max_concurrency=64)
        with closing(client):
            responses = client.get_many(Request(f"/{place}", len) for place in range(100))
            sizes = [result for _, result in responses]
        assert sizes == [1] * 60 + [len(large)] * 40
        assert (responses.requests, responses.retries) == (100, 0)


PAGE = '{"id":"%024x","name":"%s","template":"%s","status":"complete","_embedded":{"recipes":[]}}'


def _respond(asked: Asked) -> bytes:
    path = asked.path.partition("?")[0]
    if path.endswith("/recipes"):
        return _RECIPES
    if path == "/deployments":
        entries = [{"id": f"{place:024x}", "account_id": "a"} for place in range(100)]
        return kept(json.dumps({"_embedded": {"deployments": entries}}).encode())
    return kept(json.dumps({"_embedded": {"accounts": [{"id": "a"}]}}).encode())


_RECIPES = kept(
    b'{"_embedded":{"recipes":[%s]}}'
    % ",".join(PAGE % (place, "n" * 300, "t" * 200) for place in range(5000)).encode()
)
"""A body of 3 MB."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("pause", [0, 8])
@pytest.mark.parametrize("max_concurrency", [8, 16, 64])
def test_memory_with_large_bodies(max_concurrency: int, pause: float, tmp_path: Path) -> None:
    """Also with a target that does not read for some seconds."""
    with wire_server(_respond) as server:
        config = {
            "api_url": f"http://{server.address}",
            "api_token": "token",
            "max_concurrency": max_concurrency,
        }
        with piped(tmp_path, config, "deployment_recipes") as tap:
            assert tap.stdout is not None
            records, peak = 0, 0.0
            for line in tap.stdout:
                records += line.startswith(b'{"type":"RECORD"')
                if records == 1:
                    time.sleep(pause)
                if records % 5000 == 0:
                    peak = peak_mib(tap.pid)
    assert tap.returncode == 0
    assert records == 500_000
    sys.stdout.write(f"peak: {peak:.0f} MiB\n")
    assert peak < 140
