"""Nobody there: how long a run waits until something has responded, and no longer."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from tap_compose.api import hal
from tap_compose.api.client import Client, Request
from tap_compose.api.errors import UnreachableError
from tap_compose.api.scheduler import Tuning
from tap_compose.api.transport import RequestsTransport
from tests.raw_server import http, raw_server
from tests.tap_runs import command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "a-token-for-tests"


@dataclass
class Listener:
    """Who takes every connection and never says anything, or hangs up at once.

    Attributes:
        address: Host and port.
        taken: When each connection was taken, by the monotonic clock.
    """

    address: str
    taken: list[float] = field(default_factory=list)


@contextmanager
def _listener(*, hangs_up: bool) -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        listener = Listener(f"127.0.0.1:{server.getsockname()[1]}")
        held: list[socket.socket] = []

        def listen() -> None:
            while True:
                connection, _ = server.accept()
                held.append(connection)
                if is_over.is_set():
                    break
                listener.taken.append(monotonic())
                if hangs_up:
                    connection.close()

        is_over = threading.Event()
        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield listener
        is_over.set()
        socket.create_connection(server.getsockname()).close()
        thread.join()
        for each in held:
            each.close()


@contextmanager
def _client(url: str, tuning: Tuning, **settings: Any) -> Iterator[Client]:
    transport = RequestsTransport(url, TOKEN, user_agent="tests/1", max_concurrency=8)
    client = Client(transport, url, token_for_masking=TOKEN, tuning=tuning, **settings)
    with closing(client):
        yield client


def _requests(count: int) -> list[Request[Any]]:
    return [Request(f"/{number}", hal.decode) for number in range(count)]


def _rounds(times: list[float], pause: float) -> list[list[float]]:
    """Put what happened without a pause between into one list."""
    rounds = [[times[0]]]
    for before, after in pairwise(times):
        if after - before >= pause:
            rounds.append([])
        rounds[-1].append(after)
    return rounds


@pytest.mark.parametrize("hangs_up", [False, True], ids=["silent", "hangs up"])
def test_the_run_ends_after_three_tries_however_many_requests_there_are(hangs_up: bool) -> None:
    tuning = Tuning(first_timeout=0.5, longest_backoff=0.5)
    with (
        _listener(hangs_up=hangs_up) as listener,
        _client(f"http://{listener.address}", tuning, max_concurrency=8) as client,
    ):
        with pytest.raises(UnreachableError) as caught:
            list(client.get_many(_requests(40)))
        assert str(caught.value).endswith(
            f"; nothing responds at {listener.address}: check api_url and the network"
        )
        assert len(_rounds(listener.taken, 0.4)) == 3
        assert len(listener.taken) <= 8 + 8 + 8


def test_a_lookup_that_never_ends_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: is_over.wait(60))
    with (
        _client("https://api.example", Tuning(longest_first_contact=0.3)) as client,
        pytest.raises(UnreachableError) as caught,
    ):
        client.get(_requests(1)[0])
    is_over.set()
    assert str(caught.value) == (
        "no response from api.example in 0.3 s; nothing responds at api.example: "
        "check api_url and the network"
    )


def test_once_something_has_responded_the_settings_count() -> None:
    is_late = threading.Event()
    failures = iter([b""] * 4)

    def respond(path: str) -> bytes:
        if path == "/1":
            return next(failures, http(b"1"))
        if path == "/2":
            is_late.wait(0.5)
        return http(path[1:].encode())

    tuning = Tuning(first_timeout=0.2, longest_first_contact=0.2, longest_backoff=0.02)
    with raw_server(respond) as server, _client(server.url, tuning, max_concurrency=1) as client:
        assert [result for _, result in client.get_many(_requests(3))] == [0, 1, 2]
    assert sorted(server.paths) == ["/0", *["/1"] * 5, "/2"]


def test_a_start_that_is_late_is_waited_for() -> None:
    failures = iter([b""] * 2)
    with (
        raw_server(lambda _: next(failures, http(b"[]"))) as server,
        _client(server.url, Tuning(longest_backoff=0.02)) as client,
    ):
        assert client.get(_requests(1)[0]) == []


def test_all_tries_end_in_75_seconds() -> None:
    tuning = Tuning()
    pauses = sum(2.0**number for number in range(tuning.first_retries))
    longest = (1 + tuning.first_retries) * tuning.first_timeout + pauses
    assert longest < tuning.longest_first_contact < 70


@pytest.mark.parametrize("option", [[], ["--test"]], ids=["run", "--test"])
@pytest.mark.parametrize("is_silent", [False, True], ids=["refused", "silent"])
def test_of_a_process_with_default_retries(
    is_silent: bool, option: list[str], tmp_path: Path
) -> None:
    with _listener(hangs_up=False) as listener:
        address = listener.address if is_silent else _free_address()
        config = tmp_path / "config.json"
        config.write_text(
            json.dumps({"api_url": f"http://{address}", "api_token": TOKEN, "request_timeout": 1})
        )
        output = command("--config", config, *option)
    problem = (
        f"no complete response from {address} in 1 s"
        if is_silent
        else f"connection refused by {address}"
    )
    assert output.status == 1
    retries = [line for line in output.stderr.splitlines() if "; retry " in line]
    assert [line.partition("| GET ")[2] for line in retries] == [
        f"/accounts: {problem}; retry 1 of 2 in 1.0 s",
        f"/accounts: {problem}; retry 2 of 2 in 2.0 s",
    ]
    expected = f"{problem}; nothing responds at {address}: check api_url and the network"
    assert expected in output.stderr
    assert len(listener.taken) == (3 if is_silent else 0)


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"
