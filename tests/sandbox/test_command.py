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
from click.testing import CliRunner

from tap_compose.sandbox.cli import main
from tap_compose.sandbox.faults import KINDS
from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.server import Sandbox
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


def _refusal(*arguments: str) -> tuple[int, str]:
    """The exit status and the error of a command that does nothing."""
    result = CliRunner().invoke(main, arguments)
    assert result.stdout == ""
    return result.exit_code, result.stderr.splitlines()[-1].removeprefix("Error: ")


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
    assert _refusal("run", *arguments) == (status, message)


def test_a_rate_refuses_what_exceeds_it() -> None:
    with Sandbox(Size(events=0), rate=1, retry_after=7) as sandbox:
        headers = {"Authorization": f"Bearer {sandbox.token}"}
        url = f"{sandbox.url}/user"
        responses = (requests.get(url, headers=headers, timeout=60) for _ in range(100))
        assert next(responses).ok
        refused = next(each for each in responses if not each.ok)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "7")
    assert refused.json() == {"errors": "rate_limit_exceeded"}


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


def test_the_demo_shows_every_stream_and_replaces_its_own_files_alone(tmp_path: Path) -> None:
    output = tmp_path / "files"
    demo = ("demo", "--target", TARGET, "--output", output)
    (tmp_path / ".env").write_text("TAP_COMPOSE_DEPLOYMENT_IDS=one\nTAP_COMPOSE_FAIL_ON_SKIP=1\n")
    process = _sandbox(
        *demo,
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
    assert re.fullmatch(rf"done with \d+ skipped: .* from {len(STREAMS)} streams, .*", lines[-3])
    assert lines[-2:] == [ON_PURPOSE, "tap-compose ended with status 0, target-jsonl with 0"]

    (output / "notes.jsonl").write_text("mine")
    process = _sandbox(*demo, *SMALL)
    assert process.returncode == 0, process.stderr
    assert (output / "notes.jsonl").read_text() == "mine"
    assert (output / "audit_events.jsonl").read_text().count("\n") == 1
    assert not (output / "deployment_alerts.jsonl").exists()  # a single deployment is healthy
    assert "on purpose" not in process.stdout + process.stderr


def test_what_the_demo_refuses(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text("{}")
    assert _refusal("demo", "--target", str(TARGET), "--output", str(tmp_path)) == (
        1,
        f"--output {tmp_path}: it is neither empty nor an earlier demo's; name a new folder",
    )
    assert file.read_text() == "{}"
    assert _refusal("demo", "--target", "no-such-target") == (
        1,
        "--target no-such-target: no such command; install target-jsonl or give its path",
    )


def test_a_demo_whose_target_fails(tmp_path: Path) -> None:
    target = tmp_path / "full"
    target.write_text("#!/bin/sh\necho the disk is full >&2\nexit 3\n")
    target.chmod(0o700)
    process = _sandbox("demo", "--target", target, "--output", tmp_path / "files", *SMALL)
    assert (process.returncode, process.stderr.splitlines()[1:]) == (1, ["the disk is full"])
    assert process.stdout.splitlines()[-1] == (
        "tap-compose ended with status 1, full with 3; the log of full is above"
    )
