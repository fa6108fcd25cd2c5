"""How far a run is: drawn for a person, logged for everybody else."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from rich.console import Console

from tap_compose import progress
from tap_compose.messages import MessageWriter
from tap_compose.progress import Progress, drawing
from tap_compose.report import Missing, Outcome
from tap_compose.run import Run
from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.server import Sandbox
from tap_compose.tap import TapCompose
from tests.support.tap_runs import (
    Output,
    catalog_of,
    config_for,
    on_a_terminal,
    sync,
    without_colours,
)
from tools.pictures import SNAPSHOT

if TYPE_CHECKING:
    from pathlib import Path


def test_in_a_line() -> None:
    assert str(SNAPSHOT) == (
        f"60%, 16 of {SNAPSHOT.streams} streams; deployment_recipes: 360 of 1,000 deployments; "
        "58,220 rows, 2,699/s; 7,443 requests, 139/s; 8 skipped; "
        "waiting for GET /deployments/ae97e9023ca17363b758b60f/recipes and 7 more"
    )


def test_as_a_drawing() -> None:
    console = Console(width=92, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(drawing(SNAPSHOT))
        lines = console.export_text().splitlines()
    assert lines[0].startswith("tap-compose ━━━")
    assert lines[0].split()[-6:] == ["60%,", "16", "of", str(SNAPSHOT.streams), "streams", "0:55"]
    assert [line.strip() for line in lines[1:]] == [
        "deployment_recipes: 360 of 1,000 deployments",
        "58,220 rows, 2,699/s; 7,443 requests, 139/s; 8 skipped",
        "waiting for GET /deployments/ae97e9023ca17363b758b60f/recipes and 7 more",
    ]


def test_a_drawing_lets_nothing_steer_the_terminal() -> None:
    console = Console(width=92, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(drawing(replace(SNAPSHOT, waiting_for="GET /a\x1b[2J\nb\u202e")))
        lines = console.export_text().splitlines()
    assert lines[-1].strip() == r"waiting for GET /a\x1b[2J\nb\u202e"


@pytest.mark.parametrize(
    ("terminals", "kind", "rich", "how"),
    [
        ({"stderr"}, "xterm", True, "_drawn"),
        ({"stderr"}, "xterm", False, "_logged"),
        ({"stderr"}, "dumb", True, "_logged"),
        (set(), "xterm", True, "_logged"),
        ({"stdout"}, "xterm", True, "_logged"),
    ],
)
def test_who_looks_on_decides_how_it_is_shown(
    terminals: set[str], kind: str, rich: bool, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("stderr", "stdout"):
        monkeypatch.setattr(sys, name, Mock(**{"isatty.return_value": name in terminals}))
    monkeypatch.setattr(progress, "find_spec", lambda _: rich or None)
    monkeypatch.setenv("TERM", kind)
    for name in ("_drawn", "_logged"):
        monkeypatch.setattr(progress, name, lambda _, name=name: name)
    assert progress.show(Run({}), [], MessageWriter()) == how  # type: ignore[comparison-overlap]


def test_rates_are_those_of_late(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(progress, "monotonic", lambda: now)
    run = Run({})
    known = TapCompose(config={}, validate_config=False, setup_mapper=False).streams
    streams = [known["teams"], known["user"]]
    look = Progress(run, streams, MessageWriter(), rate_over=10).snapshot
    stats = run.report.of("user")
    stats.began = now
    for _ in range(20):
        now += 1
        stats.rows += 50
        snapshot = look()
    assert snapshot.rows_per_second == pytest.approx(50)
    now += 10
    assert look().rows_per_second == 0
    assert (snapshot.rows, snapshot.streams_done, snapshot.stream) == (1000, 1, "user")
    run.report.note("user", "", 0, missing=Missing(Outcome.SKIPPED, "HTTP 403 Forbidden", 403))
    assert look().missing == "1 skipped"


def test_a_line_now_and_then_where_nobody_looks_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "LOG_EVERY", 0.1)
    with (
        caplog.at_level(logging.INFO),
        Sandbox(Size(deployments=30, events=10), latency=0.05) as sandbox,
    ):
        sync(
            config_for(sandbox, max_concurrency=1),
            streams=["deployment_roles", "deployment_addons"],
        )
        for each in threading.enumerate():
            if each.name == "progress":
                each.join(60)  # it ends with the run
                assert not each.is_alive()
    places = _progress_of(caplog)
    assert {"deployment_roles", "deployment_addons"} == {each["stream"] for each in places} - {""}
    first = next(each for each in places if each["parts_done"])
    last = places[-1]
    assert first["parts"] == 30
    assert first["parts_done"] < 30
    assert 0 < max(each["requests_per_second"] for each in places) < 30
    assert last["streams_done"] == 1
    for place in places:  # two streams of 30 deployments
        if place["stream"]:
            done = 30 * place["streams_done"] + place["parts_done"]
            assert place["share"] == pytest.approx(done / 60, abs=0.02)
        assert not place["waiting_for"].endswith(" 0 s")
    assert last["rows"] > first["rows"] > 0
    assert any("GET /deployments/" in each["waiting_for"] for each in places)


def _progress_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(each)["progress"] for each in caplog.records if "progress" in vars(each)]


def test_the_audit_log_tells_the_time_that_it_has_reached(whole: Output) -> None:
    assert whole.tap is not None
    stats = whole.tap.run.report.of("audit_events")
    assert stats.reached > "2018"
    assert (stats.parts, stats.parts_done) == (1, 1)


def test_on_a_terminal_it_is_drawn_and_stdout_holds_messages_alone(tmp_path: Path) -> None:
    with Sandbox(Size(deployments=25, events=100), latency=0.05) as sandbox:
        (tmp_path / "config.json").write_text(
            json.dumps({**config_for(sandbox, max_concurrency=1), "start_dat": "2018"})
        )
        streams = ("deployment_addons", "deployment_roles", "teams")
        catalog = catalog_of(*streams)
        catalog["streams"].append({**catalog["streams"][0], "tap_stream_id": "nothing"})
        (tmp_path / "catalog.json").write_text(json.dumps(catalog))
        arguments: list[str | Path] = [
            "--config",
            tmp_path / "config.json",
            "--catalog",
            tmp_path / "catalog.json",
        ]
        with (tmp_path / "out").open("wb") as out:
            status, text = on_a_terminal(*arguments, stdout=out.fileno())
        assert status == 0
        kinds = {json.loads(line)["type"] for line in (tmp_path / "out").read_text().splitlines()}
        assert kinds == {"SCHEMA", "RECORD", "STATE"}
        assert "\x1b[?25l" not in text[text.rindex("\x1b[?25h") :]  # the cursor is back
        text = without_colours(text)
        drawn, _, summary = text[text.index("of 3 streams") :].partition("\nstream  ")
        assert re.search(r"deployment_addons: \d+ of 25 deployments", drawn)
        assert re.search(r"\d+ rows, \d+/s; \d+ requests, \d+/s; 1 skipped", drawn)
        assert "waiting for GET /deployments/" in drawn
        assert "INFO" not in drawn
        assert "WARNING" not in drawn  # the skip is named below
        assert f"skipped: deployment_addons of deployment {sandbox.account.leaving}: " in summary

        # On the screen that shows the messages nothing is drawn.
        status, text = on_a_terminal(*arguments)
        assert status == 0
        assert '"type":"SCHEMA"' in text
        assert "waiting for" not in text
