"""Results in order or as they complete: retries, shared bodies, and what ends a run."""

from __future__ import annotations

import gc
import logging
import re
import sys
import threading
import time
from contextlib import contextmanager
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
import requests
import responses

from tap_compose.api import hal
from tap_compose.api.client import Client, CompletedRequests, Pending, Request
from tap_compose.api.errors import (
    ApiError,
    DeniedError,
    GoneError,
    RejectedError,
    RunEndingError,
    TransientError,
    UnreadableBodyError,
)
from tap_compose.api.transport import Transport
from tests.support.clients import TOKEN, get, numbered, open_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

URL = "https://api.example/2016-07"
ACCOUNTS = b'{"_embedded": {"accounts": []}}'
BROKEN = requests.ConnectionError("reset")

Response = bytes | int | Exception | tuple[int, dict[str, str], bytes]
"""A body, a status, what is raised instead of a response, or status, headers and body."""


@contextmanager
def _client(
    respond: Callable[[str], Response], **settings: Any
) -> Iterator[tuple[Client, list[str]]]:
    """Run a client against an API; return the paths of its requests too."""
    paths: list[str] = []

    def send(request: requests.PreparedRequest) -> Any:
        path = str(request.url).removeprefix(URL)
        paths.append(path)
        response = respond(path)
        if isinstance(response, int):
            return response, {}, f'{{"errors": "no {TOKEN}"}}'
        return (200, {}, response) if isinstance(response, bytes) else response

    settings = {"max_retries": 2, "max_concurrency": 8, **settings}
    with (
        responses.RequestsMock(assert_all_requests_are_fired=False) as api,
        open_client(URL, **settings) as client,
    ):
        api.add_callback(responses.GET, re.compile(re.escape(URL)), send)
        yield client, paths


def _stored(**stored: Response | list[Response]) -> Callable[[str], Response]:
    """Respond to each path with what it has in store; the last response stays."""
    queues = {
        f"/{name}": chain(each, repeat(each[-1])) if isinstance(each, list) else repeat(each)
        for name, each in stored.items()
    }
    return lambda path: next(queues[path])


def _echo(path: str) -> bytes:
    """Respond with the number at the end of a path."""
    return path.rpartition("/")[2].encode()


def _json(path: str, **arguments: Any) -> Request[Any]:
    return Request(path, hal.decode, **arguments)


def _results(responses: Iterable[tuple[Request[Any], Any]]) -> list[Any]:
    """Results, of errors the type."""
    return [type(each) if isinstance(each, ApiError) else each for _, each in responses]


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# One


