"""Ended from outside: by a signal, by a target that goes away or stops reading."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from bisect import bisect_right
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.singerlib import StateMessage

from tap_compose.messages import MessageWriter, StopRun
from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.server import Sandbox
from tap_compose.streams.audit_windows import MOST_PAGES, PAGE
from tap_compose.times import time_value
from tests.support.tap_runs import config_for, input_files

if TYPE_CHECKING:
    from collections.abc import Iterator

fcntl = pytest.importorskip("fcntl", reason="Windows has no POSIX signals")
termios = pytest.importorskip("termios")
assert sys.platform != "win32"

EVENTS = 6000
_HALF_A_PIPE = 1 << 15


@pytest.fixture(scope="module")
def slow() -> Iterator[Sandbox]:
    with Sandbox(Size(deployments=3, events=EVENTS, recipes=3), latency=0.02) as sandbox:
        yield sandbox


def _start(
    sandbox: Sandbox,
    folder: Path,
    state: Any = None,
    *,
    stdout: Any = subprocess.PIPE,
    before: tuple[str, ...] = (),
) -> subprocess.Popen[bytes]:
    config = config_for(sandbox, max_concurrency=2, lookback_seconds=0)
    arguments = input_files(folder, "audit_events", config=config, state=state or {})
    with (folder / "errors").open("wb") as errors:
        return subprocess.Popen(
            [*before, sys.executable, "-m", "tap_compose", *arguments],
            stdout=stdout,
            stderr=errors,
        )


def _wait_until_full(pipe: Any) -> None:
    """Wait until a pipe takes no more, so that whoever writes to it stands within a write."""
    before = -1
    while before != (held := _held(pipe)) or held < _HALF_A_PIPE:
        before = held
        time.sleep(0.3)


def _held(pipe: Any) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def _check_state(lines: list[bytes], sandbox: Sandbox) -> tuple[list[str], Any]:
    """Ids in order and the last state, which covers only rows that stand before it."""
    ids: list[str] = []
    times = sandbox.account.events.times
    state: Any = None
    for line in lines:
        message = json.loads(line)
        if message["type"] == "RECORD":
            ids.append(message["record"]["id"])
        elif message["type"] == "STATE":
            state = message["value"]
            bookmark = state["bookmarks"].get("audit_events", {}).get("replication_key_value")
            if bookmark:
                until = time_value(bookmark).timestamp() * 1000
                assert bisect_right(times, until) <= len(ids)
    return ids, state


SIGNALS = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}


@pytest.mark.parametrize("how", SIGNALS)
def test_a_signal_ends_the_run_with_whole_lines_and_a_last_state(
    how: signal.Signals, slow: Sandbox, tmp_path: Path
) -> None:
    with _start(slow, tmp_path) as process:
        assert process.stdout is not None
        head = [process.stdout.readline() for _ in range(1000)]
        process.send_signal(how)
        rest = process.stdout.read()
    assert process.returncode == SIGNALS[how]
    assert rest.endswith(b"\n")
    lines = head + rest.splitlines()
    ids, state = _check_state(lines, slow)
    assert json.loads(lines[-1])["type"] == "STATE"
    assert 900 < len(ids) < EVENTS
    text = (tmp_path / "errors").read_text()
    assert "Traceback" not in text
    assert f"stopped early: received {how.name}" in text
    assert re.search(r"summary of audit_events: [\d,]+ rows?, [1-9]\d* requests?", text)
    assert state["bookmarks"]["audit_events"]["replication_key_value"]


def test_a_signal_within_a_write_cuts_no_line(
    slow: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")  # as many container images have it
    with _start(slow, tmp_path) as process:
        assert process.stdout is not None
        _wait_until_full(process.stdout)
        process.send_signal(signal.SIGHUP)
        lines = process.stdout.read().splitlines()
    assert process.returncode == SIGNALS[signal.SIGHUP]
    ids, _ = _check_state(lines, slow)
    assert json.loads(lines[-1])["type"] == "STATE"
    assert ids == [slow.account.events.id_at(each) for each in range(len(ids))]


def test_nohup_stays_in_force(slow: Sandbox, tmp_path: Path) -> None:
    with _start(slow, tmp_path, before=("nohup",)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        lines = process.stdout.read().splitlines()
    assert process.returncode == 0
    assert len(_check_state(lines, slow)[0]) == EVENTS


def test_a_stop_that_python_swallowed_is_raised_after_the_next_block(
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    writer = MessageWriter()
    with suppress(StopRun):  # as Python does within a finalizer
        writer.stop(StopRun("received SIGTERM", 143))
    with pytest.raises(StopRun, match="received SIGTERM"):
        writer.write_message(StateMessage(value={}))
    assert capsysbinary.readouterr().out == b'{"type":"STATE","value":{}}\n'


def test_a_stdout_that_does_not_block_loses_nothing(slow: Sandbox, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(reading, "rb") as pipe:
        with os.fdopen(writing, "wb") as stdout:
            process = _start(slow, tmp_path, stdout=stdout)
        _wait_until_full(pipe)
        lines = pipe.read().splitlines()
    assert process.wait(timeout=60) == 0
    ids, _ = _check_state(lines, slow)
    assert ids == [slow.account.events.id_at(each) for each in range(EVENTS)]


def test_a_full_disk_ends_the_run_in_words(slow: Sandbox, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        process = _start(slow, tmp_path, stdout=full)
    assert process.wait(timeout=60) == 1
    errors = (tmp_path / "errors").read_text()
    assert "stopped early: cannot write to stdout: No space left on device" in errors
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors


def test_a_target_that_stopped_reading_cannot_keep_the_tap(slow: Sandbox, tmp_path: Path) -> None:
    with _start(slow, tmp_path) as process:
        assert process.stdout is not None
        _wait_until_full(process.stdout)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)  # 5, and what a busy machine takes to notice
        assert process.returncode == 143
        process.stdout.read()
    assert "Traceback" not in (tmp_path / "errors").read_text()


def test_a_target_that_goes_away_ends_the_run_quietly(slow: Sandbox, tmp_path: Path) -> None:
    with _start(slow, tmp_path) as process:
        assert process.stdout is not None
        for _ in range(500):
            process.stdout.readline()
        process.stdout.close()
        process.wait(timeout=60)
    assert process.returncode == 1
    errors = (tmp_path / "errors").read_text()
    assert "Traceback" not in errors
    assert errors.count("the target stopped reading") == 1


def test_a_backfill_that_is_killed_again_and_again_loses_nothing(
    slow: Sandbox, tmp_path: Path
) -> None:
    ids: list[str] = []
    state: Any = None
    kills = 0
    for rows in (700, 2300, EVENTS + 1):  # until the kill: far more are left than a pipe holds
        enough = len(ids) + rows
        with _start(slow, tmp_path, state) as tap:
            assert tap.stdout is not None
            for line in tap.stdout:  # as a target reads them, the rest of the pipe too
                if not line.endswith(b"\n"):
                    break
                message = json.loads(line)
                if message["type"] == "RECORD":
                    ids.append(message["record"]["id"])
                elif message["type"] == "STATE":
                    state = message["value"]
                if len(ids) == enough:
                    tap.kill()
        kills += tap.returncode == -signal.SIGKILL
    assert (kills, tap.returncode) == (2, 0)
    events = slow.account.events
    assert set(ids) == {events.id_at(each) for each in range(EVENTS)}
    # What one kill costs: the rows after the last state, at most those of a window.
    assert len(ids) - EVENTS <= kills * MOST_PAGES * PAGE
