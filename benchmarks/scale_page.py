"""Draws the tables of ``docs/scale.md`` from what ``benchmarks/scale.py`` measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.tables import table

NOTES = Path(__file__).parent / "scale.json"

DEPLOYMENTS, RECIPES, EVENTS = 20_000, 20_000 * 1_000, 50_000_000
EVENTS_A_DAY = EVENTS / (5 * 365)
LATENCY, IN_FLIGHT = 0.1, 16

Cost = dict[str, float]
"""What a run takes, or what one more deployment, recipe or event takes, by the names of NOTES."""


def total(*parts: tuple[float, Cost]) -> Cost:
    """Add up what so many units take."""
    return {name: sum(n * cost.get(name, 0) for n, cost in parts) for name in parts[0][1]}


def blocks(notes: dict[str, Any]) -> dict[str, str]:
    """The tables of the page, by name."""
    runs: dict[str, Cost] = notes["runs"]

    def one_more(many: str, few: str, units: int) -> Cost:
        return total((1 / units, runs[many]), (-1 / units, runs[few]))

    process = runs["an empty account"]
    deployment = one_more("400 deployments", "100 deployments", 300)
    recipe = one_more("100 deployments of 301 recipes", "100 deployments", 30_000)
    event = one_more("500,000 events", "100,000 events", 400_000)
    (few, least), (many, most) = ((int(rows), took) for rows, took in notes["loading"].items())
    loaded_row = (most - least) / (many - few)

    account = total((1, process), (DEPLOYMENTS, deployment))
    full = total((1, account), (RECIPES, recipe), (EVENTS, event))
    # Every known recipe is fetched and left out again.
    known = (RECIPES, {"seconds": recipe["seconds"]})
    daily = total((1, account), known, (DEPLOYMENTS, recipe), (EVENTS_A_DAY, event))
    quarter = runs["15 minutes of 500,000 events"]
    often = total((1, quarter), (EVENTS_A_DAY / 96 - quarter["rows"], event))

    columns = [(work, processes) for work in (full, daily) for processes in (1, 4, 16)]
    limits = {
        **{f"{n} requests/s": [work["requests"] / n for work, _ in columns] for n in (2, 10, 50)},
        f"{IN_FLIGHT} requests in flight per process, {LATENCY:g} s each": [
            work["requests"] * LATENCY / IN_FLIGHT / n for work, n in columns
        ],
        "processor time of the tap": [work["seconds"] / n for work, n in columns],
        "target-postgres, one per process": [work["rows"] * loaded_row / n for work, n in columns],
    }
    units = {
        "an empty account": process,
        "a deployment with one recipe": deployment,
        "1,000 recipes": total((1_000, recipe)),
        "1,000 events": total((1_000, event)),
    }
    loading = "".join(
        f"- target-postgres, {int(rows):,} events: {took:.1f} s by the clock\n"
        for rows, took in notes["loading"].items()
    )
    works = {"full load": full, "daily run": daily, "audit log, every 15 minutes": often}
    return {
        "work": _costs(works),
        "limits": table(
            ["limit", *(f"{what}, {n}" for what in ("full", "daily") for n in (1, 4, 16))],
            [[limit, *map(_time, times)] for limit, times in limits.items()],
        ),
        "units": _costs(units),
        "runs": f"{notes['date']}, {notes['machine']}:\n\n{_costs(runs)}\n{loading}",
    }


def _costs(costs: dict[str, Cost]) -> str:
    head = ["", "requests", "rows", "processor time", "output", "STATE messages", "last STATE"]
    write = {"seconds": _time, "output": _size, "state": _size}
    rows = [
        [what, *(write.get(name, "{:,.0f}".format)(value) for name, value in cost.items())]
        for what, cost in costs.items()
    ]
    return table(head, rows)


def _size(size: float) -> str:
    return _in_units(size, {"GB": 1e9, "MB": 1e6, "kB": 1e3, "B": 1})


def _time(seconds: float) -> str:
    return _in_units(seconds, {"h": 3600, "min": 60, "s": 1, "ms": 0.001})


def _in_units(value: float, units: dict[str, float]) -> str:
    """Write a value in the largest unit of which there are two, with two digits at least."""
    unit = next((each for each in units if value >= 2 * units[each]), list(units)[-1])
    number = value / units[unit]
    return f"{number:,.{int(1 <= number < 10)}f} {unit}"
