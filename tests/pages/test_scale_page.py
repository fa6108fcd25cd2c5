"""docs/scale.md holds what follows from the figures that were measured."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.scale_page import NOTES, blocks
from tools.documents import ROOT, filled

PAGE = (ROOT / "docs" / "scale.md").read_text()
MEASURED: dict[str, Any] = json.loads(NOTES.read_text())
RUNS = MEASURED["runs"]


def _one_more(what: str, many: str, few: str, units: int) -> float:
    return float(RUNS[many][what] - RUNS[few][what]) / units


def test_the_page_is_drawn_from_what_was_measured() -> None:
    assert filled(PAGE, blocks(MEASURED)) == PAGE, "run make docs"


def test_the_requests_and_hours_of_a_full_load_by_hand() -> None:
    requests = RUNS["an empty account"]["requests"]
    requests += 20_000 * _one_more("requests", "400 deployments", "100 deployments", 300)
    requests += 50_000_000 * _one_more("requests", "500,000 events", "100,000 events", 400_000)
    assert f"| full load | {requests:,.0f} | " in PAGE
    hours = " | ".join([f"{requests / 2 / 3600:.0f} h"] * 3)
    assert f"| 2 requests/s | {hours} | " in PAGE


def test_the_state_of_all_deployments_by_hand() -> None:
    state = RUNS["an empty account"]["state"]
    state += 20_000 * _one_more("state", "400 deployments", "100 deployments", 300)
    (line,) = (line for line in PAGE.splitlines() if line.startswith("| full load |"))
    assert line.endswith(f" | {state / 1e6:.1f} MB |")


def test_the_requests_for_15_minutes_of_the_audit_log_by_hand() -> None:
    quarter = RUNS["15 minutes of 500,000 events"]
    events = 50_000_000 / (5 * 365 * 96)
    requests = quarter["requests"] + (events - quarter["rows"]) * _one_more(
        "requests", "500,000 events", "100,000 events", 400_000
    )
    assert f"| audit log, every 15 minutes | {requests:,.0f} | {events:,.0f} | " in PAGE


def test_another_figure_makes_another_page() -> None:
    changed = json.loads(json.dumps(MEASURED))
    changed["runs"]["400 deployments"]["state"] += 30_000
    assert filled(PAGE, blocks(changed)) != PAGE
