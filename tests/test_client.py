"""Results in order or as they complete: retries, shared bodies, and what ends a run."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tap_compose.api import hal
from tap_compose.api.client import Client, CompletedRequests, Request
from tap_compose.api.errors import (
    ApiError,
    DeniedError,
    GoneError,
    RejectedError,
    RunEndingError,
    TokenRejectedError,
    TransientError,
    UnreachableError,
    UnreadableBodyError,
)
from tap_compose.api.scheduler import Tuning
from tap_compose.api.transport import (
    BrokenConnectionError,
    CertificateError,
    NoConnectionError,
    RequestsTransport,
    Response,
    TransportError,
)
from tap_compose.sandbox.account import Size
from tap_compose.sandbox.server import Sandbox
from tests.raw_server import http, raw_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

URL = "https://api.example/2016-07"
TOKEN = "a-token-for-tests"
SHORT = Tuning(longest_backoff=0.02, silent_failures=3)
ACCOUNTS = b'{"_embedded": {"accounts": []}}'

FakeResponse = bytes | int | TransportError
"""A body, a status, or what goes wrong."""


class FakeTransport:
    """Answers by a function of the path, or by what a path has in store: the last one stays.

    Attributes:
        paths: What was requested, with parameters.
    """

    def __init__(
        self,
        responses: Callable[[str], FakeResponse] | dict[str, FakeResponse | list[FakeResponse]],
    ) -> None:
        self.paths: list[str] = []
        self.is_closed = False
        self._responses = responses
        self._lock = threading.Lock()

    def get(self, url: str, timeout: float, _receive: object = None) -> Response:
        assert timeout == 5
        path = url.removeprefix(URL)
        with self._lock:
            self.paths.append(path)
        if callable(self._responses):
            answer = self._responses(path)
        else:
            stored = self._responses[path]
            if isinstance(stored, list):
                answer = stored.pop(0) if len(stored) > 1 else stored[0]
            else:
                answer = stored
        if isinstance(answer, TransportError):
            raise answer
        if isinstance(answer, int):
            return Response(answer, {}, f'{{"errors": "no {TOKEN}"}}'.encode())
        return Response(200, {}, answer)

    def renew_connections(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


@contextmanager
def _client(
    responses: Callable[[str], FakeResponse] | dict[str, FakeResponse | list[FakeResponse]],
    *,
    max_retries: int = 2,
    max_concurrency: int = 8,
) -> Iterator[tuple[Client, FakeTransport]]:
    transport = FakeTransport(responses)
    client = Client(
        transport,
        URL,
        token_for_masking=TOKEN,
        timeout=5,
        max_retries=max_retries,
        max_concurrency=max_concurrency,
        tuning=SHORT,
    )
    with closing(client):
        yield client, transport


def _json(path: str, **arguments: Any) -> Request[Any]:
    return Request(path, hal.decode, **arguments)


def _numbered(count: int) -> list[Request[Any]]:
    return [_json(f"/{number}", context=number) for number in range(count)]


def _results(responses: Iterable[tuple[Request[Any], Any]]) -> list[Any]:
    """Results, of errors the type, and never one under another request's number."""
    results = []
    for request, result in responses:
        if request.context is not None and not isinstance(result, ApiError):
            assert result == request.context
        results.append(type(result) if isinstance(result, ApiError) else result)
    return results


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# One


def test_one_result() -> None:
    with _client(lambda _: b"[1]") as (client, transport):
        assert client.get(_json("/teams", params={"older_than": "2017 +01:00", "limit": "1"})) == [
            1
        ]
        assert client.requests_sent == 1
        assert client.waiting_for == ""
    assert transport.paths == ["/teams?older_than=2017+%2B01%3A00&limit=1"]
    assert transport.is_closed


