"""The options of the command, and the ways to give it settings."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from typing import TYPE_CHECKING

from tap_compose.streams import STREAMS
from tests.support.tap_runs import catalog_of, command, config_for, sync

if TYPE_CHECKING:
    from pathlib import Path

    from tap_compose.sandbox.server import Sandbox


def test_version() -> None:
    output = command("--version")
    assert output.stdout.decode().startswith(f"tap-compose v{version('tap-compose')}, Meltano SDK")


def test_the_help_describes_what_the_options_do() -> None:
    text = " ".join(command("--help").stdout.decode().split())
    test = (
        "Send a request or two per stream, print which streams the token can read, and exit with "
        "1 if a sync would fail. --test=schema only writes the SCHEMA messages."
    )
    assert f"--test TEXT {test} --" in text


def test_the_help_ends_with_an_example_that_runs(tmp_path: Path, sandbox: Sandbox) -> None:
    *_, first, second = command("--help").stdout.decode().rstrip().splitlines()
    assert first == "    tap-compose --config config.json --test"
    assert second == "    tap-compose --config config.json --state state.json | target-jsonl"
    (tmp_path / "config.json").write_text(json.dumps(config_for(sandbox)))
    (tmp_path / "state.json").write_text('{"bookmarks": {}}')
    for line in (first, second):
        arguments = line.partition("|")[0].split()[1:]
        assert command(*arguments, cwd=tmp_path).status == 0


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
    config = tmp_path / "config.json"
    config.write_text(json.dumps(config_for(sandbox)))
    sandbox.log.clear()
    output = command("--config", config, "--test=schema")
    assert output.status == 0
    assert {message["type"] for message in output.messages} == {"SCHEMA"}
    assert sandbox.log.paths == []


def test_several_config_files_of_which_the_last_counts(tmp_path: Path, sandbox: Sandbox) -> None:
    files = []
    for number, settings in enumerate(
        [
            {"api_token": sandbox.token, "api_url": "https://nowhere.invalid"},
            {"api_url": sandbox.url},
        ]
    ):
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(json.dumps(settings))
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps(catalog_of("user")))
    output = command("--config", files[0], "--config", files[1], "--catalog", catalog)
    assert output.status == 0
    assert len(output.rows["user"]) == 1


def test_skips_are_warnings_unless_they_should_fail(tmp_path: Path, sandbox: Sandbox) -> None:
    config = tmp_path / "config.json"
    catalog = tmp_path / "catalog.json"
    catalog.write_text(json.dumps(catalog_of("deployment_addons")))
    gone = "it no longer exists or is being deprovisioned (HTTP 404 Not Found: not_found)"
    verdict = r"done with 1 skipped: \d+ rows from 1 stream, 13 requests, [\d.]+ s"
    why = "; exit status 1, because fail_on_skip is set"
    for fail_on_skip, status, end in (
        (False, 0, rf"INFO .*\| {verdict}"),
        (True, 1, rf"WARNING .*\| {verdict}{why}"),
    ):
        config.write_text(json.dumps(config_for(sandbox, fail_on_skip=fail_on_skip)))
        output = command("--config", config, "--catalog", catalog)
        assert output.status == status
        leaving = sandbox.account.leaving
        skipped = f"| skipped: deployment_addons of deployment {leaving}: {gone}\n"
        assert output.stderr.count(skipped) == output.stderr.count("| skipped: ") == 1
        assert re.search(rf"\| {end}\n$", output.stderr)
