"""What a run says of itself at its end."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING

import pytest

from tap_compose.report import Missing, Outcome, Report, counted
from tap_compose.sandbox.faults import Fault
from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.quirks import Quirks
from tap_compose.sandbox.server import Sandbox
from tests.support.tap_runs import (
    catalog_of,
    command,
    config_for,
    on_a_terminal,
    sync,
    without_colours,
)

if TYPE_CHECKING:
    from pathlib import Path

LOGGING = """
version: 1
disable_existing_loggers: false
formatters:
  structured:
    (): singer_sdk.logging.StructuredFormatter
handlers:
  errors:
    class: logging.StreamHandler
    formatter: structured
    stream: ext://sys.stderr
root:
  level: INFO
  handlers: [errors]
"""
STREAMS = ("deployment_addons", "deployment_portals", "teams")


def _inputs(folder: Path, sandbox: Sandbox) -> list[str]:
    (folder / "config.json").write_text(json.dumps(config_for(sandbox)))
    (folder / "catalog.json").write_text(json.dumps(catalog_of(*STREAMS)))
    return ["--config", str(folder / "config.json"), "--catalog", str(folder / "catalog.json")]


def test_counts_agree_with_their_nouns() -> None:
    assert [counted(n, "row") for n in (0, 1, 2, 7109)] == [
        "0 rows",
        "1 row",
        "2 rows",
        "7,109 rows",
    ]
    assert [counted(n, "retry", "retries") for n in (0, 1, 2)] == [
        "0 retries",
        "1 retry",
        "2 retries",
    ]


@pytest.mark.parametrize(
    ("outcomes", "stopped", "fail_on_skip", "verdict"),
    [
        ([], None, True, "INFO done: {}"),
        ([Outcome.SKIPPED] * 14, None, False, "INFO done with 14 skipped: {}"),
        (
            [Outcome.SKIPPED],
            None,
            True,
            "WARNING done with 1 skipped: {}; exit status 1, because fail_on_skip is set",
        ),
        (
            [Outcome.SKIPPED, Outcome.FAILED],
            None,
            True,
            "ERROR incomplete with 1 skipped, 1 failed: {}",
        ),
        ([], "received SIGTERM", False, "ERROR stopped early: received SIGTERM; {}"),
    ],
)
def test_the_verdict(
    outcomes: list[Outcome],
    stopped: str | None,
    fail_on_skip: bool,
    verdict: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tap_compose.report.monotonic", lambda: 101.9)
    report = Report(began=100.0, requests=1)
    for number, each in enumerate(outcomes):
        report.note("teams", str(number), 0, missing=Missing(each, "why"))
    report.of("teams").rows, report.of("teams").began = 1, 100.0
    level, text = report.verdict(stopped, fail_on_skip=fail_on_skip)
    figures = "1 row from 1 stream, 1 request, 1.9 s"
    assert f"{logging.getLevelName(level)} {text}" == verdict.format(figures)


def test_log_lines_where_stderr_is_no_terminal(tmp_path: Path, sandbox: Sandbox) -> None:
    output = command(*_inputs(tmp_path, sandbox))
    parts = [line.split("|", 3) for line in output.stderr.splitlines()]
    lines = [part[3].strip() for part in parts if len(part) > 3]
    leaving = sandbox.account.leaving
    table = re.sub(r"[\d.]+ s$", "T s", "\n".join(lines[-5:-1]), flags=re.MULTILINE)
    gone = "it no longer exists or is being deprovisioned (HTTP 404 Not Found: not_found)"
    nothing = "0 retries, {} skipped, 0 failed, T s"
    assert table.splitlines() == [
        f"summary of deployment_addons: 21 rows, 12 requests, {nothing.format(1)}",
        f"summary of deployment_portals: 22 rows, 12 requests, {nothing.format(1)}",
        f"summary of teams: 2 rows, 1 request, {nothing.format(0)}",
        f"skipped: deployment_addons, deployment_portals of deployment {leaving}: {gone}",
    ]
    assert lines[-1].startswith("done with 2 skipped: 45 rows from 3 streams, 26 requests, ")


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_a_stream_that_lacks_many_deployments_has_one_line(tmp_path: Path, level: str) -> None:
    size = Size(deployments=20, events=0, quirks=Quirks.NONE)
    with Sandbox(size, faults=[Fault("403", 1, "/deployments/*/addons")]) as sandbox:
        inputs = _inputs(tmp_path, sandbox)
        output = command(*inputs, environment={"LOGLEVEL": level})
    lines = [line.split("|", 3) for line in output.stderr.splitlines() if "| skipped: " in line]
    first = ", ".join(sandbox.account.deployment_ids[:3])
    why = "this token may not read it (HTTP 403 Forbidden: struck by a fault)"
    summary = f"skipped: deployment_addons of 20 deployments ({first}, 17 more): {why}"
    each = [
        f"skipped: deployment_addons of deployment {name}: {why}"
        for name in (sandbox.account.deployment_ids if level == "DEBUG" else [])
    ]
    assert [part[3].strip() for part in lines] == [*each, summary]
    assert [part[1].strip() for part in lines] == [*["DEBUG"] * len(each), "WARNING"]


def test_fields_where_logs_are_structured(tmp_path: Path, sandbox: Sandbox) -> None:
    (tmp_path / "logging.yaml").write_text(LOGGING)
    output = command(
        *_inputs(tmp_path, sandbox),
        environment={"SINGER_SDK_LOG_CONFIG": str(tmp_path / "logging.yaml")},
    )
    records = [json.loads(line) for line in output.stderr.splitlines() if line.startswith("{")]
    summary = {}
    for record in records:
        summary.update(record["extra"].get("summary", {}))
    assert summary.keys() == set(STREAMS)
    assert summary["deployment_addons"]["rows"] == 21
    assert summary["deployment_addons"]["skipped"] == 1


def test_a_table_where_a_person_looks_on(tmp_path: Path, sandbox: Sandbox) -> None:
    with (tmp_path / "out").open("wb") as out:
        status, text = on_a_terminal(*_inputs(tmp_path, sandbox), stdout=out.fileno())
    assert status == 0
    lines = without_colours(text).splitlines()
    del lines[: [line.split()[:2] for line in lines].index(["stream", "rows"])]
    assert lines[0].split() == [
        "stream",
        "rows",
        "requests",
        "retries",
        "skipped",
        "failed",
        "seconds",
    ]
    assert lines[1].split()[:6] == ["deployment_addons", "21", "12", "-", "1", "-"]
    assert lines[3].split()[:3] == ["teams", "2", "1"]
    assert lines[-1].startswith("done with 2 skipped: 45 rows from 3 streams")


def test_a_stream_in_which_the_run_stopped_has_its_time(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    output = sync(config_for(sandbox, api_token="wrong"), streams=["teams"])
    assert output.status == 1
    summary = next(line for line in caplog.messages if line.startswith("summary of teams"))
    assert re.search(r": 0 rows, .* 0 failed, \d+\.\d+ s$", summary)
