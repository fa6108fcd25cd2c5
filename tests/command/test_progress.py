"""The progress of a run: drawn on a terminal, logged elsewhere."""

from __future__ import annotations

import json
import logging
import os
import re
from typing import TYPE_CHECKING

from rich.console import Console

from tap_compose import progress
from tap_compose.progress import drawing
from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.server import Sandbox
from tests.support.tap_runs import config_for, input_files, on_a_terminal, sync, without_colours
from tools.pictures import SNAPSHOT

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_drawing_cannot_control_the_terminal() -> None:
    console = Console(width=92, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(drawing([*SNAPSHOT, "waiting for GET /a\x1b[2J\nb\u202e"]))
        lines = console.export_text().splitlines()
    shown = [*SNAPSHOT, r"waiting for GET /a\x1b[2J\nb\u202e"]
    assert lines == ["tap-compose", *(f"  {each}" for each in shown)]


def test_log_lines_where_stderr_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "LOG_EVERY", 0.01)
    with (
        caplog.at_level(logging.INFO),
        Sandbox(Size(deployments=30, events=10), latency=0.02) as sandbox,
    ):
        sync(
            config_for(sandbox, max_concurrency=1),
            streams=["deployment_roles", "deployment_addons"],
        )
    lines = [each for each in caplog.messages if each.startswith("progress: ")]
    found = [
        re.fullmatch(
            r"progress: ([01]) of 2 streams in \d s; deployment_\w+: (\d+) of 30 deployments; "
            r"[\d,]+ rows?, \d+/s; [\d,]+ requests?, \d+/s(?:; 1 skipped)?"
            r"(?:; waiting for GET /deployments/\w+/\w+)?",
            each,
        )
        for each in lines
    ]
    places = [tuple(map(int, each.groups())) for each in found if each]
    assert places
    assert places == sorted(places)
    assert any("waiting for GET /deployments/" in each for each in lines)


def test_on_a_terminal_it_is_drawn_and_stdout_has_only_messages(tmp_path: Path) -> None:
    with Sandbox(Size(deployments=25, events=100), latency=0.05) as sandbox:
        config = config_for(sandbox, max_concurrency=1, start_dat="2018")
        streams = ("deployment_addons", "deployment_roles", "teams")
        arguments = input_files(tmp_path, *streams, config=config)
        with (tmp_path / "out").open("wb") as out:
            status, text = on_a_terminal(*arguments, stdout=out.fileno())
        assert status == 0
        kinds = {json.loads(line)["type"] for line in (tmp_path / "out").read_text().splitlines()}
        assert kinds == {"SCHEMA", "RECORD", "STATE"}
        assert "\x1b[?25l" not in text[text.rindex("\x1b[?25h") :]  # the cursor is back
        text = without_colours(text)
        drawn, summary = re.split(r"\n.*summary of", text[text.index("of 3 streams") :], maxsplit=1)
        assert re.search(r"deployment_addons: \d+ of 25 deployments", drawn)
        assert re.search(r"\d+ rows, \d+/s\n  \d+ requests, \d+/s\n  1 skipped", drawn)
        assert "waiting for GET /deployments/" in drawn
        assert "INFO" not in drawn
        assert "WARNING" not in drawn  # the skip is named below
        assert f"skipped: deployment_addons of deployment {sandbox.account.leaving}: " in summary

        # Nothing is drawn on a terminal that shows the messages.
        status, text = on_a_terminal(*input_files(tmp_path, "teams", config=config))
        assert status == 0
        assert '"type":"SCHEMA"' in text
        assert "tap-compose ━" not in text
