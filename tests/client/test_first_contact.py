"""Nobody there: how long a run waits until something has responded, and no longer."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tap_compose.api import hal
from tap_compose.api.client import Client, Request
from tap_compose.api.errors import RunEndingError
from tap_compose.api.transport import Transport
from tests.support.raw_server import RawServer, http, raw_server
from tests.support.tap_runs import command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.tap_runs import Output

TOKEN = "a-token-for-tests"
OPTIONS = pytest.mark.parametrize("option", [[], ["--test"]], ids=["run", "--test"])


@contextmanager
def _silent() -> Iterator[RawServer]:
    """Run a server that takes every request and never responds."""
    is_over = threading.Event()

    def wait(_path: str) -> bytes:
        is_over.wait(100)
        return b""

    with raw_server(wait) as server:
        yield server
        is_over.set()


@contextmanager
def _client(url: str, timeout: float = 60, max_concurrency: int = 8) -> Iterator[Client]:
    transport = Transport(
        url, TOKEN, user_agent="tests/1", timeout=timeout, max_concurrency=max_concurrency
    )
    client = Client(
        transport, url, timeout=timeout, max_concurrency=max_concurrency, longest_backoff=0.1
    )
    with closing(client):
        yield client


def _requests(count: int) -> list[Request[Any]]:
    return [Request(f"/{number}", hal.decode) for number in range(count)]


@pytest.mark.parametrize("hangs_up", [False, True], ids=["silent", "hangs up"])
def test_the_run_ends_after_three_attempts_however_many_requests_there_are(hangs_up: bool) -> None:
    with (
        raw_server(lambda _: b"") if hangs_up else _silent() as server,
        _client(server.url, timeout=0.5) as client,
    ):
        with pytest.raises(RunEndingError) as caught:
            list(client.get_many(_requests(40)))
        problem = (
            "the connection to {} broke" if hangs_up else "no complete response from {} in 0.5 s"
        )
        assert str(caught.value) == (
            f"{problem.format(server.address)}; nothing responds at {server.address}: "
            "check api_url and the network"
        )
        assert 3 <= len(server.paths) <= 8 + 8 + 8


def test_once_something_has_responded_the_settings_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tap_compose.api.client._LONGEST_SILENCE", 0.2)
    failures = iter([b""] * 4)

    def respond(path: str) -> bytes:
        if path == "/1":
            return next(failures, http(b"1"))
        if path == "/2":
            time.sleep(1.5)
        return http(path[1:].encode())

    with raw_server(respond) as server, _client(server.url, max_concurrency=1) as client:
        assert [result for _, result in client.get_many(_requests(3))] == [0, 1, 2]
    assert sorted(server.paths) == ["/0", *["/1"] * 5, "/2"]


def test_a_start_that_is_late_is_waited_for() -> None:
    failures = iter([b""] * 2)
    with (
        raw_server(lambda _: next(failures, http(b"[]"))) as server,
        _client(server.url) as client,
    ):
        assert client.get(_requests(1)[0]) == []


def _run(folder: Path, url: str, *option: str, **settings: Any) -> tuple[Output, float]:
    """Run the tap as a command; return its output and how many seconds it took."""
    config = folder / "config.json"
    config.write_text(json.dumps({"api_url": url, "api_token": TOKEN, **settings}))
    begun = time.monotonic()
    return command("--config", config, *option), time.monotonic() - begun


@OPTIONS
def test_a_refused_connection_ends_within_10_seconds(option: list[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    output, seconds = _run(tmp_path, f"http://{address}", *option)
    assert output.status == 1
    assert (
        f"connection refused by {address}; nothing responds at {address}: "
        "check api_url and the network"
    ) in output.stderr
    assert seconds < 10


@OPTIONS
def test_an_unknown_host_ends_within_10_seconds(option: list[str], tmp_path: Path) -> None:
    output, seconds = _run(tmp_path, "https://no-such-host.invalid", *option)
    assert output.status == 1
    assert (
        "unknown host no-such-host.invalid; nothing responds at no-such-host.invalid: "
        "check api_url and the network"
    ) in output.stderr
    assert seconds < 10


@OPTIONS
def test_silence_ends_after_three_attempts(option: list[str], tmp_path: Path) -> None:
    with _silent() as server:
        output, _ = _run(tmp_path, server.url, *option, request_timeout=1)
    assert output.status == 1
    assert (
        f"no complete response from {server.address} in 1 s; nothing responds at "
        f"{server.address}: check api_url and the network"
    ) in output.stderr
    assert server.paths == ["/accounts"] * 3


@pytest.mark.slow
@OPTIONS
def test_silence_ends_within_75_seconds(option: list[str], tmp_path: Path) -> None:
    with _silent() as server:
        output, seconds = _run(tmp_path, server.url, *option)
    assert output.status == 1
    assert (
        f"no response in 68 s; nothing responds at {server.address}: check api_url and the network"
    ) in output.stderr
    assert 60 < seconds < 75
