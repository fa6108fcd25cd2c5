"""singer-tools' own check of a tap's output."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.tap_runs import Output

CHECK = Path(".venvs/singer-tools/bin/singer-check-tap")


def test_singer_check_tap_accepts_the_output(whole: Output) -> None:
    assert CHECK.exists(), "make test sets this up"
    process = subprocess.run([CHECK], input=whole.stdout, capture_output=True, check=False)
    report = process.stdout.decode() + process.stderr.decode()
    assert process.returncode == 0, report
    assert f"{len(whole.messages)} messages" in report
    assert "Traceback" not in report
