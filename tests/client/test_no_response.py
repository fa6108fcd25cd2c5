"""Nothing responds: how long a run waits for the first response, and no longer."""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from tap_compose.api import transport
from tap_compose.api.errors import ApiError, RunEndingError
from tap_compose.messages import StopRun
from tap_compose.tap import TapCompose
from tests.support.clients import TOKEN, open_client, open_transport, results_of
from tests.support.raw_server import RawServer, http, raw_server
from tests.support.tap_runs import command, input_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHECK = "check api_url and the network"


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


@pytest.mark.parametrize("hangs_up", [False, True], ids=["silent", "hangs up"])
def test_the_run_ends_after_three_attempts_however_many_requests_there_are(hangs_up: bool) -> None:
    with (
        raw_server(lambda _: b"") if hangs_up else _silent() as server,
        open_client(server.url, timeout=5 if hangs_up else 0.3) as client,
    ):
        with pytest.raises(RunEndingError) as caught:
            results_of(client, 40)
        end = ": Remote end closed connection without response" if hangs_up else " in 0.3 s"
        assert str(caught.value) == (
            f"no complete response from {server.address}{end}; "
            f"nothing responds at {server.address}: {CHECK}"
        )
        assert 3 <= len(server.paths) <= 4 + 4 + 4


def test_once_something_has_responded_the_settings_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tap_compose.api.client._TICK", 0.05)
    failures = iter([b""] * 4)

    def respond(path: str) -> bytes:
        if path == "/1":
            return next(failures, http(b"1"))
        if path == "/2":
            time.sleep(0.3)
        return http(path[1:].encode())

    with raw_server(respond) as server, open_client(server.url, max_concurrency=1) as client:
        assert results_of(client, 1) == [0]
        monkeypatch.setattr("tap_compose.api.client._LONGEST_SILENCE", 0.1)
        assert results_of(client, 3) == [0, 1, 2]
    assert sorted(server.paths) == ["/0", "/0", *["/1"] * 5, "/2"]


def test_the_run_ends_if_every_look_up_of_the_host_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()
    monkeypatch.setattr("tap_compose.api.client._LONGEST_SILENCE", 0.2)
    monkeypatch.setattr("tap_compose.api.client._TICK", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: is_over.wait(60))
    with open_client("https://api.example", timeout=60) as client:
        with pytest.raises(RunEndingError) as caught:
            results_of(client, 20)
        is_over.set()
    end = f"no response in 0.2 s; nothing responds at api.example: {CHECK}"
    assert str(caught.value) == end


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog is refused elsewhere")
def test_a_host_that_takes_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LONGEST_CONNECT", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as stack:
        for _ in range(4):  # nobody accepts them
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(server.getsockname())
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with open_transport(f"http://{address}") as opened, pytest.raises(ApiError) as caught:
            opened.get("/teams")
    assert str(caught.value) == f"no complete response from {address} in 0.2 s"


@pytest.mark.parametrize("how", [TapCompose.sync_and_report, TapCompose.test_and_report])
def test_a_refused_connection_ends_within_10_seconds(
    how: Callable[[TapCompose], int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("backoff._sync.time.sleep", waits.append)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = {"api_url": f"http://{address}", "api_token": TOKEN, "max_concurrency": 1}
    problem = ""
    try:
        status = how(TapCompose(config=config))
    except StopRun as stop:  # which the command logs
        status, problem = stop.status, str(stop)
    assert status == 1
    assert (
        f"no complete response from {address}: Connection refused; "
        f"nothing responds at {address}: {CHECK}"
    ) in caplog.text + problem
    assert len(waits) == 2
    assert sum(waits) < 10


@pytest.mark.slow
def test_silence_ends_after_68_seconds(tmp_path: Path) -> None:
    with _silent() as server:
        config = {"api_url": server.url, "api_token": TOKEN}
        output = command(*input_files(tmp_path, config=config))
    assert output.status == 1
    assert f"no response in 68 s; nothing responds at {server.address}: {CHECK}" in output.stderr
