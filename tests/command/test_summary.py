"""The summary at the end of a run."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import pytest

from tap_compose.sandbox.faults import Fault
from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.quirks import Quirks
from tap_compose.sandbox.server import Sandbox
from tests.support.tap_runs import command, config_for, input_files, sync

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.tap_runs import Output

STREAMS = ("deployment_addons", "deployment_portals", "teams")


@pytest.mark.parametrize("fail_on_skip", [False, True])
def test_it_ends_the_log_where_stderr_is_no_terminal(
    fail_on_skip: bool, tmp_path: Path, sandbox: Sandbox, whole: Output
) -> None:
    config = config_for(sandbox, fail_on_skip=fail_on_skip)
    output = command(*input_files(tmp_path, *STREAMS, config=config))
    assert output.status == fail_on_skip
    parts = [line.split("|", 3) for line in output.stderr.splitlines()[-5:]]
    lines = [re.sub(r"[\d.]+ s(?=$|;)", "T s", part[3].strip()) for part in parts]
    addons, portals, teams = (len(whole.rows[each]) for each in STREAMS)
    gone = "it no longer exists or is being deprovisioned (HTTP 404 Not Found: not_found)"
    end = "0 retries, {} skipped, 0 failed, T s"
    total = f"{addons + portals + teams} rows from 3 streams, 26 requests, T s"
    why = "; exit status 1, because fail_on_skip is set" * fail_on_skip
    leaving = sandbox.account.leaving
    assert lines == [
        f"summary of deployment_addons: {addons} rows, 12 requests, {end.format(1)}",
        f"summary of deployment_portals: {portals} rows, 12 requests, {end.format(1)}",
        f"summary of teams: {teams} rows, 1 request, {end.format(0)}",
        f"skipped: deployment_addons, deployment_portals of deployment {leaving}: {gone}",
        f"done with 2 skipped: {total}{why}",
    ]
    levels = [part[1].strip() for part in parts]
    assert levels == [*["INFO"] * 3, "WARNING", "WARNING" if fail_on_skip else "INFO"]


def test_a_token_that_may_read_no_deployment_gets_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    size = Size(deployments=20, events=0, quirks=Quirks.NONE)
    parts = ("deployment_addons", "deployment_backups", "deployment_details", "deployment_roles")
    faults = [Fault("403", 1, "/deployments/*"), Fault("403", 1, "/deployments/*/*")]
    with Sandbox(size, faults=faults) as sandbox:
        sync(config_for(sandbox), streams=[*parts, "deployments", "coverage"])
        ids = sandbox.account.deployment_ids
    why = "this token may not read it (HTTP 403 Forbidden: struck by a fault)"
    some = f"of 20 deployments ({', '.join(ids[:3])}, 17 more)"
    each_one = [f"skipped: {part} of deployment {id_}: {why}" for part in parts for id_ in ids]
    shown = {each.getMessage(): each.levelname for each in caplog.records}
    assert {text: level for text, level in shown.items() if text.startswith("skipped: ")} == {
        **dict.fromkeys(each_one, "DEBUG"),
        f"skipped: {', '.join(parts)} {some}: {why}": "WARNING",
    }
    assert list(shown.values()).count("WARNING") == 1
    assert "ERROR" not in shown.values()
