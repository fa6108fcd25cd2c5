"""stdout and stderr in every condition, and a signal before the tap has begun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.tap_runs import Output, config_for, input_files, named_pipe

if TYPE_CHECKING:
    from pathlib import Path

    from tap_compose.sandbox.server import Sandbox

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such shell")


def _in_a_shell(redirection: str, *arguments: str) -> Output:
    process = subprocess.run(
        ["sh", "-c", f'"$0" -m tap_compose "$@" {redirection}', sys.executable, *arguments],
        capture_output=True,
        check=False,
        timeout=120,
    )
    return Output(process.stdout, process.returncode, stderr=process.stderr.decode())


@pytest.mark.parametrize("redirection", ["2>&- <&-", "2>/dev/full"])
def test_a_run_goes_on_without_stderr(
    redirection: str, sandbox: Sandbox, whole: Output, tmp_path: Path
) -> None:
    streams = ("deployment_addons", "user")
    arguments = input_files(tmp_path, *streams, config=config_for(sandbox))
    output = _in_a_shell(redirection, *arguments)
    assert (output.status, output.stderr) == (0, "")
    assert output.rows == {each: whole.rows[each] for each in streams}
    assert output.bookmarks == {each: whole.bookmarks[each] for each in streams}


def test_a_refusal_without_stderr_is_a_status(tmp_path: Path) -> None:
    refused = _in_a_shell("2>/dev/full", *input_files(tmp_path, config=b"{"))
    assert (refused.status, refused.stdout, refused.stderr) == (1, b"", "")


def test_a_closed_stdout_is_told() -> None:
    output = _in_a_shell(">&-", "--discover")
    assert output.status == 1
    assert "stdout is closed" in output.stderr
    assert "Traceback" not in output.stderr


_SLOW_SDK = """
import os, time
os.write(1, b"importing\\n")
time.sleep(60)
"""


@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_the_imports(how: signal.Signals, status: int, tmp_path: Path) -> None:
    (tmp_path / "singer_sdk").mkdir()
    (tmp_path / "singer_sdk" / "__init__.py").write_text(_SLOW_SDK)
    with subprocess.Popen(
        [sys.executable, "-m", "tap_compose", "--discover"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"importing\n"
        process.send_signal(how)
        rest, errors = process.communicate(timeout=30)
    assert (process.returncode, rest, errors) == (status, b"", b"")


def test_a_signal_while_an_input_is_awaited(tmp_path: Path) -> None:
    pipe = named_pipe(tmp_path / "config")
    process = subprocess.Popen(
        [sys.executable, "-m", "tap_compose", "--config", str(pipe)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process, pipe.open("w"):  # it opens once the tap reads
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in errors
