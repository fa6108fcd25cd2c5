"""Run the benchmarks: the tap next to others, and the tap alone.

``make bench`` measures everything and writes ``RESULTS.md``. With arguments only those sections
are measured and printed, such as ``python -m benchmarks.compare events-0 rate``; with ``--size
0.01`` accounts have a hundredth of the deployments, recipes and events.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

from benchmarks import alone, reading
from benchmarks.api import TOKEN, Api, in_bursts, serving, written
from benchmarks.runs import ROOT, Measure, environment, run, table, tap
from benchmarks.stock import CHILDREN, DECLARED

DLT = ROOT / ".venvs/benchmarks/bin/python"
PACKAGES = ("singer-sdk", "requests", "msgspec", "uvicorn")
WORKERS = 16
REPEATED = {"tap-compose": 3, "script": 3}
"""How often a contender runs, if not once; the median counts."""


@dataclass(frozen=True)
class Case:
    """What is fetched, and ``at_most`` how many times the script's time the tap may take."""

    name: str
    at_most: float
    streams: list[str]
    deployments: int = 0
    recipes: int = 10
    events: int = 0
    latency: float = 0


BODY, LOG = ["deployment_recipes"], ["audit_events"]
CALLS = f"200 × {len(CHILDREN)} requests"
CASES = {
    "calls": Case(f"{CALLS}, 50 ms", 1.25, CHILDREN, deployments=200, latency=0.05),
    "calls-0": Case(CALLS, 1.5, CHILDREN, deployments=200),
    "body": Case("100,000 recipes, 1 request", 2.5, BODY, deployments=1, recipes=100_000),
    "events": Case("100,000 events, 50 ms", 1.3, LOG, events=100_000, latency=0.05),
    "events-0": Case("1,000,000 events", 1.5, LOG, events=1_000_000),
}
"""By the word that selects them."""

ALONE = {
    "reading": ("Reading a body", reading.reading),
    "backfill": ("The audit log", alone.backfill),
    "memory": ("Large bodies", alone.memory),
    "rate": ("A rate limit", alone.rate),
}
"""Title and function of each section with the tap alone, by the word that selects it."""


def plan(case: Case, api: Api) -> dict[str, Any]:
    """Describe to script and dlt what to fetch, so that they need not load the tap."""
    streams = [
        (name, each.path, next(iter(each.envelope), ""), list(each.schema["properties"]))
        for name, each in DECLARED.items()
        if name in case.streams
    ]
    step = min(12_500, len(api.events) // WORKERS or 1)  # each worker has as much to do
    cuts = [*api.events[::step], *(each + 1 for each in api.events[-1:])]
    windows = [(written(cut), written(end - 1)) for cut, end in pairwise(cuts)]
    return {"streams": streams, "ids": api.ids, "windows": windows}


def compare(case: Case, size: float) -> dict[str, Measure]:
    """Run all contenders on a case, in turn."""
    api = Api(
        events=in_bursts(ceil(case.events * size)),
        deployments=ceil(case.deployments * size),
        recipes=ceil(case.recipes * size),
        latency=case.latency,
    )
    with tempfile.TemporaryDirectory() as name, serving(api):
        folder, env = Path(name), environment(api, max_concurrency=WORKERS)
        config, work = folder / "config.json", folder / "work.json"
        settings = {"api_url": api.url, "api_token": TOKEN, "streams": case.streams}
        config.write_text(json.dumps(settings))
        work.write_text(json.dumps(plan(case, api)))
        commands: dict[str, list[Any]] = {
            "tap-compose": tap(folder, case.streams),
            "script": [sys.executable, "benchmarks/script.py", work],
            "dlt": [DLT, "benchmarks/rest_api.py", work],
            "stock": [sys.executable, "-m", "benchmarks.stock", "--config", config],
        }
        measures = {contender: Measure() for contender in commands}
        for turn in range(max(REPEATED.values())):
            for contender, measure in measures.items():
                if turn < REPEATED.get(contender, 1):
                    run(commands[contender], env, measure)
                    print(f"{case.name}, {contender}: {measure.seconds[-1]:.2f} s", flush=True)
    return measures


def compared(cases: list[Case], size: float) -> str:
    """Return the tables of all contenders on some cases."""
    times, rest = [], []
    for case in cases:
        measures = compare(case, size)
        ours = measures["tap-compose"]
        cells = [
            f"{each.median:.2f} ({each.median / ours.median:.2f}×)" for each in measures.values()
        ]
        script = f"{ours.median / measures['script'].median:.2f}×"
        times.append([case.name, *cells, script, f"≤ {case.at_most}×"])
        peaks = [f"{each.megabytes:.0f}" for each in measures.values()]
        outputs = [
            f"{each.output / 1e6:.1f} MB, {each.messages['STATE']:,} STATE"
            for each in (ours, measures["stock"])
        ]
        rest.append([case.name, *peaks, *outputs])
    head = ["", "tap-compose", "script", "dlt", "stock"]
    return (
        "Seconds, and in brackets multiples of tap-compose's time. Wanted: dlt and stock ≥ 2×, and "
        "the last column.\n\n"
        + table([*head, "tap-compose / script", "wanted"], times)
        + "\nPeak memory in MiB, and output.\n\n"
        + table([*head, "output of tap-compose", "output of stock"], rest)
    )


def heading() -> str:
    """Say what was measured, when, and on what."""
    command = ["git", "describe", "--always", "--dirty"]
    git = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    dlt = (ROOT / "locks/benchmarks.in").read_text().strip().replace("==", " ")
    packages = ", ".join(f"{each} {version(each)}" for each in PACKAGES)
    return (
        "# Benchmarks\n\nWritten by `make bench` in one run: complete processes, output to a file, "
        "the same API for all (`benchmarks/api.py`). Tap, script (`benchmarks/script.py`) and dlt "
        f"have {WORKERS} requests in flight; stock, a tap on the SDK alone, has one.\n\n"
        f"{datetime.now(timezone.utc):%Y-%m-%d}, revision {git.stdout.strip() or 'unknown'}, "
        f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, {packages}, {dlt}.\n"
    )


def main() -> None:
    """Run what the arguments say; without any, everything."""
    known = [*CASES, *ALONE]
    parser = argparse.ArgumentParser(description="Run benchmarks; without arguments all of them.")
    parser.add_argument("--size", type=float, default=1, help="the part of each account: 0.01")
    parser.add_argument("section", nargs="*", choices=["all", *known], default="all")
    options = parser.parse_args()
    chosen = known if "all" in options.section else options.section
    parts = [heading()]
    if cases := [CASES[each] for each in CASES if each in chosen]:
        parts.append(f"## Next to others\n\n{compared(cases, options.size)}")
    for title, measure in (ALONE[each] for each in ALONE if each in chosen):
        print(f"measuring: {title}", flush=True)
        parts.append(f"## {title}\n\n{measure(options.size)}")
    text = "\n".join(parts)
    print(text)
    if chosen is known and options.size == 1:
        (ROOT / "benchmarks/RESULTS.md").write_text(text)


if __name__ == "__main__":
    main()
