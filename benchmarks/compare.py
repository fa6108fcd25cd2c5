"""Runs every case against every contender, side by side, and writes RESULTS.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from benchmarks.work import CASES, WORKERS, Case, dlt_resources, floor_streams, windows

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PEER = ROOT / ".venvs/benchmarks/bin/python"


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


@contextmanager
def served(case: Case) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Run the sandbox beside the contenders; gives environment and deployment ids."""
    arguments = {
        "deployments": case.deployments,
        "events": case.events,
        "recipes": case.recipes,
        "latency": case.latency,
    }
    options = [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server", *options], stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        url, token, *ids = process.stdout.readline().decode().split()
        try:
            yield (
                {
                    **os.environ,
                    "TAP_COMPOSE_API_URL": url,
                    "TAP_COMPOSE_API_TOKEN": token,
                    "TAP_COMPOSE_MAX_CONCURRENCY": str(WORKERS),
                    "LOGLEVEL": "WARNING",
                },
                ids,
            )
        finally:
            process.kill()


def contenders(case: Case, folder: Path, env: dict[str, str], ids: list[str]) -> dict[str, Any]:
    """The command of each contender, by name."""
    catalog = folder / "catalog.json"
    discovered = subprocess.run(
        [sys.executable, "-m", "tap_compose", "--discover"],
        capture_output=True,
        check=True,
        cwd=ROOT,
        env=env,
    )
    content = json.loads(discovered.stdout)
    for entry in content["streams"]:
        for metadata in entry["metadata"]:
            if not metadata["breadcrumb"]:
                metadata["metadata"]["selected"] = entry["tap_stream_id"] in case.streams
    catalog.write_text(json.dumps(content))
    config = folder / "config.json"
    config.write_text(
        json.dumps(
            {
                "api_url": env["TAP_COMPOSE_API_URL"],
                "api_token": env["TAP_COMPOSE_API_TOKEN"],
                "streams": case.streams,
            }
        )
    )
    stock = [sys.executable, "-m", "benchmarks.stock", "--config", str(config)]
    work = folder / "work.json"
    work.write_text(
        json.dumps({"streams": floor_streams(case), "ids": ids, "windows": windows(case)})
    )
    resources = folder / "resources.json"
    resources.write_text(json.dumps(dlt_resources(case)))
    floor = [sys.executable, "benchmarks/floor.py"]
    return {
        "tap-compose": [
            sys.executable,
            "-m",
            "tap_compose",
            "--config",
            "ENV",
            "--catalog",
            catalog,
        ],
        "floor, requests": [*floor, "requests", work],
        "floor, http.client": [*floor, "http", work],
        "sandbox's ceiling": [*floor, "fetch", work],
        "dlt": [PEER, "benchmarks/peer.py", resources],
        "stock, tuned": [*stock, "--tuned"],
        "stock": stock,
    }


SLOW = {"dlt", "stock, tuned", "stock"}


def run(
    command: list[Any], env: dict[str, str], measure: Measure, stdin: IO[bytes] | None = None
) -> None:
    """Run a contender once, whole process, output to a file."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begun, before = time.perf_counter(), os.times()
        process = subprocess.Popen(command, stdin=stdin, stdout=out, stderr=err, env=env, cwd=ROOT)
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


def compare(case: Case, *, only_fast: bool) -> dict[str, Measure]:
    """Run all contenders on a case, in turn."""
    measures: dict[str, Measure] = {}
    with tempfile.TemporaryDirectory() as name, served(case) as (env, ids):
        commands = contenders(case, Path(name), env, ids)
        run(commands["sandbox's ceiling"], env, Measure())  # the sandbox writes its bodies once
        for turn in range(case.repeats):
            for contender, command in commands.items():
                if contender in SLOW and (turn or only_fast):
                    continue
                run(command, env, measures.setdefault(contender, Measure()))
                print(
                    f"{case.name}: {contender}: {measures[contender].seconds[-1]:.2f} s", flush=True
                )
    return measures


def table(case: Case, measures: dict[str, Measure]) -> str:
    """Write the results of a case down."""
    ours = measures["tap-compose"]
    wanted = dict(
        zip(
            ("stock", "stock, tuned", "dlt"),
            (f"≥ {each:g} ×" for each in case.at_least),
            strict=True,
        )
    )
    wanted["floor, requests"] = f"≤ {case.at_most:g} × its time"
    lines = [
        f"## {case.name}",
        "",
        "| | seconds, median (runs) | its time / tap-compose's | wanted | peak MiB | output MB |",
        "|---|---|---|---|---|---|",
    ]
    for name, measure in measures.items():
        ratio = measure.median / ours.median
        text = f"{ratio:.2f}"
        if name == "floor, requests":
            text += f" (tap-compose takes {1 / ratio:.2f} × its time)"
        lines.append(
            f"| {name} | {measure.median:.2f} ({len(measure.seconds)}) | {text} | "
            f"{wanted.get(name, '')} | {measure.megabytes:.0f} | {measure.output / 1e6:.1f} |"
        )
    messages = ", ".join(f"{count:,} {kind}" for kind, count in sorted(ours.messages.items()))
    stock = measures.get("stock")
    if stock is not None:
        text = ", ".join(f"{count:,} {kind}" for kind, count in sorted(stock.messages.items()))
        messages += f"; stock: {text}"
    return "\n".join([*lines, "", f"tap-compose's messages: {messages}", ""])


def main() -> None:
    """Run what the arguments say; without any, everything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only-fast", action="store_true", help="leave stock and dlt out")
    parser.add_argument("--case", type=int, action="append", help="a case by number, from 0")
    options = parser.parse_args()
    packages = ("singer-sdk", "requests", "msgspec", "starlette", "uvicorn")
    parts = [
        "# Benchmarks",
        "",
        "Written by `make bench`: whole processes, start-up included, one after the other beside a "
        "sandbox in a process of its own, 16 requests at most in flight, output to a file.",
        "",
        f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, "
        + ", ".join(f"{each} {version(each)}" for each in packages)
        + ".",
        "",
    ]
    for number, case in enumerate(CASES):
        if options.case is None or number in options.case:
            parts.append(table(case, compare(case, only_fast=options.only_fast)))
            print(parts[-1], flush=True)
    if options.case is None and not options.only_fast:
        (ROOT / "benchmarks/RESULTS.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
