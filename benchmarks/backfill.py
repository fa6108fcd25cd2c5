"""Shows how the tap moves through the audit log, also if it is killed again and again."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.api import LAST, TOKEN, Api, clustered, even, serving, written
from benchmarks.runs import ROOT, environment, tap
from benchmarks.tables import table

PAGE = 100
LOGS = {"bursts and months of nothing": clustered, "evenly spread": even}
RESUMED_AT = (0, 10, 25, 50, 75, 95)
COUNTS = ((clustered, 100_000), (even, 100_000), (even, 1_000_000))
KILLED_AFTER, RUNS = 30, 10


@dataclass
class Backfill:
    """A run that reads the audit log.

    Attributes:
        is_complete: Whether it ended by itself.
        begun: When the process was started, by ``time.monotonic``.
        states: What each STATE message holds of the audit log, and when it came.
        ids: The ids of the rows.
    """

    is_complete: bool = False
    begun: float = field(default_factory=time.monotonic)
    states: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)


def backfill(
    api: Api, in_flight: int, entry: dict[str, Any] | None = None, *, most: int = 0
) -> Backfill:
    """Run the tap on the audit log.

    Args:
        api: What it reads; served for this run alone.
        in_flight: Its max_concurrency.
        entry: What the state holds of the audit log; None for a fresh run.
        most: After how many responses it is killed; 0 for never.
    """
    state: dict[str, Any] = {"bookmarks": {"audit_events": entry}} if entry else {}
    settings = {"max_concurrency": in_flight, "end_date": LAST.isoformat()}
    with tempfile.TemporaryDirectory() as name, serving(api):
        folder, env = Path(name), environment(api.url, TOKEN, **settings)
        (folder / "state.json").write_text(json.dumps(state))
        command = tap(folder, ["audit_events"], "--state", folder / "state.json")
        run = Backfill()
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, cwd=ROOT) as process:
            assert process.stdout is not None
            if most:
                api.after_response = lambda: None if len(api.sent) < most else process.kill()
            for line in process.stdout:
                if line.startswith(b'{"type":"RECORD"'):
                    run.ids.append(json.loads(line)["record"]["id"])
                elif line.startswith(b'{"type":"STATE"') and line.endswith(b"\n"):
                    value = json.loads(line)["value"]["bookmarks"]["audit_events"]
                    run.states.append((time.monotonic(), value))
    run.is_complete = not process.returncode
    if not (run.is_complete or most):
        raise RuntimeError(f"the tap failed: exit status {process.returncode}")
    return run


def _entry(bookmark: str) -> dict[str, Any]:
    return {"replication_key": "created_at", "replication_key_value": bookmark}


def _bookmark(entry: dict[str, Any]) -> str:
    return str(entry.get("replication_key_value", ""))


def audit() -> str:
    """Return when the bookmark moves first, on a fresh run and on resumed ones."""
    rows = []
    for name, make in LOGS.items():
        events = make(6_000)
        starts = {"fresh": ""}
        for percent in RESUMED_AT:
            starts[f"resumed at {percent} %"] = written(events[percent * len(events) // 100])
        for what, start in starts.items():
            api = Api(events, latency=0.1)
            run = backfill(api, 8, _entry(start) if start else None)
            moved = next(at for at, each in run.states if _bookmark(each) != start)
            before = [each.round_trip for each in api.sent if each.at < moved]
            seconds = f"{moved - run.begun:.1f}", f"{api.sent[-1].at - run.begun:.1f}"
            counts = f"{max(before)}", f"{len(before)}", f"{len(api.sent)}"
            rows.append([f"{name}, {what}", *counts, *seconds])
    head = ["", "round trips until the first STATE", "requests until then", "requests"]
    return (
        "6,000 events of ten years, 100 ms, 8 in flight; seconds include the start of Python. "
        "Wanted: at most 6 round trips from the first request until the bookmark moves.\n\n"
        + table([*head, "first STATE, s", "last response, s"], rows)
    )


def requests() -> str:
    """Return how many requests a fresh run takes."""
    rows = []
    names = {make: name for name, make in LOGS.items()}
    for make, count in COUNTS:
        api = Api(make(count))
        least = -(-len(set(backfill(api, 16).ids)) // PAGE)
        counts = f"{len(api.sent):,}", f"{least:,}", f"{len(api.sent) / least:.3f}"
        rows.append([f"{count:,} events, {names[make]}", *counts])
    return "No latency, 16 in flight. Wanted: at most 10,400 for 1,000,000 events.\n\n" + table(
        ["", "requests", "least possible", "ratio"], rows
    )


def killed() -> str:
    """Return how far a run comes that is killed and resumed again and again."""
    rows: list[list[str]] = []
    seen: set[str] = set()
    entry: dict[str, Any] = {}
    events, is_complete = clustered(6_000), False
    while not is_complete and len(rows) < RUNS:
        api = Api(events, latency=0.1)
        run = backfill(api, 2, entry, most=KILLED_AFTER)
        is_complete = run.is_complete
        entry = run.states[-1][1] if run.states else entry
        new = len(set(run.ids) - seen)
        seen.update(run.ids)
        counts = len(rows) + 1, len(api.sent), len(run.ids), new, len(seen)
        rows.append([*(f"{each:,}" for each in counts), _bookmark(entry) or "none"])
    ending = "finished" if is_complete else "not finished"
    return (
        f"{len(events):,} events with bursts and months of nothing, 100 ms, 2 in flight; each "
        f"run is killed (SIGKILL) after {KILLED_AFTER} responses and resumed at its last STATE, "
        f"{RUNS} runs at most. Wanted: finished, each run further than the one before. Result: "
        f"{ending}.\n\n"
        + table(["run", "responses", "rows", "new rows", "rows so far", "bookmark"], rows)
    )
