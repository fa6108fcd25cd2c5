"""One very long run and hundreds of short ones: memory, threads and sockets stay flat."""

from __future__ import annotations

import gc
import sys
import threading
from pathlib import Path

import pytest

from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.server import Sandbox
from tests.support.tap_runs import config_for, peak_mib, piped, sync

pytestmark = pytest.mark.slow


def test_memory_does_not_grow_with_the_number_of_events(tmp_path: Path) -> None:
    peaks = []
    with (
        Sandbox(Size(deployments=0, events=1_000_000, recipes=0)) as sandbox,
        piped(tmp_path, config_for(sandbox, max_concurrency=16), "audit_events") as tap,
    ):
        assert tap.stdout is not None
        for number, _ in enumerate(tap.stdout):
            if number % 100_000 == 99_999:
                peaks.append(peak_mib(tap.pid))
    assert tap.returncode == 0
    figures = ", ".join(f"{each:.0f}" for each in peaks)
    sys.stdout.write(f"peak MiB after each 100,000 events: {figures}\n")
    assert len(peaks) == 10
    assert peaks[-1] <= 140  # of 700 MB of bodies; how full the windows are that wait is chance


def test_hundreds_of_short_runs_leave_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    def resources() -> tuple[int, int, int]:
        gc.collect()  # every run of the tests makes a class, which is a circle
        status = Path("/proc/self/status").read_text()
        size = int(next(line for line in status.splitlines() if "VmRSS" in line).split()[1])
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), size

    with Sandbox(Size(deployments=2, events=120, recipes=2)) as sandbox:
        config = config_for(sandbox)
        for _ in range(40):
            sync(config)
        threads, files, size = resources()
        for _ in range(300):
            caplog.clear()  # pytest keeps every line of the log, the sandbox every request
            sandbox.log.clear()
            assert sync(config).status == 0
        more_threads, more_files, more_size = resources()
    assert more_threads <= threads + 1
    assert more_files <= files + 16
    assert more_size < size + 20_000
