"""Where threads cannot be started, or memory is short: it goes on with what it has."""

from __future__ import annotations

import _thread
import json
import logging
import subprocess
import sys
import threading
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tap_compose.api import hal, workers
from tap_compose.api.client import Client, Request
from tap_compose.api.errors import TransientError, UnreachableError
from tap_compose.api.scheduler import PendingRequest, RequestScheduler, Tuning
from tap_compose.api.transport import Response
from tap_compose.sandbox.account import Size
from tap_compose.sandbox.faults import Fault
from tap_compose.sandbox.server import Sandbox
from tests.tap_runs import config_for, on_a_terminal, sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tap_compose.api.errors import ApiError

needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS counts on Linux")

MODULE = """
import resource
import threading
from pathlib import Path

from tap_compose.tap import main

threads = {threads}
megabytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() >> 20
limit = (megabytes + 1024 * threads + 768) << 20
threading.stack_size(1024 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
main()
"""
"""Runs the tap where each thread wants a gigabyte of address space, and there is less."""


def _without_threads(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Let so many threads be started, and no more."""
    left = iter(range(most))

    def start(*arguments: Any) -> int:
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")
        return _thread.start_new_thread(*arguments)

    monkeypatch.setattr(workers, "_thread", SimpleNamespace(start_new_thread=start))


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_requests_are_sent_by_the_threads_there_are(
    threads: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _without_threads(monkeypatch, threads)
    senders: set[int] = set()
    problems: Iterator[bytes | ApiError] = iter([TransientError("HTTP 503")] * 3)

    def send(_url: str) -> bytes | ApiError:
        senders.add(threading.get_ident())
        return next(problems, b"1")

    running = RequestScheduler(
        send, max_concurrency=8, max_retries=3, tuning=Tuning(longest_backoff=0.02)
    )
    requests = [PendingRequest(f"https://api.example/{number}", "") for number in range(40)]
    for each in requests:
        running.submit(each)
    for each in reversed(requests):
        assert running.wait(each)
        assert each.outcome == b"1"
    running.close()
    assert running.requests_sent == 43
    assert len(senders) <= max(threads, 1)
    assert (threading.get_ident() in senders) == (threads == 0)
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    (line,) = warnings
    assert line.startswith("cannot start another thread: can't start new thread; requests are sent")
    assert line.endswith(f" by {max(threads, 1)} of 8 threads")


def test_without_threads_the_run_can_still_end(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_threads(monkeypatch, 0)
    ending = UnreachableError("nothing answers")
    running = RequestScheduler(lambda _: ending, max_concurrency=8, max_retries=3, tuning=Tuning())
    first, second = (PendingRequest(f"https://api.example/{number}", "") for number in range(2))
    running.submit(first)
    running.submit(second)
    with pytest.raises(UnreachableError):
        running.wait(second)
    running.close()
    with pytest.raises(UnreachableError):
        running.wait(PendingRequest("https://api.example/3", ""))


class _LittleMemory:
    """A transport that has no memory for one resource, and for another has some later."""

    def __init__(self) -> None:
        self.failures = {"/large": 99, "/later": 1}

    def get(self, url: str, timeout: float, _receive: object = None) -> Response:
        assert timeout <= 60
        path = url.removeprefix("https://api.example")
        self.failures[path] = self.failures.get(path, 0) - 1
        if self.failures[path] >= 0:
            raise MemoryError
        return Response(200, {}, b"1")

    def renew_connections(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_without_memory_for_a_response_the_others_go_on() -> None:
    client = Client(
        _LittleMemory(),
        "https://api.example",
        token_for_masking="",
        max_retries=2,
        tuning=Tuning(longest_backoff=0.02),
    )
    with closing(client):
        requests = [Request(path, hal.decode) for path in ("/large", "/later", "/small")]
        (_, large), (_, later), (_, small) = client.get_many(requests)
    assert type(large) is TransientError
    assert str(large) == "not enough memory for the response"
    assert (later, small) == (1, 1)


@needs_limits
@pytest.mark.parametrize("threads", [0, 2])
def test_a_process_without_room_for_threads_brings_the_same(threads: int, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    faults = [Fault("503", 0.1)]
    with Sandbox(Size(deployments=4, events=300, recipes=3), faults=faults, streak=2) as sandbox:
        settings = config_for(sandbox, max_retries=8)
        config.write_text(json.dumps(settings))
        process = subprocess.run(
            [sys.executable, "-c", MODULE.format(threads=threads), "--config", str(config)],
            capture_output=True,
            check=False,
            timeout=180,
        )
        expected = sync(settings)
    stderr = process.stderr.decode()
    assert "Traceback" not in stderr
    assert process.returncode == expected.status == 0
    assert "cannot start another thread: can't start new thread; requests are sent by" in stderr
    rows: dict[str, list[Any]] = {}
    for line in process.stdout.splitlines():
        message = json.loads(line)
        if message["type"] == "RECORD":
            rows.setdefault(message["stream"], []).append(message["record"])
    assert json.dumps(rows) == json.dumps(expected.rows, default=float)


@needs_limits
def test_a_process_without_room_for_threads_can_be_stopped(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    with Sandbox(Size(deployments=20, events=300), latency=0.1) as sandbox:
        config.write_text(json.dumps(config_for(sandbox)))
        process = subprocess.Popen(
            [sys.executable, "-c", MODULE.format(threads=0), "--config", str(config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert b"stopped early: received SIGTERM" in errors
    assert b"Traceback" not in errors
    assert output.endswith(b"\n")


@needs_limits
def test_on_a_terminal_nothing_is_drawn_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "config.json"
    (tmp_path / "few_threads.py").write_text(MODULE.format(threads=0))
    with Sandbox(Size(deployments=2, events=10)) as sandbox, (tmp_path / "out").open("wb") as out:
        config.write_text(json.dumps(config_for(sandbox)))
        status, screen = on_a_terminal(
            "--config", config, module="few_threads", stdout=out.fileno()
        )
    assert status == 0
    assert "Traceback" not in screen
    assert "done: " in screen
