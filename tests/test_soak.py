"""One very long run and hundreds of short ones: memory, threads and sockets stay flat."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tap_compose.sandbox.account import Size
from tap_compose.sandbox.server import Sandbox
from tests.tap_runs import catalog_of, config_for, sync

pytestmark = pytest.mark.slow


def _peak_of_a_run(events: int, folder: Path) -> float:
    """MiB that the tap needs for so many events, with 16 requests in flight."""
    with Sandbox(Size(deployments=0, events=events, recipes=0)) as sandbox:
        (folder / "config").write_text(json.dumps(config_for(sandbox, max_concurrency=16)))
        (folder / "catalog").write_text(json.dumps(catalog_of("audit_events")))
        code = (
            "import sys, re, pathlib\n"
            "from tap_compose.tap import main\n"
            "try:\n    main()\nfinally:\n"
            "    text = pathlib.Path('/proc/self/status').read_text()\n"
            "    sys.stderr.write('PEAK ' + re.search(r'VmHWM:\\s+(\\d+)', text)[1] + '\\n')\n"
        )
        process = subprocess.run(
            [
                sys.executable,
                "-c",
                code,
                "--config",
                folder / "config",
                "--catalog",
                folder / "catalog",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=True,
        )
    return int(process.stderr.decode().split("PEAK ")[1].split()[0]) / 1024


def test_memory_does_not_grow_with_the_number_of_events(tmp_path: Path) -> None:
    small, large = (_peak_of_a_run(events, tmp_path) for events in (100_000, 1_000_000))
    sys.stdout.write(f"peak MiB: 100,000 events {small:.0f}, 1,000,000 events {large:.0f}\n")
    assert large <= 1.1 * small
    assert large < 120


def test_hundreds_of_short_runs_leave_nothing_behind() -> None:
    def resources() -> tuple[int, int, int]:
        status = Path("/proc/self/status").read_text()
        size = int(next(line for line in status.splitlines() if "VmRSS" in line).split()[1])
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), size

    with Sandbox(Size(deployments=2, events=120, recipes=2)) as sandbox:
        config = config_for(sandbox)
        for _ in range(40):
            sync(config)
        threads, files, size = resources()
        for _ in range(300):
            assert sync(config).status == 0
        more_threads, more_files, more_size = resources()
    assert more_threads <= threads + 1
    assert more_files <= files + 16
    assert more_size < size + 20_000
