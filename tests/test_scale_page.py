"""docs/scale.md says what follows from the figures that were measured, and nothing else."""

from __future__ import annotations

import json
from typing import Any, cast

from benchmarks import scale
from tap_compose.streams import STREAMS
from tests.documents import ROOT, filled

PAGE = (ROOT / "docs" / "scale.md").read_text()
NOTES: dict[str, Any] = json.loads(scale.NOTES.read_text())


def test_the_page_is_drawn_from_what_was_measured() -> None:
    assert filled(PAGE, scale.blocks(NOTES)) == PAGE, "run make docs"


def test_the_requests_and_hours_of_a_full_load_by_hand() -> None:
    runs = NOTES["measured"]
    more, less = (runs[f"{each} events"]["requests"] for each in ("500,000", "100,000"))
    account = runs["an empty account"]["requests"] - 1
    requests = account + 20_000 * 13 + 50_000_000 * (more - less) / 400_000
    assert f"| full load, one process | {requests:,.0f} | " in PAGE
    assert f"A full load takes {requests:,.0f} requests" in PAGE
    hours = requests / 2 / 3600
    assert f"| 2 requests/s | {hours:.0f} h | {hours:.0f} h | {hours:.0f} h |" in PAGE


def test_the_states_by_hand() -> None:
    many, few = (NOTES["measured"][f"{each} deployments"]["state"] for each in ("400", "100"))
    each = (many - few) / 300
    rest = few - 100 * each
    assert f"| 16 processes | 1,250 | {(rest + 1250 * each) / 1000:.0f} kB | " in PAGE


def test_a_deployment_takes_as_many_requests_as_was_measured() -> None:
    streams = cast("Any", STREAMS)
    paths = {each.path for each in streams if "{}" in each.path and "/deployments/" in each.path}
    measured = {what: scale.Taken(**taken) for what, taken in NOTES["measured"].items()}
    assert scale.Figures(measured).requests == len(paths) == 13


def test_another_figure_makes_another_page() -> None:
    changed = json.loads(json.dumps(NOTES))
    changed["measured"]["400 deployments"]["state"] += 30_000
    assert filled(PAGE, scale.blocks(changed)) != PAGE