@pytest.mark.parametrize(
    ("status", "kind", "tries"),
    [
        (400, RejectedError, 1),
        (403, DeniedError, 1),
        (404, GoneError, 1),
        (410, GoneError, 1),
        (302, RejectedError, 1),
        (408, TransientError, 3),
        (429, TransientError, 3),
        (503, TransientError, 3),
        (204, TransientError, 3),
    ],
)
def test_status_to_outcome(status: int, kind: type[ApiError], tries: int) -> None:
    with _client(lambda _: status) as (client, transport):
        with pytest.raises(ApiError, match=f"^HTTP {status}") as caught:
            client.get(_json("/teams"))
        assert type(caught.value) is kind
        assert caught.value.status == status
        assert TOKEN not in str(caught.value)
        assert len(transport.paths) == client.requests_sent == tries


def _over_http(url: str, **settings: Any) -> Client:
    transport = RequestsTransport(url, TOKEN, user_agent="tests/1", max_concurrency=2)
    return Client(transport, url, token_for_masking=TOKEN, **settings)


def test_over_http() -> None:
    broken = iter([b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}"])
    with raw_server(lambda _: next(broken, http(b"[3]"))) as server:
        client = _over_http(server.url, tuning=SHORT)
        with closing(client):
            assert client.get(_json("/teams")) == [3]
    assert server.paths == ["/teams"] * 3
    assert server.headers[0]["User-Agent"] == "tests/1"
    assert server.headers[0]["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("retry_after", [None, 1])
def test_a_limited_rate_costs_no_results(
    retry_after: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Sandbox(Size(deployments=60), rate=50, retry_after=retry_after) as sandbox:
        transport = RequestsTransport(
            sandbox.url, sandbox.token, user_agent="tests/1", max_concurrency=16
        )
        client = Client(transport, sandbox.url, token_for_masking=sandbox.token, max_concurrency=16)
        ids = [each for each in sandbox.account.deployment_ids if each != sandbox.account.leaving]
        paths = [f"/deployments/{each}/alerts" for each in ids * 3]
        with closing(client):
            results = [result for _, result in client.get_many(map(_json, paths))]
        assert sandbox.rate_limit is not None
        assert sandbox.rate_limit.refused
    assert len(results) == len(paths)
    assert not [each for each in results if isinstance(each, ApiError)]
    assert sum("sent at the rate that it bears" in each for each in caplog.messages) == 1


def test_what_a_worker_did_not_expect_reaches_the_caller() -> None:
    def answer(_path: str) -> FakeResponse:
        raise RuntimeError("a bug")

    with _client(answer) as (client, _), pytest.raises(RuntimeError, match="a bug"):
        client.get(_json("/teams"))


def test_nothing_is_sent_once_closed() -> None:
    with _client(lambda _: b"1") as (client, transport):
        client.close()
        with pytest.raises(RuntimeError, match="closed"):
            client.get(_json("/teams"))
    assert transport.paths == []


# Many, in order


@pytest.mark.parametrize("max_concurrency", [1, 3, 16])
def test_results_come_in_the_order_of_the_requests(max_concurrency: int) -> None:
    def answer(path: str) -> FakeResponse:
        number = int(path[1:])
        time.sleep((number * 7 % 5) / 200)
        return 404 if number == 17 else path[1:].encode()

    with _client(answer, max_concurrency=max_concurrency) as (client, _):
        results = _results(client.get_many(_numbered(40)))
    assert results == [*range(17), GoneError, *range(18, 40)]


def test_requests_are_taken_as_there_is_room_for_their_results() -> None:
    taken: list[int] = []

    def requests() -> Iterator[Request[Any]]:
        for request in _numbered(1000):
            taken.append(request.context)
            yield request

    with _client(lambda path: path[1:].encode(), max_concurrency=4) as (client, _):
        responses = client.get_many(requests())
        assert [next(responses)[1] for _ in range(10)] == list(range(10))
        assert len(taken) <= 10 + 8


def test_retries_end_with_the_first_good_response() -> None:
    with _client({"/teams": [503, b"", b"[1]"]}) as (client, _):
        responses = client.get_many([_json("/teams")])
        assert _results(responses) == [[1]]
        assert (responses.requests, responses.retries) == (3, 2)
        assert client.requests_sent == 3


def test_an_unreadable_body_is_sent_again_and_then_the_result() -> None:
    with _client({"/teams": b"<html>", "/user": b"1"}) as (client, transport):
        responses = client.get_many([_json("/teams"), _json("/user")])
        (_, problem), (_, result) = responses
        assert type(problem) is TransientError
        assert (problem.status, str(problem)) == (200, "HTTP 200 with a body that is not JSON")
        assert result == 1
        assert (responses.requests, responses.retries) == (4, 2)
    assert transport.paths.count("/teams") == 3


def test_a_body_of_the_wrong_shape_is_sent_again_twice_at_most(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def read(body: bytes) -> list[Any]:
        return hal.embedded(hal.decode(body), "teams")

    responses: list[FakeResponse] = [503, b"{}", 503, b"{}", b"<html>", b"{}", b"unread"]
    with (
        caplog.at_level(logging.INFO),
        _client({"/teams": responses}, max_retries=8) as (client, _),
        pytest.raises(TransientError, match="^HTTP 200 with a body without a list of teams$"),
    ):
        client.get(Request("/teams", read))
    assert responses == [b"unread"]
    tries = [line.partition("; ")[2].partition(" in ")[0] for line in caplog.messages]
    assert tries == [f"retry {number} of {most}" for number, most in enumerate((8, 3, 8, 4, 8), 1)]


def test_the_next_responses_are_fetched_while_the_last_ones_are_taken() -> None:
    with _client(lambda path: path[-1:].encode(), max_concurrency=4) as (client, transport):
        first = client.get_many([_json("/first/1")])
        second = client.get_many(_json(f"/second/{number % 10}") for number in range(20))
        third = client.get_many([_json("/third/3")])
        first.prefetch_next(lambda: second)
        second.prefetch_next(lambda: third)
        assert next(first)[1] == 1
        _until(lambda: len(transport.paths) == 8)  # one was taken, and then there was room for 8
        assert "/third/3" not in transport.paths
        assert _results(second) == [number % 10 for number in range(20)]
        _until(lambda: "/third/3" in transport.paths)
        assert _results(third) == [3]
    assert len(transport.paths) == 22


# Bodies with several readers


def test_a_body_is_fetched_once_for_all_its_readers_and_then_dropped() -> None:
    dropped: list[int] = []

    class Body(bytes):
        __slots__ = ()

        def __del__(self) -> None:
            dropped.append(len(self))

    with _client(lambda _: Body(b"[1, 2]")) as (client, transport):
        for reader in range(1, 4):
            responses = client.get_many([_json("/teams", readers=3)])
            assert _results(responses) == [[1, 2]]
            assert responses.requests == (1 if reader == 1 else 0)
            if reader < 3:
                assert dropped == []
        _until(lambda: dropped == [6])
        assert transport.paths == ["/teams"]
        client.get(_json("/teams"))
        assert transport.paths == ["/teams"] * 2


def test_bodies_of_different_parameters_are_not_shared() -> None:
    with _client(lambda path: path[-1:].encode()) as (client, _):
        requests = [_json("/teams", params={"n": str(number)}, readers=2) for number in (1, 2)]
        assert _results(client.get_many(requests * 2)) == [1, 2, 1, 2]


def test_a_body_may_arrive_before_its_reader_has_finished_asking() -> None:
    requests = [_json("/teams"), _json("/accounts", readers=2)] * 2
    for _ in range(50):
        with _client({"/teams": b"1", "/accounts": b"2"}, max_concurrency=2) as (client, _):
            assert _results(client.get_many(requests)) == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("responses", "outcome", "sent"),
    [
        ([503, b"[1]"], [1], 2),
        ([b"<html>", b"[1]"], [1], 2),
        ([401], DeniedError, 1),
        ([b"[1]"], [1], 1),
        ([404], GoneError, 1),
        ([503], TransientError, 3),
    ],
)
def test_every_reader_gets_the_final_outcome(
    responses: list[FakeResponse], outcome: Any, sent: int
) -> None:
    with _client({"/accounts": ACCOUNTS, "/teams": responses}) as (client, transport):
        first = client.get_many([_json("/teams", readers=2)])
        first.fetch_ahead(1)
        _until(lambda: len(transport.paths) > 0)
        second = client.get_many([_json("/teams", readers=2)])
        assert _results([*second, *first]) == [outcome] * 2
        assert transport.paths.count("/teams") == sent
        assert second.requests + first.requests == sent
        assert second.retries + first.retries == sent - 1
        assert transport.paths.count("/accounts") == (outcome is DeniedError)


def test_two_readers_read_a_body_each_in_their_way() -> None:
    def never(_body: bytes) -> None:
        raise UnreadableBodyError("nothing for me")

    with _client(lambda _: b"[1]") as (client, transport):
        with pytest.raises(TransientError, match="^HTTP 200 with nothing for me$"):
            client.get(Request("/teams", never, readers=2))
        assert client.get(_json("/teams", readers=2)) == [1]
    assert transport.paths == ["/teams"] * 3


# Many, as they complete


def test_results_as_they_complete() -> None:
    slow = threading.Event()

    def answer(path: str) -> FakeResponse:
        if path == "/0":
            assert slow.wait(10)
        return path[1:].encode()

    with _client(answer, max_concurrency=3) as (client, _):
        completed: CompletedRequests[Any] = client.as_completed()
        assert (len(completed), completed.has_room, completed.is_ready) == (0, True, False)
        for request in _numbered(3):
            assert completed.has_room
            completed.add(request)
        assert (len(completed), completed.has_room) == (3, False)
        assert sorted(_results([completed.take(), completed.take()])) == [1, 2]
        assert (len(completed), completed.has_room, completed.is_ready) == (1, True, False)
        slow.set()
        _until(lambda: completed.is_ready)
        assert _results([completed.take()]) == [0]
        assert (completed.requests, completed.retries) == (3, 0)
        with pytest.raises(IndexError, match="no request is outstanding"):
            completed.take()


def test_of_those_that_are_there_the_oldest_is_first() -> None:
    with _client(lambda path: path[1:].encode(), max_concurrency=10) as (client, transport):
        completed: CompletedRequests[Any] = client.as_completed()
        for request in reversed(_numbered(10)):
            completed.add(request)
        _until(lambda: len(transport.paths) == 10 and not client.waiting_for)
        assert _results([completed.take() for _ in range(10)]) == list(range(9, -1, -1))


def test_others_complete_while_an_unreadable_body_is_sent_again() -> None:
    again = threading.Event()
    bodies = iter([b"<html>"])

    def answer(path: str) -> FakeResponse:
        if path == "/1":
            return b"1"
        body = next(bodies, b"0")
        if body == b"0":
            assert again.wait(10)
        return body

    with _client(answer) as (client, _):
        completed: CompletedRequests[Any] = client.as_completed()
        completed.add(_json("/0"))
        _until(lambda: completed.is_ready)
        completed.add(_json("/1"))
        assert _results([completed.take()]) == [1]
        again.set()
        assert _results([completed.take()]) == [0]
        assert (completed.requests, completed.retries) == (3, 1)


def test_errors_are_results_too() -> None:
    with _client(lambda _: 404) as (client, _):
        completed: CompletedRequests[Any] = client.as_completed()
        completed.add(_json("/0"))
        request, error = completed.take()
    assert request.path == "/0"
    assert type(error) is GoneError


def test_closing_cancels_what_is_outstanding_but_not_what_others_read() -> None:
    held = threading.Event()

    def answer(path: str) -> FakeResponse:
        assert held.wait(10)
        return path[-1:].encode()

    with _client(answer, max_concurrency=1) as (client, transport):
        completed: CompletedRequests[Any] = client.as_completed()
        for path, readers in (("/in-flight", 1), ("/shared/7", 2), ("/queued", 1)):
            completed.add(_json(path, readers=readers))
        _until(lambda: len(transport.paths) == 1)
        completed.close()
        assert (len(completed), completed.is_ready) == (0, False)
        held.set()
        assert client.get(_json("/shared/7", readers=2)) == 7
        assert client.get(_json("/last/8")) == 8
    assert transport.paths == ["/in-flight", "/shared/7", "/last/8"]


# What ends a run


def _completed(client: Client, path: str) -> object:
    completed: CompletedRequests[Any] = client.as_completed()
    completed.add(_json(path))
    return completed.take()


TAKE: list[Callable[[Client, str], object]] = [
    lambda client, path: client.get(_json(path)),
    lambda client, path: list(client.get_many([_json(path)])),
    _completed,
]


@pytest.mark.parametrize("take", TAKE, ids=["get", "get_many", "as_completed"])
def test_a_401_is_fatal_only_if_the_accounts_are_refused_too(
    take: Callable[[Client, str], object],
) -> None:
    with _client({"/teams": 401, "/accounts": 401}) as (client, transport):
        with pytest.raises(TokenRejectedError) as caught:
            take(client, "/teams")
        assert isinstance(caught.value, RunEndingError)
        assert str(caught.value) == (
            "the API rejects this api_token (HTTP 401 Unauthorized: no ***): it was mistyped or "
            "revoked; create a new one in the Compose console under Account > API Tokens"
        )
        assert transport.paths == ["/teams", "/accounts"]
        assert client.requests_sent == 1  # the probe does not count


def test_a_401_of_the_accounts_needs_no_probe() -> None:
    with _client({"/accounts": 401}) as (client, transport):
        with pytest.raises(TokenRejectedError):
            client.get(_json("/accounts"))
        assert transport.paths == ["/accounts"]


@pytest.mark.parametrize("accounts", [ACCOUNTS, 403, [503, ACCOUNTS]])
def test_a_401_of_a_live_token_is_denied(accounts: FakeResponse | list[FakeResponse]) -> None:
    with (
        _client({"/teams": 401, "/accounts": accounts}) as (client, _),
        pytest.raises(DeniedError, match="^HTTP 401 Unauthorized: no"),
    ):
        client.get(_json("/teams"))


def test_a_401_is_rejected_if_nothing_tells_whether_the_token_is_alive() -> None:
    with _client({"/teams": 401, "/accounts": 500}) as (client, transport):
        with pytest.raises(RejectedError) as caught:
            client.get(_json("/teams"))
        assert str(caught.value) == (
            "HTTP 401 Unauthorized: no ***; could not check whether the token works: "
            "HTTP 500 Internal Server Error: no ***"
        )
        assert transport.paths.count("/accounts") == 3


def test_a_probe_does_not_wait_for_a_free_slot() -> None:
    probed = threading.Event()

    def answer(path: str) -> FakeResponse:
        if path == "/accounts":
            probed.set()
            return ACCOUNTS
        if path == "/1":
            assert probed.wait(10)
            return b"1"
        return 401

    with _client(answer, max_concurrency=1) as (client, _):
        assert _results(client.get_many(_numbered(2))) == [DeniedError, 1]


def test_a_later_request_that_is_accepted_needs_no_probe() -> None:
    third = threading.Event()

    def respond(path: str) -> bytes:
        if path == "/0":  # refused when what was sent after it has long been answered
            assert third.wait(10)
            return http(b"", b"401 Unauthorized")
        if path == "/2":  # sent by the worker that has taken the answer to /1
            third.set()
        return http(path[1:].encode())

    with raw_server(respond) as server:
        client = _over_http(server.url, max_concurrency=2)
        with closing(client):
            assert _results(client.get_many(_numbered(4))) == [DeniedError, 1, 2, 3]
    assert sorted(server.paths) == ["/0", "/1", "/2", "/3"]


def test_an_earlier_request_that_is_accepted_proves_nothing() -> None:
    with _client({"/0": b"0", "/1": 401, "/accounts": 401}, max_concurrency=1) as (client, _):
        responses = client.get_many(_numbered(2))
        assert next(responses)[1] == 0
        with pytest.raises(TokenRejectedError):
            next(responses)


def test_refusals_of_one_moment_share_a_probe() -> None:
    everyone = threading.Barrier(16)

    def answer(path: str) -> FakeResponse:
        if path == "/accounts":
            return ACCOUNTS
        everyone.wait(10)
        return 401

    with _client(answer, max_concurrency=16) as (client, transport):
        for probes in (1, 2):
            assert _results(client.get_many(_numbered(16))) == [DeniedError] * 16
            assert transport.paths.count("/accounts") == probes


@pytest.mark.parametrize("take", TAKE, ids=["get", "get_many", "as_completed"])
def test_nobody_listening_ends_the_run(take: Callable[[Client, str], object]) -> None:
    nobody = NoConnectionError("no connection to api.example")
    with _client(lambda _: nobody) as (client, transport):
        with pytest.raises(UnreachableError) as caught:
            take(client, "/teams")
        assert isinstance(caught.value, RunEndingError)
        assert str(caught.value) == (
            "no connection to api.example; nothing responds at api.example: "
            "check api_url and the network"
        )
        assert transport.paths == ["/teams"] * 3


@pytest.mark.parametrize("accounts", [BrokenConnectionError("it broke"), 500, ACCOUNTS])
def test_silence_in_the_midst_of_a_run_ends_it_if_the_probe_is_not_answered(
    accounts: FakeResponse,
) -> None:
    def answer(path: str) -> FakeResponse:
        if path == "/accounts":
            return accounts
        return b"0" if path == "/0" else BrokenConnectionError("it broke")

    with _client(answer, max_retries=0, max_concurrency=1) as (client, transport):
        responses = client.get_many(_numbered(9))
        assert _results(next(responses) for _ in range(3)) == [0, TransientError, TransientError]
        if isinstance(accounts, TransportError):
            with pytest.raises(
                UnreachableError, match="^it broke; nothing responds at api.example"
            ):
                next(responses)
        else:
            assert _results(responses) == [TransientError] * 6
            assert transport.paths.count("/accounts") == 2


def test_a_silent_failure_counts_once_for_all_its_readers() -> None:
    broken = BrokenConnectionError("it broke")
    with _client({"/0": b"0", "/teams": broken}, max_retries=0) as (client, transport):
        requests = [_json("/0"), *[_json("/teams", readers=3)] * 3]
        assert _results(client.get_many(requests)) == [0, *[TransientError] * 3]
        assert "/accounts" not in transport.paths


def test_a_response_that_breaks_off_is_no_silence() -> None:
    cut = BrokenConnectionError("it broke", has_response=True)
    with _client(lambda _: cut, max_retries=0, max_concurrency=1) as (client, transport):
        assert _results(client.get_many(_numbered(9))) == [TransientError] * 9
    assert "/accounts" not in transport.paths


def test_an_untrusted_certificate_ends_the_run_at_once() -> None:
    problem = CertificateError("api.example", "self-signed certificate")
    with _client(lambda _: problem) as (client, transport):
        with pytest.raises(UnreachableError) as caught:
            client.get(_json("/teams"))
        assert str(caught.value) == "no secure connection to api.example: self-signed certificate"
        assert transport.paths == ["/teams"]