def test_retries_wait_by_full_jitter(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    waits: list[float] = []
    stored = _stored(teams=[*[BROKEN] * 2, *[b"<html>"] * 6, 503, b"[1]"])
    with _client(stored, max_retries=9, longest_backoff=60) as (client, paths):
        monkeypatch.setattr("backoff._sync.time.sleep", waits.append)
        results = client.get_many([_json("/teams")])
        assert _results(results) == [[1]]
        assert (results.requests, results.retries, len(paths)) == (10, 9, 10)
    assert len({*waits}) == 9
    bounds = [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert all(0 < wait < most for wait, most in zip(waits, bounds, strict=True))
    problems = [
        *["no complete response from api.example: reset"] * 2,
        *["HTTP 200 with a body that is not JSON"] * 6,
        "HTTP 503 Service Unavailable: no ***",
    ]
    assert caplog.messages == [
        f"GET /teams: {problem}; retry {number + 1} of 9 in {wait:.1f} s"
        for number, (problem, wait) in enumerate(zip(problems, waits, strict=True))
    ]


def test_a_wrong_shape_is_requested_twice_more_on_new_connections(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    problem = "HTTP 200 with a body without a list of teams"
    renew = Mock()
    with _client(_stored(teams=[b"{}", 503, b"{}"]), max_retries=8) as (client, paths):
        monkeypatch.setattr(Transport, "forget_connections", renew)
        with pytest.raises(UnreadableBodyError, match=f"^{re.escape(problem)}$"):
            get(client, Request("/teams", lambda body: hal.embedded(hal.decode(body), "teams")))
    assert (len(paths), renew.call_count) == (4, 3)
    again = [each for each in caplog.messages if "retry" not in each]
    assert again == [f"GET /teams: {problem}; sent again"] * 2


def test_retry_after_pauses_all_requests(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pause = (429, {"Retry-After": "3600"}, b"")
    with _client(lambda _: pause, max_concurrency=2) as (client, paths):
        completed: CompletedRequests[Any] = client.as_completed()
        completed.add(_json("/0"))
        _until(lambda: "; retry 1 of 2 in 3" in caplog.text)  # 3600 s, less what passed
        completed.add(_json("/1"))
        time.sleep(0.05)
    assert paths == ["/0"]


@pytest.mark.parametrize("bug", [KeyError("made up"), StopIteration("made up")])
def test_a_bug_in_a_worker_fails_the_request_that_met_it(bug: Exception) -> None:
    with _client(lambda path: bug if path == "/7" else _echo(path)) as (client, paths):
        results = [result for _, result in client.get_many(numbered(26))]
    message = f"unexpected {type(bug).__name__}: {bug}; LOGLEVEL=DEBUG shows where"
    assert (type(results[7]), str(results[7])) == (ApiError, message)
    assert results[:7] + results[8:] == [*range(7), *range(8, 26)]
    assert len(paths) == 26


def test_nothing_is_sent_once_closed() -> None:
    threads = {*sys._current_frames()}
    with _client(_echo) as (client, paths):
        assert get(client, _json("/1")) == 1
        client.close()
        with pytest.raises(RunEndingError, match="^the client is closed$"):
            get(client, _json("/2"))
    assert paths == ["/1"]
    _until(lambda: {*sys._current_frames()} <= threads)


# Many, in order


def test_results_come_in_the_order_of_the_requests() -> None:
    in_flight: set[int] = set()
    most = 0
    three = threading.Barrier(3)

    def respond(path: str) -> Response:
        nonlocal most
        number = int(path[1:])
        in_flight.add(number)
        most = max(most, len(in_flight))
        if number < 3:
            three.wait(10)
        time.sleep((number * 7 % 5) / 200)
        in_flight.remove(number)
        return 404 if number == 17 else _echo(path)

    with _client(respond, max_concurrency=3) as (client, _):
        results = _results(client.get_many(numbered(40)))
    assert results == [*range(17), GoneError, *range(18, 40)]
    assert most == 3


def test_nothing_is_left_of_a_request_that_was_read() -> None:
    """No circle keeps a body until the next garbage collection."""

    def left() -> int:
        return sum(isinstance(each, Pending) for each in gc.get_objects())

    with _client(_echo) as (client, _):
        gc.collect()
        gc.disable()
        try:
            before = left()  # of other tests
            assert _results(client.get_many(numbered(8))) == list(range(8))
            assert left() <= before
        finally:
            gc.enable()


# Bodies with several readers


def test_a_body_is_fetched_once_for_all_its_readers_and_then_dropped() -> None:
    with _client(lambda path: path[-1:].encode()) as (client, paths):
        wanted = [_json("/teams", params={"n": str(number)}, readers=3) for number in (1, 2)]
        for reader in range(3):
            results = client.get_many(wanted)
            assert _results(results) == [1, 2]
            assert results.requests == 2 * (reader == 0)
        assert paths == ["/teams?n=1", "/teams?n=2"]
        get(client, wanted[0])
        assert len(paths) == 3


def test_bodies_that_are_kept_for_a_second_reader_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What does not fit into half of the room is requested again."""
    monkeypatch.setattr("tap_compose.api.client.MOST_BYTES", 4000)
    body = b'"%s"' % bytes(998).replace(b"\0", b"x")
    wanted = [_json(f"/{number}", readers=2) for number in range(8)]
    with _client(lambda _: body) as (client, paths):
        for requested in (8, 8 + 6):
            assert _results(client.get_many(wanted)) == ["x" * 998] * 8
            assert len(paths) == requested


# What a 401 means


@pytest.mark.parametrize("path", ["/teams", "/accounts"])
def test_a_dead_token_ends_the_run(path: str) -> None:
    """A request that was accepted earlier proves nothing."""
    with _client(lambda path: b"0" if path == "/0" else 401) as (client, paths):
        assert get(client, _json("/0")) == 0
        with pytest.raises(RunEndingError) as caught:
            get(client, _json(path))
        assert str(caught.value) == (
            "the API rejects this api_token (HTTP 401 Unauthorized: no ***): it was mistyped or "
            "revoked; ask whoever runs the server for a new one (compose-sandbox prints its own)"
        )
        assert paths == list(dict.fromkeys(["/0", path, "/accounts"]))


PAGE = "HTTP 200 with a body that is not JSON"


@pytest.mark.parametrize(
    ("accounts", "problem"),
    [
        (ACCOUNTS, None),
        (403, None),
        (404, "HTTP 404 Not Found: no ***"),
        (b"<html>log in</html>", PAGE),
    ],
)
def test_a_refused_resource_is_denied_if_the_probe_proves_that_the_token_works(
    accounts: Response | list[Response], problem: str | None
) -> None:
    with _client(_stored(teams=401, accounts=accounts)) as (client, _):
        (_, error), *_ = client.get_many([_json("/teams")])
    message = "HTTP 401 Unauthorized: no ***"
    if problem is None:
        assert (type(error), str(error)) == (DeniedError, message)
    else:
        message += f"; could not check whether the token works: {problem}"
        assert (type(error), str(error)) == (RejectedError, message)


def test_a_later_request_that_is_accepted_needs_no_probe() -> None:
    first, fourth = threading.Event(), threading.Event()

    def respond(path: str) -> Response:
        if path == "/0":  # refused when requests that were sent after it have been answered
            first.set()
            assert fourth.wait(10)
            return 401
        assert first.wait(10)
        if path == "/3":  # /2 was answered before
            fourth.set()
        return _echo(path)

    with _client(respond, max_concurrency=2) as (client, paths):
        assert _results(client.get_many(numbered(4))) == [DeniedError, 1, 2, 3]
    assert sorted(paths) == ["/0", "/1", "/2", "/3"]


def test_refusals_of_one_moment_share_a_probe() -> None:
    everyone = threading.Barrier(16)

    def respond(path: str) -> Response:
        if path == "/accounts":
            _until(lambda: len(client._refused) == 16)
            return ACCOUNTS
        everyone.wait(10)
        return 401

    with _client(respond, max_concurrency=16) as (client, paths):
        for probes in (1, 2):
            assert _results(client.get_many(numbered(16))) == [DeniedError] * 16
            assert paths.count("/accounts") == probes


# No response


@pytest.mark.parametrize("accounts", [BROKEN, 500, ACCOUNTS])
def test_a_run_ends_if_eight_requests_and_a_probe_get_no_response(accounts: Response) -> None:
    def respond(path: str) -> Response:
        if path == "/accounts":
            return accounts
        return b"0" if path == "/0" else BROKEN

    with _client(respond, max_retries=0, max_concurrency=1) as (client, paths):
        results = client.get_many(numbered(24))
        if accounts is BROKEN:
            ending = "; nothing responds at api.example: "
            with pytest.raises(RunEndingError, match=ending):
                list(results)
        else:
            assert _results(results) == [0, *[TransientError] * 23]
            assert paths.count("/accounts") == 2
        assert paths.index("/accounts") >= 9
