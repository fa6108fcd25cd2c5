"""Runs a whole process and measures it; the tap with the streams that a benchmark selects."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parent.parent
TAP = [sys.executable, "-m", "tap_compose"]


@dataclass
class Measure:
    """The runs of one contender on one case.

    Attributes:
        seconds: How long each run took.
        megabytes: The peak of its memory.
        cpu: Processor seconds of the last run.
        output: Bytes that the last run wrote.
        messages: How many messages of each type those were.
        state: Bytes of the last STATE.
        log: What the last run logged.
    """

    seconds: list[float] = field(default_factory=list)
    megabytes: float = 0.0
    cpu: float = 0.0
    output: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    state: int = 0
    log: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def environment(url: str, token: str, **settings: Any) -> dict[str, str]:
    """Return the environment that the contenders take their settings from."""
    settings |= {"api_url": url, "api_token": token}
    own = {f"TAP_COMPOSE_{name.upper()}": str(value) for name, value in settings.items()}
    return {**os.environ, **own, "LOGLEVEL": "WARNING"}


@cache
def _discovered() -> bytes:
    command = [*TAP, "--discover"]
    return subprocess.run(command, capture_output=True, check=True, cwd=ROOT).stdout


def tap(folder: Path, streams: Sequence[str], *arguments: str | Path) -> list[str | Path]:
    """Return the command that runs the tap; its catalog is written into a folder."""
    catalog = json.loads(_discovered())
    catalog["streams"] = [each for each in catalog["streams"] if each["tap_stream_id"] in streams]
    (folder / "catalog.json").write_text(json.dumps(catalog))
    return [*TAP, "--config", "ENV", "--catalog", folder / "catalog.json", *arguments]


@contextmanager
def _late_reader(out: IO[bytes], pause: float) -> Iterator[IO[bytes] | None]:
    """Give a pipe into a file that nobody reads for some seconds."""
    source = f"import shutil, sys, time; time.sleep({pause}); "
    source += "shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
    command = [sys.executable, "-c", source]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out) as reader:
        yield reader.stdin


def run(
    command: list[Any],
    env: dict[str, str],
    measure: Measure,
    stdin: IO[bytes] | None = None,
    *,
    pause: float = 0,
) -> None:
    """Run a contender once, whole process, output to a file; after a pause if there is one."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begun, before = time.perf_counter(), os.times()
        with _late_reader(out, pause) if pause else nullcontext(out) as stdout:
            process = subprocess.Popen(
                command, stdin=stdin, stdout=stdout, stderr=err, env=env, cwd=ROOT
            )
            # The kernel's own peak of a child counts what it was forked from, so it is watched.
            status = Path(f"/proc/{process.pid}/status")
            while process.poll() is None:
                with suppress(OSError, StopIteration):
                    peak = next(each for each in status.read_text().splitlines() if "VmHWM" in each)
                    measure.megabytes = max(measure.megabytes, int(peak.split()[1]) / 1024)
                time.sleep(0.01)
        measure.seconds.append(time.perf_counter() - begun)
        used = os.times()
        measure.cpu = used.children_user + used.children_system
        measure.cpu -= before.children_user + before.children_system
        err.seek(0)
        measure.log = err.read().decode()
        if process.returncode:
            raise RuntimeError(f"{command}: {measure.log[-2000:]}")
        measure.output = out.tell()
        out.seek(0)
        measure.messages.clear()
        for line in out:
            if line.startswith(b'{"type":"'):
                kind = line[9 : line.index(b'"', 9)].decode()
                measure.messages[kind] += 1
                if kind == "STATE":
                    measure.state = len(line)
