"""The options of the command, and the ways to give it settings."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING

from tap_compose.streams import STREAMS
from tests.support.tap_runs import command, config_for, input_files, sync

if TYPE_CHECKING:
    from pathlib import Path

    from tap_compose.sandbox.server import Sandbox


def test_discovery_needs_no_token() -> None:
    output = command("--discover")
    assert output.status == 0
    assert len(json.loads(output.stdout)["streams"]) == len(STREAMS)


def test_about_names_every_setting() -> None:
    output = command("--about", "--format=json")
    about = json.loads(output.stdout)
    assert about["name"] == "tap-compose"
    assert about["version"] == version("tap-compose")
    assert "batch" not in about["capabilities"]
    for name, schema in about["settings"]["properties"].items():
        assert schema["description"], name
        assert schema["title"], name


def test_requests_name_the_version(sandbox: Sandbox) -> None:
    sandbox.log.clear()
    sync(config_for(sandbox), streams=["user"])
    agents = [each["user-agent"] for each in sandbox.log.headers]
    assert agents == [f"tap-compose/{version('tap-compose')}"]


def test_test_schema_makes_no_request(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.log.clear()
    output = command(*input_files(tmp_path, config=config_for(sandbox)), "--test=schema")
    assert output.status == 0
    assert {message["type"] for message in output.messages} == {"SCHEMA"}
    assert sandbox.log.paths == []


def test_several_config_files_of_which_the_last_counts(tmp_path: Path, sandbox: Sandbox) -> None:
    first = {"api_token": sandbox.token, "api_url": "https://nowhere.invalid"}
    (tmp_path / "second.json").write_text(json.dumps({"api_url": sandbox.url}))
    files = input_files(tmp_path, "user", config=first)
    output = command(*files, "--config", tmp_path / "second.json")
    assert output.status == 0
    assert len(output.rows["user"]) == 1
