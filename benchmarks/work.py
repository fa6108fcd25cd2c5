"""What is to be fetched, as each contender takes it; all of it from the tap's streams."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import pairwise
from random import Random
from typing import Any, cast

from tap_compose.sandbox.account import Size
from tap_compose.sandbox.events import event_times
from tap_compose.streams import STREAMS
from tap_compose.times import time_text

WORKERS = 16
DECLARED: dict[str, Any] = {
    each.name: each for each in cast("Any", STREAMS) if each.name != "coverage"
}


def _first_of_each_path(names: list[str]) -> list[str]:
    """Leave out streams that are made from the same bodies as one before them."""
    by_path = {DECLARED[name].path: name for name in reversed(names)}
    return [name for name in names if by_path[DECLARED[name].path] == name]


CHILDREN = _first_of_each_path(
    [name for name, each in DECLARED.items() if each.path.startswith("/deployments/")]
)
"""A stream for each endpoint of a deployment."""


@dataclass(frozen=True)
class Case:
    """What is to be fetched, and how far away it is.

    Attributes:
        name: In words.
        streams: The streams.
        deployments: How many deployments.
        events: How many audit events.
        recipes: How many recipes per deployment.
        latency: Seconds before each answer.
        repeats: How often the fast contenders run; the slow ones run once.
        at_least: How many times faster than stock, tuned stock and dlt the tap should be.
        at_most: How many times the floor's time it may take.
        settings: Further settings of the tap.
    """

    name: str
    streams: list[str]
    deployments: int = 0
    events: int = 0
    recipes: int = 1
    latency: float = 0
    repeats: int = 3
    at_least: tuple[float, float, float] = (0, 0, 0)
    at_most: float = 0
    settings: dict[str, str] = field(default_factory=dict)


BODY, EVENTS = ["deployment_recipes"], ["audit_events"]
CALLS = f"200 × {len(CHILDREN)} calls"
CASES = {
    "calls": Case(f"{CALLS}, 50 ms", CHILDREN, 200, 0, 10, 0.05, 3, (20, 12, 2), 1.25),
    "calls-0": Case(f"{CALLS}, no latency", CHILDREN, 200, 0, 10, 0, 5, (20, 4, 2), 1.5),
    "body": Case("100,000 recipes in one body", BODY, 1, 0, 100_000, 0, 5, (8, 5, 2), 1.5),
    "events": Case("100,000 events, 50 ms", EVENTS, 0, 100_000, 0, 0.05, 3, (12, 10, 8), 1.1),
    "events-0": Case("1,000,000 events", EVENTS, 0, 1_000_000, 0, 0, 3, (8, 5, 2), 1),
}
"""By the word that selects them."""


def floor_streams(case: Case) -> list[dict[str, Any]]:
    """Describe the streams to the floor, so that it need not load the SDK."""
    return [
        {
            "name": name,
            "path": DECLARED[name].path,
            "envelope": next(iter(DECLARED[name].envelope), ""),
            "columns": list(DECLARED[name].schema["properties"]),
        }
        for name in case.streams
    ]


def dlt_resources(case: Case) -> list[dict[str, Any]]:
    """Describe the streams to dlt's rest_api source, which has an environment without the tap."""
    resources = [_dlt_resource(name) for name in case.streams]
    if any("{" in each["endpoint"]["path"] for each in resources):
        resources.insert(0, _dlt_resource("deployments"))
    return resources


def _dlt_resource(name: str) -> dict[str, Any]:
    endpoint: dict[str, Any] = {
        "path": DECLARED[name].path[1:].replace("{}", "{resources.deployments.id}"),
        "data_selector": list_path(name) or "$",
    }
    if name == "audit_events":
        endpoint["params"] = {"limit": 100}
        endpoint["paginator"] = {
            "type": "cursor",
            "cursor_path": "_embedded.audit_events[-1].id",
            "cursor_param": "cursor",
        }
    return {"name": name, "endpoint": endpoint}


def list_path(name: str) -> str:
    """Return the JSONPath of the list in a body; empty if the body is the record.

    Half of the bodies of log files spell it differently; stock and dlt find no records in those.
    """
    envelope = DECLARED[name].envelope
    if name == "deployment_addons":
        return "$..addons"  # every other body lacks _embedded
    return f"$._embedded.{envelope[0]}" if envelope else ""


def windows(case: Case) -> list[tuple[str, str]]:
    """Windows of equal numbers of events, which only somebody who knows them can cut."""
    if not case.events:
        return []
    times = event_times(Random(f"{Size.seed}/event times"), case.events)
    parts = WORKERS * max(1, case.events // (WORKERS * 12_500))
    cuts = [times[each * len(times) // parts] for each in range(parts)] + [times[-1] + 1]
    return list(
        pairwise(time_text(datetime.fromtimestamp(cut / 1000, timezone.utc)) for cut in cuts)
    )
