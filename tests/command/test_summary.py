"""The summary at the end of a run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tap_compose.sandbox.faults import Fault
from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.quirks import Quirks
from tap_compose.sandbox.server import Sandbox
from tests.support.expected import expected_rows
from tests.support.tap_runs import (
    command,
    config_for,
    input_files,
)

if TYPE_CHECKING:
    from pathlib import Path

STREAMS = ("deployment_addons", "deployment_portals", "teams")


def _counts(sandbox: Sandbox) -> list[int]:
    rows = expected_rows(sandbox.account)
    return [len(rows[each]) for each in STREAMS]


def test_log_lines_where_stderr_is_no_terminal(tmp_path: Path, sandbox: Sandbox) -> None:
    output = command(*input_files(tmp_path, *STREAMS, config=config_for(sandbox)))
    parts = [line.split("|", 3) for line in output.stderr.splitlines()]
    lines = [part[3].strip() for part in parts if len(part) > 3]
    leaving = sandbox.account.leaving
    addons, portals, teams = _counts(sandbox)
    table = re.sub(r"[\d.]+ s$", "T s", "\n".join(lines[-5:-1]), flags=re.MULTILINE)
    gone = "it no longer exists or is being deprovisioned (HTTP 404 Not Found: not_found)"
    nothing = "0 retries, {} skipped, 0 failed, T s"
    assert table.splitlines() == [
        f"summary of deployment_addons: {addons} rows, 12 requests, {nothing.format(1)}",
        f"summary of deployment_portals: {portals} rows, 12 requests, {nothing.format(1)}",
        f"summary of teams: {teams} rows, 1 request, {nothing.format(0)}",
        f"skipped: deployment_addons, deployment_portals of deployment {leaving}: {gone}",
    ]
    rows = addons + portals + teams
    assert lines[-1].startswith(f"done with 2 skipped: {rows} rows from 3 streams, 26 requests, ")


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_a_token_that_may_read_no_deployment_gets_one_line(tmp_path: Path, level: str) -> None:
    size = Size(deployments=20, events=0, quirks=Quirks.NONE)
    parts = ("deployment_addons", "deployment_backups", "deployment_details", "deployment_roles")
    faults = [Fault("403", 1, "/deployments/*"), Fault("403", 1, "/deployments/*/*")]
    with Sandbox(size, faults=faults) as sandbox:
        streams = (*parts, "deployments", "coverage")
        files = input_files(tmp_path, *streams, config=config_for(sandbox))
        output = command(*files, environment={"LOGLEVEL": level})
        ids = sandbox.account.deployment_ids
    lines = [line.split("|", 3) for line in output.stderr.splitlines() if "| skipped: " in line]
    why = "this token may not read it (HTTP 403 Forbidden: struck by a fault)"
    some = f"of 20 deployments ({', '.join(ids[:3])}, 17 more)"
    each = [
        f"skipped: {part} of deployment {name}: {why}"
        for part in parts
        for name in (ids if level == "DEBUG" else [])
    ]
    summary = f"skipped: {', '.join(parts)} {some}: {why}"
    assert [line[3].strip() for line in lines] == [*each, summary]
    assert [line[1].strip() for line in lines] == [*["DEBUG"] * len(each), "WARNING"]
    assert output.stderr.count("| WARNING ") == 1
    assert output.stderr.count("| ERROR ") == 0
