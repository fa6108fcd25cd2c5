"""The client by itself: what an answer means, retries, Retry-After, order."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from contextlib import contextmanager
from decimal import Decimal
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import requests
import responses

from tap_compose.api import client as client_module
from tap_compose.api import hal
from tap_compose.api.client import Call, Client, _Pool, _Task
from tap_compose.api.errors import (
    ApiError,
    DeniedError,
    GoneError,
    RejectedError,
    TokenRejectedError,
    TransientError,
    UnreachableError,
    UnreadableBodyError,
    masked,
    retry_after,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

URL = "https://api.example/2016-07"
TOKEN = "a-token-for-tests"


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "LONGEST_BACKOFF", 0.02)


@contextmanager
def _client(url: str = URL, **settings: Any) -> Iterator[Client]:
    given = {"user_agent": "tests/1", "max_retries": 2, "timeout": 60.0, **settings}
    client = Client(url, TOKEN, **given)
    yield client
    client.close()


def _get(path: str = "/teams", **settings: Any) -> bytes:
    with _client(**settings) as client:
        return client.get(Call(path, bytes))


@responses.activate
def test_a_request_carries_token_user_agent_and_parameters() -> None:
    responses.get(f"{URL}/audit_events", body=b"{}")
    with _client() as client:
        client.get(Call("/audit_events", bytes, {"older_than": "2017-01-01T00:00:00+01:00"}))
    (call,) = responses.calls
    assert call.request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert call.request.headers["User-Agent"] == "tests/1"
    assert call.request.url == (f"{URL}/audit_events?older_than=2017-01-01T00%3A00%3A00%2B01%3A00")


def test_values_in_paths_are_percent_encoded() -> None:
    assert hal.url_path("/deployments/{}/alerts", "a/b?c=d&{e} f") == (
        "/deployments/a%2Fb%3Fc%3Dd%26%7Be%7D%20f/alerts"
    )


@responses.activate
@pytest.mark.parametrize(
    ("status", "kind", "tries"),
    [
        (400, RejectedError, 1),
        (402, RejectedError, 1),
        (403, DeniedError, 1),
        (404, GoneError, 1),
        (405, RejectedError, 1),
        (408, TransientError, 3),
        (410, GoneError, 1),
        (422, RejectedError, 1),
        (429, TransientError, 3),
        (500, TransientError, 3),
        (502, TransientError, 3),
        (503, TransientError, 3),
        (504, TransientError, 3),
        (204, TransientError, 3),
        (301, RejectedError, 1),
        (307, RejectedError, 1),
    ],
)
def test_status_to_outcome(status: int, kind: type[ApiError], tries: int) -> None:
    body = "" if status == 204 else '{"errors": {"id": ["is odd"]}}'
    responses.get(f"{URL}/teams", status=status, body=body, headers={"Location": "/"})
    with pytest.raises(ApiError) as caught:
        _get()
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert str(caught.value).startswith(f"HTTP {status}")
    assert len(responses.calls) == tries


@responses.activate
def test_a_401_is_fatal_only_if_the_accounts_are_refused_too() -> None:
    responses.get(f"{URL}/teams", status=401, json={"errors": "invalid_token"})
    accounts = responses.get(f"{URL}/accounts", json={"_embedded": {"accounts": []}})
    with pytest.raises(DeniedError):
        _get()
    assert accounts.call_count == 1
    responses.replace(responses.GET, f"{URL}/accounts", status=401)
    with pytest.raises(TokenRejectedError, match="make a new one in the Compose console"):
        _get()
    responses.replace(responses.GET, f"{URL}/accounts", status=500)
    with pytest.raises(RejectedError, match="whether the token is alive could not be told"):
        _get()


def test_refusals_of_one_moment_share_a_probe() -> None:
    everyone = threading.Barrier(20)
    probes: list[str] = []

    def answer(path: str) -> bytes:
        if path == "/accounts":
            probes.append(path)
            return _http(b'{"_embedded": {"accounts": []}}')
        everyone.wait(60)
        return _http(b"", status=b"401 Unauthorized")

    with _server(answer) as url, _client(url, max_concurrency=20) as client:
        answers = client.get_many(Call(f"/{number}", bytes) for number in range(20))
        assert [type(each) for each in answers] == [DeniedError] * 20
    assert len(probes) == 1


@responses.activate
def test_retries_end_with_the_first_good_answer() -> None:
    responses.get(f"{URL}/teams", status=503)
    responses.get(f"{URL}/teams", body=b"")
    responses.get(f"{URL}/teams", body=b"[1]")
    with _client() as client:
        answers = client.get_many([Call("/teams", hal.decode)])
        assert list(answers) == [[1]]
        assert (answers.requests, answers.retries) == (3, 2)


@responses.activate
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "an empty body"),
        (b"<html>maintenance</html>", "a body that is no JSON"),
        (b'{"_embedded": {"teams": [', "a body that is no JSON"),
        (b"[]", "a body without a list of teams"),
        (b'{"_embedded": null}', "a body without a list of teams"),
        (b'{"_embedded": {"teams": null}}', "a body without a list of teams"),
        (b'{"teams": []}', "a body without a list of teams"),
    ],
)
def test_a_body_of_the_wrong_shape_is_tried_again(body: bytes, said: str) -> None:
    answer = responses.get(f"{URL}/teams", body=body)
    with pytest.raises(TransientError, match=f"HTTP 200 with {said}"), _client() as client:
        client.get(Call("/teams", _teams))
    assert answer.call_count == 3


def test_single_objects() -> None:
    assert hal.single({"id": 1}) == {"id": 1}
    wrong: list[Any] = [[], {}, None, "text"]
    for body in wrong:
        with pytest.raises(UnreadableBodyError):
            hal.single(body)


def test_what_python_forgives_is_forgiven() -> None:
    assert hal.decode(b'{"a": NaN, "b": -Infinity, "c": 1.10}') == {
        "a": None,
        "b": None,
        "c": Decimal("1.10"),
    }
    assert hal.decode(b'["\\ud800", "\xff"]') == ["�", "�"]
    assert hal.decode(b'"\\ud83d\\ude00"') == "😀"


def test_retry_after_in_both_forms() -> None:
    assert retry_after("7") == 7
    assert retry_after("0.5") == 0.5
    assert retry_after(formatdate(time.time() + 30, usegmt=True)) == pytest.approx(30, abs=20)
    assert retry_after(formatdate(time.time() - 30, usegmt=True)) == 0
    assert retry_after("-4") == 0
    assert retry_after("999999") == 3600
    assert [retry_after(each) for each in (None, "", "soon", "nan")] == [None] * 4


@responses.activate
def test_retry_after_pauses_every_request() -> None:
    sent: list[float] = []

    def answer(_request: Any) -> tuple[int, dict[str, str], str]:
        sent.append(time.monotonic())
        return (429, {"Retry-After": "0.4"}, "") if len(sent) == 1 else (200, {}, "1")

    for number in range(4):
        responses.add_callback(responses.GET, f"{URL}/{number}", answer)
    with _client(max_concurrency=1) as client:
        calls = [Call(f"/{number}", hal.decode) for number in range(4)]
        assert list(client.get_many(calls)) == [1, 1, 1, 1]
    assert len(sent) == 5
    assert sent[1] - sent[0] >= 0.39


@responses.activate
def test_answers_come_in_the_order_of_the_calls() -> None:
    def answer(request: Any) -> tuple[int, dict[str, str], str]:
        number = int(request.url.rsplit("/", 1)[1])
        time.sleep((number * 7 % 5) / 200)
        return 200, {}, str(number)

    for number in range(40):
        responses.add_callback(responses.GET, f"{URL}/{number}", answer)
    for concurrency in (1, 3, 16):
        with _client(max_concurrency=concurrency) as client:
            calls = (Call(f"/{number}", hal.decode) for number in range(40))
            assert list(client.get_many(calls)) == list(range(40))


def test_calls_are_taken_as_there_is_room_for_their_answers() -> None:
    taken: list[int] = []

    def calls() -> Iterator[Call[Any]]:
        for number in range(1000):
            taken.append(number)
            yield Call(f"/{number}", hal.decode)

    with _server(lambda _path: _http(b"1")) as url, _client(url, max_concurrency=4) as client:
        answers = client.get_many(calls())
        for _ in range(10):
            assert next(answers) == 1
        assert len(taken) <= 10 + 8
        answers.close()


@responses.activate
def test_a_call_that_a_worker_takes_at_once_has_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def put(pool: _Pool, task: _Task, wait: float = 0.0) -> None:
        into_pool(pool, task, wait)
        time.sleep(0.02)  # the worker is ahead of whoever handed it the call

    into_pool = _Pool.put
    monkeypatch.setattr(_Pool, "put", put)
    responses.get(f"{URL}/teams", body=b"[1]")
    responses.get(f"{URL}/accounts", body=b"[2]")
    with _client() as client:
        calls: list[Call[Any]] = [
            Call("/teams", hal.decode),
            Call("/accounts", hal.decode, shared=True),
        ]
        assert list(client.get_many(calls * 2)) == [[1], [2], [1], [2]]


@responses.activate
@pytest.mark.parametrize(
    ("status", "outcome"), [(503, [1]), (401, DeniedError), (200, [1]), (404, GoneError)]
)
def test_a_shared_answer_is_judged_before_a_second_caller_has_it(status: int, outcome: Any) -> None:
    responses.get(f"{URL}/accounts", body=b"[]")
    responses.get(f"{URL}/teams", status=status, body=b"[1]")
    if status == 503:
        responses.get(f"{URL}/teams", body=b"[1]")
    call = Call("/teams", hal.decode, shared=True)
    with _client(max_retries=1) as client:
        first = client.get_many([call])
        first._fill(1)
        _until(client._pool.has_done)  # it is back, and nobody has looked at it
        second = client.get_many([call])
        both = [*second, *first]
    assert [each if isinstance(each, list) else type(each) for each in both] == [outcome] * 2


def test_what_a_worker_did_not_expect_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def send(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    with pytest.raises(RuntimeError, match="a bug"):
        _get()


def test_the_next_answers_are_fetched_while_the_last_ones_are_taken() -> None:
    asked: list[str] = []

    def answer(path: str) -> bytes:
        asked.append(path)
        return _http(b"1")

    with _server(answer) as url, _client(url, max_concurrency=4) as client:
        first = client.get_many([Call("/first", hal.decode)])
        second = client.get_many(Call(f"/second/{n}", hal.decode) for n in range(20))
        first.then(lambda: second)
        assert next(first) == 1
        _until(lambda: len(asked) > 3)
        assert list(second) == [1] * 20
    assert len(asked) == 21


def test_the_limit_halves_on_trouble_and_never_exceeds_the_most() -> None:
    most = 0
    now = 0
    lock = threading.Lock()
    failures = iter([True] * 3)

    def answer(_path: str) -> bytes:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1
        return _http(b"1", status=b"503 No") if next(failures, False) else _http(b"1")

    with _server(answer) as url, _client(url, max_concurrency=6) as client:
        assert list(client.get_many(Call(f"/{n}", hal.decode) for n in range(60))) == [1] * 60
        assert 3 <= client._pool._limit <= 6
    assert 2 <= most <= 6


def test_nobody_listening_ends_the_run() -> None:
    with socket.socket() as deaf:  # nobody else gets its port
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        with pytest.raises(UnreachableError, match=f"no connection to 127.0.0.1:{port}; nothing"):
            _get(url=f"http://127.0.0.1:{port}")


def test_an_unknown_host_ends_the_run() -> None:
    with pytest.raises(UnreachableError, match="no connection to no-such-host.invalid"):
        _get(url="https://no-such-host.invalid", max_retries=0)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1,2,\r\n",
        b"not http at all\r\n\r\n",
    ],
)
def test_a_broken_answer_is_tried_again(answer: bytes) -> None:
    answers = iter([answer, answer])
    with _server(lambda _path: next(answers, _http(b"[3]"))) as url:
        assert _get(url=url) == b"[3]"


def test_a_slow_drip_counts_as_a_time_out() -> None:
    def drip(path: str) -> Iterator[bytes]:
        if path == "/user":
            yield _http(b"1")
            return
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        for _ in range(200):
            time.sleep(0.05)
            yield b"x"

    with _server(drip) as url, _client(url, max_retries=0) as client:
        client.get(Call("/user", bytes))  # or nothing in time would count as nobody there
        client._timeout = 0.3
        with pytest.raises(TransientError, match="no whole answer from"):
            client.get(Call("/teams", bytes))


def test_a_compressed_body_in_pieces() -> None:
    packed = gzip.compress(b"[" + b"1," * 50_000 + b"1]")
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\n"

    def pieces(_path: str) -> Iterator[bytes]:
        yield head + b"Content-Length: %d\r\n\r\n" % len(packed)
        for place in range(0, len(packed), 20):
            yield packed[place : place + 20]

    with _server(pieces) as url, _client(url) as client:
        assert client.get(Call("/teams", hal.decode)) == [1] * 50_001


def test_redirects_are_not_followed() -> None:
    asked: list[str] = []

    def answer(path: str) -> bytes:
        asked.append(path)
        return b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"

    with _server(answer) as url, pytest.raises(RejectedError, match="a redirect"):
        _get(url=url)
    assert asked == ["/teams"]


def test_a_netrc_entry_does_not_replace_the_token(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, sandbox: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    sandbox.log.clear()
    with pytest.raises(TokenRejectedError):
        _get("/accounts", url=sandbox.url)
    assert sandbox.log.headers[0]["authorization"] == f"Bearer {TOKEN}"


def test_secrets_are_masked() -> None:
    text = (
        f"Bearer abc.def {TOKEN} postgres://admin:hunter2@db.example:1/x "
        '{"password": "hunter2", "api_token":"xyz"} token=q1w2\nnext\x00line'
    )
    line = masked(text, TOKEN)
    for secret in ("abc.def", TOKEN, "hunter2", "xyz", "q1w2"):
        assert secret not in line
    assert "\n" not in line
    assert len(masked("x" * 999)) == 201


@responses.activate
def test_error_bodies_are_shortened_and_masked() -> None:
    responses.get(f"{URL}/teams", status=422, body=f"<p>{TOKEN} {'y' * 5000}</p>")
    with pytest.raises(RejectedError) as caught:
        _get()
    assert TOKEN not in str(caught.value)
    assert len(str(caught.value)) < 260


def _teams(body: bytes) -> list[Any]:
    return hal.embedded(hal.decode(body), "teams")


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _http(body: bytes, status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


@contextmanager
def _server(answer: Callable[[str], bytes | Iterator[bytes]]) -> Iterator[str]:
    """A server that sends raw bytes, so that answers can be as wrong as they like."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = answer(self.path)
            try:
                for part in [parts] if isinstance(parts, bytes) else parts:
                    self.wfile.write(part)
                    self.wfile.flush()
            except OSError:
                pass
            self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
