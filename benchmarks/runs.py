"""Runs a whole process and measures it, and writes tables of what was measured."""

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
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from benchmarks.api import TOKEN, Api

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT = Path(__file__).parent.parent


@dataclass
class Measure:
    """Seconds of each run, the peak of memory in MiB, bytes and messages of the last run."""

    seconds: list[float] = field(default_factory=list)
    megabytes: float = 0.0
    output: int = 0
    messages: Counter[str] = field(default_factory=Counter)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def environment(api: Api, **settings: Any) -> dict[str, str]:
    """Return the environment that the contenders take their settings from."""
    settings |= {"api_url": api.url, "api_token": TOKEN}
    own = {f"TAP_COMPOSE_{name.upper()}": str(value) for name, value in settings.items()}
    return {**os.environ, **own, "LOGLEVEL": "WARNING"}


def tap(folder: Path, streams: Sequence[str]) -> list[str | Path]:
    """Return the command that runs the tap; its catalog is written into a folder."""
    catalog = json.loads((ROOT / "catalog.example.json").read_text())
    catalog["streams"] = [each for each in catalog["streams"] if each["tap_stream_id"] in streams]
    (folder / "catalog.json").write_text(json.dumps(catalog))
    command = [sys.executable, "-m", "tap_compose", "--config", "ENV"]
    return [*command, "--catalog", folder / "catalog.json"]


@contextmanager
def _late_reader(out: IO[bytes], pause: float) -> Iterator[IO[bytes] | None]:
    """Give a pipe into a file that nobody reads for some seconds."""
    command = ["sh", "-c", f"sleep {pause}; cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out) as reader:
        yield reader.stdin


def run(command: list[Any], env: dict[str, str], measure: Measure, pause: float = 0) -> None:
    """Run a contender once, complete process, output to a file that is read after a pause."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begun = time.perf_counter()
        with _late_reader(out, pause) if pause else nullcontext(out) as stdout:
            process = subprocess.Popen(command, stdout=stdout, stderr=err, env=env, cwd=ROOT)
            # The kernel's own peak of a child counts what it was forked from, so it is watched.
            status = Path(f"/proc/{process.pid}/status")
            while process.poll() is None:
                with suppress(OSError, StopIteration):
                    peak = next(each for each in status.read_text().splitlines() if "VmHWM" in each)
                    measure.megabytes = max(measure.megabytes, int(peak.split()[1]) / 1024)
                time.sleep(0.01)
        measure.seconds.append(time.perf_counter() - begun)
        if process.returncode:
            err.seek(0)
            raise RuntimeError(f"{command}: {err.read()[-2000:].decode()}")
        measure.output = out.tell()
        out.seek(0)
        measure.messages = Counter(
            line[9 : line.index(b'"', 9)].decode() for line in out if line.startswith(b'{"type":"')
        )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown whose numbers stand on the right."""
    top, *lines = (f"| {' | '.join(line)} |\n" for line in (head, *rows))
    return "".join([top, "|---", "|--:" * (len(head) - 1), "|\n", *lines])
