"""The command ``compose-sandbox``: ``run``, ``serve`` and ``demo``."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import requests

from tap_compose.sandbox.faults import KINDS
from tap_compose.sandbox.made_up_account import Account
from tap_compose.streams import STREAMS
from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

TARGET = ROOT / ".venvs" / "target-jsonl" / "bin" / "target-jsonl"
ON_PURPOSE = (
    f"deployment {Account().leaving} is skipped on purpose: the sandbox imitates one that is "
    "being deprovisioned; in a real account, find out why something is skipped"
)
SMALL = ("--deployments=1", "--events=1", "--recipes=1")


def _sandbox(
    *arguments: str | Path, folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tap_compose.sandbox", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


ASK = """
import os, requests
print(os.environ["MELTANO_RUN_STATE_ID_SUFFIX"])
token = {"Authorization": f"Bearer {os.environ['TAP_COMPOSE_API_TOKEN']}"}
get = lambda path: requests.get(os.environ["TAP_COMPOSE_API_URL"] + path, headers=token)
print(len(get("/accounts").json()["_embedded"]["accounts"]), "name" in get("/user").json())
exit(7)
"""


def test_run_passes_url_and_token_and_ends_as_the_command_does() -> None:
    options = ("--quirks", "all", "--accounts", "3", "--deployments", "1")
    process = _sandbox("run", *options, "--", sys.executable, "-c", ASK)
    assert (process.returncode, process.stdout) == (7, "sandbox\n3 False\n"), process.stderr


BURST = """
import os, requests
token = {"Authorization": f"Bearer {os.environ['TAP_COMPOSE_API_TOKEN']}"}
answers = [requests.get(os.environ["TAP_COMPOSE_API_URL"] + "/user", headers=token) for _ in "abc"]
print(sorted({each.status_code for each in answers}))
print(next((each.text, each.headers["Retry-After"]) for each in answers if not each.ok))
"""


def test_a_rate_refuses_what_exceeds_it() -> None:
    process = _sandbox("run", "--rate=1", "--retry-after=7", "--", sys.executable, "-c", BURST)
    assert process.stdout == "[200, 429]\n('{\"errors\":\"rate_limit_exceeded\"}', '7')\n"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--retry-after", "7", "--", "true"], 2, "--retry-after: nothing is refused; add --rate"),
        (
            ["--faults", "STATUS", "--", "true"],
            2,
            "Invalid value for '--faults': unknown fault STATUS: use one of " + ", ".join(KINDS),
        ),
        (["--", "no-such-command"], 1, "no-such-command: No such file or directory"),
        (
            ["--", "sh", "-c", "tap-compose --config 'a.json' | target-jsonl --config ENV"],
            1,
            (
                "tap-compose --config a.json would not ask the sandbox: "
                "only --config ENV reads its URL and token; use that"
            ),
        ),
    ],
)
def test_what_run_refuses(arguments: list[str], status: int, message: str) -> None:
    process = _sandbox("run", *arguments)
    assert (process.returncode, process.stdout) == (status, "")
    assert process.stderr.endswith(f"Error: {message}\n")


def test_run_passes_a_signal_on_to_the_command() -> None:
    child = "import time; print('ready', flush=True); time.sleep(600)"
    command = ("run", "--deployments", "0", "--", sys.executable, "-c", child)
    with subprocess.Popen(
        [sys.executable, "-m", "tap_compose.sandbox", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (128 + signal.SIGTERM, "")


def test_serve_prints_url_and_token_and_stops_quietly() -> None:
    command = ["serve", "--port", "0", "--deployments", "0", "--events", "10", "--seed", "4"]
    with subprocess.Popen(
        [sys.executable, "-m", "tap_compose.sandbox", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip().removeprefix("TAP_COMPOSE_API_URL=")
        token = process.stdout.readline().strip().removeprefix("TAP_COMPOSE_API_TOKEN=")
        headers = {"Authorization": f"Bearer {token}"}
        assert requests.get(f"{url}/accounts", headers=headers, timeout=60).ok
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "stopped\n")


def test_the_demo_shows_every_stream_whatever_the_settings_around_it_are(tmp_path: Path) -> None:
    output = tmp_path / "files"
    (tmp_path / ".env").write_text("TAP_COMPOSE_DEPLOYMENT_IDS=one\nTAP_COMPOSE_FAIL_ON_SKIP=1\n")
    process = _sandbox(
        *("demo", "--target", TARGET, "--output", output),
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
    rows = {line.split()[0]: int(line.split()[1]) for line in lines[1 : 1 + len(STREAMS)]}
    assert len(rows) == len(STREAMS)
    assert all(rows.values())
    assert rows["audit_events"] == 5000
    assert lines[-3].startswith("done with 14 skipped: ")
    assert lines[-2:] == [ON_PURPOSE, "tap-compose ended with status 0, target-jsonl with 0"]


def test_the_demo_replaces_its_own_files_and_no_others(tmp_path: Path) -> None:
    output = tmp_path / "files"
    demo = ("demo", "--target", TARGET, "--output", output)
    first = _sandbox(*demo, "--deployments=2", "--events=7")
    assert first.returncode == 0, first.stderr
    assert (output / "deployment_alerts.jsonl").exists()
    (output / "notes.jsonl").write_text("mine")
    second = _sandbox(*demo, *SMALL)
    assert second.returncode == 0, second.stderr
    assert (output / "notes.jsonl").read_text() == "mine"
    assert (output / "audit_events.jsonl").read_text().count("\n") == 1
    assert not (output / "deployment_alerts.jsonl").exists()  # a single deployment is healthy
    assert "on purpose" not in first.stdout + second.stdout


def test_what_the_demo_refuses(tmp_path: Path) -> None:
    folder = tmp_path / "account"
    folder.mkdir()
    file = folder / "state.json"
    file.write_text("{}")
    process = _sandbox("demo", "--target", TARGET, "--output", folder, *SMALL)
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr == (
        f"Error: --output {folder}: it is neither empty nor an earlier demo's; name a new folder\n"
    )
    assert file.read_text() == "{}"
    process = _sandbox("demo", "--target", "no-such-target", "--output", tmp_path / "new")
    assert process.returncode == 1
    assert process.stderr == (
        "Error: --target no-such-target: no such command; install target-jsonl or give its path\n"
    )


def test_a_demo_whose_target_fails(tmp_path: Path) -> None:
    target = tmp_path / "full"
    target.write_text("#!/bin/sh\necho the disk is full >&2\nexit 3\n")
    target.chmod(0o700)
    process = _sandbox("demo", "--target", target, "--output", tmp_path / "files")
    assert (process.returncode, process.stderr.splitlines()[1:]) == (1, ["the disk is full"])
    assert process.stdout.splitlines()[-1] == (
        "tap-compose ended with status 1, full with 3; the log of full is above"
    )
