"""One very long run: its memory stays flat."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.server import Sandbox
from tests.support.tap_runs import config_for, peak_mib, piped

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def test_memory_does_not_grow_with_the_number_of_events(tmp_path: Path) -> None:
    peaks = []
    with (
        Sandbox(Size(deployments=0, events=400_000, recipes=0)) as sandbox,
        piped(tmp_path, config_for(sandbox, max_concurrency=16), "audit_events") as tap,
    ):
        assert tap.stdout is not None
        for number, _ in enumerate(tap.stdout):
            if number % 50_000 == 49_999:
                peaks.append(peak_mib(tap.pid))
    assert tap.returncode == 0
    figures = ", ".join(f"{each:.0f}" for each in peaks)
    sys.stdout.write(f"peak MiB after each 50,000 events: {figures}\n")
    assert len(peaks) == 8
    assert peaks[-1] <= 140  # of 280 MB of bodies; how full the windows are that wait is chance
