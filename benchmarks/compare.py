"""Runs every benchmark and writes RESULTS.md; most run contenders side by side."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import backfill, limits
from benchmarks.runs import ROOT, Measure, environment, run, tap
from benchmarks.tables import table
from benchmarks.work import CASES, WORKERS, Case, dlt_resources, floor_streams, windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PEER = ROOT / ".venvs/benchmarks/bin/python"


@contextmanager
def served(case: Case) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Run the sandbox for the contenders; gives environment and deployment ids."""
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
            yield environment(url, token, max_concurrency=WORKERS, **case.settings), ids
        finally:
            process.kill()


def contenders(case: Case, folder: Path, env: dict[str, str], ids: list[str]) -> dict[str, Any]:
    """The command of each contender, by name."""
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
        "tap-compose": tap(folder, case.streams),
        "floor, requests": [*floor, "requests", work],
        "floor, http.client": [*floor, "http", work],
        "sandbox's ceiling": [*floor, "fetch", work],
        "dlt": [PEER, "benchmarks/peer.py", resources],
        "stock, tuned": [*stock, "--tuned"],
        "stock": stock,
    }


SLOW = {"dlt", "stock, tuned", "stock"}


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
                print(f"{contender}: {measures[contender].seconds[-1]:.2f} s", flush=True)
    return measures


def compared(case: Case, *, only_fast: bool) -> str:
    """Return the results of all contenders on a case."""
    measures = compare(case, only_fast=only_fast)
    ours = measures["tap-compose"].median
    wanted = {
        name: f"≥ {times:g} ×"
        for name, times in zip(("stock", "stock, tuned", "dlt"), case.at_least, strict=True)
    }
    wanted["floor, requests"] = f"tap-compose ≤ {case.at_most:g} × its time"
    rows = [
        [
            name,
            f"{measure.median:.2f} ({len(measure.seconds)})",
            f"{measure.median / ours:.2f}",
            f"{ours / measure.median:.2f}",
            wanted.get(name, ""),
            f"{measure.megabytes:.0f}",
            f"{measure.output / 1e6:.1f}",
        ]
        for name, measure in measures.items()
    ]
    head = ["seconds, median (runs)", "its time / tap-compose's", "tap-compose's / its", "wanted"]
    messages = "".join(
        f"\nMessages of {name}: "
        + ", ".join(f"{count:,} {kind}" for kind, count in sorted(measure.messages.items()))
        + ".\n"
        for name, measure in measures.items()
        if name in {"tap-compose", "stock"}
    )
    return table(["", *head, "peak MiB", "output MB"], rows) + messages


def sections(*, only_fast: bool) -> dict[str, tuple[str, Callable[[], str]]]:
    """Return the title of each section and what measures it, by the word that selects it."""
    return {
        **{
            word: (case.name, partial(compared, case, only_fast=only_fast))
            for word, case in CASES.items()
        },
        "audit": ("Until the first STATE", backfill.audit),
        "requests": ("Requests for the audit log", backfill.requests),
        "killed": ("Killed and resumed", backfill.killed),
        "memory": ("Large bodies", limits.memory),
        "rate": ("A rate limit", limits.rate),
    }


def main() -> None:
    """Run what the arguments say; without any, everything."""
    parser = argparse.ArgumentParser(description="Run benchmarks; without arguments all of them.")
    parser.add_argument("--only-fast", action="store_true", help="leave stock and dlt out")
    parser.add_argument("section", nargs="*", help=", ".join(sections(only_fast=True)))
    options = parser.parse_args()
    known = sections(only_fast=options.only_fast)
    if not known.keys() >= set(options.section):
        parser.error(f"no such section: choose from {', '.join(known)}")
    packages = ("singer-sdk", "requests", "msgspec", "starlette", "uvicorn")
    parts = [
        "# Benchmarks\n\nWritten by `make bench`: complete processes, start-up included, output to "
        "a file. In the sections with several contenders they run one after the other, with 16 "
        "requests at most in flight, on a sandbox in a separate process. The other sections run "
        "the tap alone, on the API of `benchmarks/api.py`, which shares no code with the tap.\n\n"
        f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, "
        + ", ".join(f"{each} {version(each)}" for each in packages)
        + ".\n"
    ]
    for key in options.section or known:
        title, measure = known[key]
        parts.append(f"## {title}\n\n{measure()}")
        print(parts[-1], flush=True)
    if not options.section and not options.only_fast:
        (ROOT / "benchmarks/RESULTS.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
