"""An exception that nobody expected, in one stream: the others go out, and no state is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tap_compose.rows import Report
from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.server import Sandbox
from tap_compose.streams.audit import AuditEvents
from tests.support.tap_runs import catalog_of, command, config_for, sync

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tap_compose.rows import Row

STREAMS = ("audit_events", "deployment_recipes", "deployments", "teams", "user")
REASON = "unexpected AttributeError: 'NoneType' object has no attribute 'encode'"


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_a_stream_map_that_fails_on_a_row(level: str, sandbox: Sandbox, tmp_path: Path) -> None:
    maps = {"user": {"name": "md5(name)"}, "teams": {"name": "name.nosuch"}}
    (tmp_path / "config").write_text(json.dumps(config_for(sandbox, stream_maps=maps)))
    (tmp_path / "catalog").write_text(json.dumps(catalog_of(*STREAMS)))
    arguments = ("--config", tmp_path / "config", "--catalog", tmp_path / "catalog")
    output = command(*arguments, environment={"LOGLEVEL": level})
    assert output.status == 1
    usual = sync(config_for(sandbox), streams=list(STREAMS))
    whole = ("audit_events", "deployment_recipes", "deployments")
    assert output.rows == {each: usual.rows[each] for each in whole}
    assert output.state == usual.state
    lines = [line for line in output.stderr.splitlines() if "| ERROR " in line]
    texts = [line.split("|", 3)[3].strip() for line in lines]
    assert texts[0].startswith("failed: teams: unexpected MapExpressionError: ")
    assert texts[1] == f"failed: user: {REASON}; LOGLEVEL=DEBUG shows where"
    assert texts[2].startswith("incomplete with 1 skipped, 2 failed: ")
    assert len(texts) == 3
    assert f"user: {REASON}; LOGLEVEL=DEBUG shows where" in output.stderr  # the summary
    assert ("Traceback" in output.stderr) == (level == "DEBUG")


class _Weak(Account):
    """An account in which a recipe of the second deployment has no name."""

    def resource(self, deployment_id: str, name: str) -> dict[str, Any]:
        body = super().resource(deployment_id, name)
        if name == "recipes" and deployment_id == self.deployment_ids[1]:
            body["_embedded"]["recipes"][-1]["name"] = None
        return body


def test_a_bookmark_covers_only_what_was_written_before() -> None:
    with Sandbox(account=_Weak(Size(deployments=3, events=0, recipes=4))) as sandbox:
        maps = {"deployment_recipes": {"name": "md5(name)"}}
        output = sync(config_for(sandbox, stream_maps=maps), streams=["deployment_recipes", "user"])
        first, second, _ = sandbox.account.deployment_ids
    assert output.status == 1
    assert output.rows.keys() == {"deployment_recipes", "user"}
    partitions = output.bookmarks["deployment_recipes"]["partitions"]
    assert [each["context"]["deployment_id"] for each in partitions] == [first]
    written = {row["deployment_id"] for row in output.rows["deployment_recipes"]}
    assert written <= {first, second}


class _Broken(AuditEvents):
    """A bug that shows after the first events."""

    def row_batches(self, context: Any) -> Iterator[list[Row]]:
        for number, rows in enumerate(super().row_batches(context)):
            if number == 2:
                raise KeyError("made up")
            yield rows


def test_a_bug_fails_its_stream_only(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    streams = ["audit_events", "databases", "teams"]
    monkeypatch.setattr("tap_compose.tap.STREAMS", tuple(_swapped()))
    output = sync(config_for(sandbox, emit_activate_version_messages=True), streams=streams)
    assert output.status == 1
    assert output.rows.keys() == set(streams)
    versions = [each["stream"] for each in output.of_type("ACTIVATE_VERSION")]
    assert versions == ["databases", "teams"]
    times = [row["created_at"] for row in output.rows["audit_events"]]
    assert output.bookmarks["audit_events"]["replication_key_value"] >= max(times)
    assert "failed: audit_events: unexpected KeyError: 'made up'; LOGLEVEL" in caplog.text
    monkeypatch.undo()
    rest = sync(config_for(sandbox, lookback_seconds=0), streams=streams, state=output.state)
    ids = {row["id"] for each in (output, rest) for row in each.rows["audit_events"]}
    whole = sync(config_for(sandbox), streams=["audit_events"])
    assert ids == {row["id"] for row in whole.rows["audit_events"]}


def _swapped() -> Iterator[type]:
    from tap_compose.streams import STREAMS as ALL

    for each in ALL:
        yield _Broken if each is AuditEvents else each


def test_no_version_is_activated_for_a_stream_that_failed(sandbox: Sandbox) -> None:
    maps = {"user": {"name": "md5(name)"}}
    config = config_for(sandbox, stream_maps=maps, emit_activate_version_messages=True)
    output = sync(config, streams=["teams", "user"])
    assert [each["stream"] for each in output.of_type("ACTIVATE_VERSION")] == ["teams"]


@pytest.mark.parametrize("bug", [KeyError("made up"), StopIteration("made up")])
def test_a_bug_in_a_reader_fails_one_deployment(
    bug: Exception, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_for(sandbox, emit_activate_version_messages=True)
    streams = ["deployment_backups", "deployment_portals", "teams"]
    expected = sync(config, streams=streams).rows
    deployment = expected["deployment_backups"][0]["deployment_id"]
    read = Report.read

    def broken(report: Report, body: bytes, injected: Mapping[str, Any]) -> Any:
        if injected.get("deployment_id") == deployment and b'"backups"' in body:
            raise bug
        return read(report, body, injected)

    monkeypatch.setattr(Report, "read", broken)
    output = sync(config, streams=streams)
    assert output.status == 1
    assert [each for each in output.missing if each[0] == "failed"] == [
        (
            "failed",
            "deployment_backups",
            deployment,
            f"unexpected {type(bug).__name__}: {bug}; LOGLEVEL=DEBUG shows where",
        )
    ]
    backups = expected.pop("deployment_backups")
    assert output.rows.pop("deployment_backups") == [
        row for row in backups if row["deployment_id"] != deployment
    ]
    assert output.rows == expected
    versions = [each["stream"] for each in output.of_type("ACTIVATE_VERSION")]
    assert versions == ["deployment_portals", "teams"]
