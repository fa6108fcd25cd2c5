"""README, CHANGELOG, meltano.yml and the example catalog tell the same story as the code."""

from __future__ import annotations

import json
import re
import subprocess
from importlib.metadata import metadata, version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from tap_compose.sandbox import cli as sandbox_cli
from tap_compose.settings import SETTINGS_SCHEMA, problems_of
from tap_compose.tap import TapCompose
from tests import documents
from tests.tap_runs import command

ROOT = documents.ROOT
README = (ROOT / "README.md").read_text()

# What the Hub's own schema asks of an extractor, as far as this one says anything.
HUB_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "namespace", "variant", "quality", "label", "pip_url"],
    "properties": {
        **{
            name: {"type": "string"}
            for name in (
                *("name", "namespace", "variant", "label", "description", "definition"),
                *("domain_url", "repo", "logo_url", "pip_url", "executable"),
                *("next_steps", "usage"),
            )
        },
        "keywords": {"type": "array", "items": {"type": "string"}},
        "log_parser": {"const": "singer-sdk"},
        "maintenance_status": {"enum": ["active", "beta", "development", "inactive", "unknown"]},
        "quality": {"enum": ["gold", "silver", "bronze", "unknown"]},
        "capabilities": {
            "type": "array",
            "items": {
                "enum": [
                    *("properties", "catalog", "discover", "state", "about", "stream-maps"),
                    *("schema-flattening", "activate-version", "batch", "test", "log-based"),
                    "structured-logging",
                ]
            },
        },
        "settings": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name", "label", "kind", "description"],
                "properties": {
                    **{name: {"type": "string"} for name in ("name", "label", "description")},
                    "kind": {
                        "enum": [
                            *("oauth", "hidden", "password", "date_iso8601", "file", "email"),
                            *("integer", "options", "object", "array", "boolean", "string"),
                            "decimal",
                        ]
                    },
                    "sensitive": {"type": "boolean"},
                    "value": {},
                },
            },
        },
        "settings_group_validation": {
            "type": "array",
            "items": {"type": "array", "items": {"type": "string"}},
        },
        "supported_python_versions": {
            "type": "array",
            "items": {"type": "string", "pattern": r"^3\.\d+$"},
        },
    },
}


def test_the_example_catalog_is_what_discovery_prints() -> None:
    printed = json.loads(command("--discover").stdout)
    assert json.loads((ROOT / "catalog.example.json").read_text()) == printed


def test_meltano_yml_is_drawn_from_the_settings() -> None:
    assert (ROOT / "meltano.yml").read_text() == documents.meltano(), "run make docs"


def test_meltano_yml_has_every_setting() -> None:
    project = yaml.safe_load((ROOT / "meltano.yml").read_text())
    tap, audit = project["plugins"]["extractors"]
    settings = {each["name"]: each for each in tap["settings"]}
    about = json.loads(command("--about", "--format=json").stdout)["settings"]["properties"]
    assert settings.keys() == about.keys() - {"faker_config"}
    assert settings["api_token"]["sensitive"] is True
    assert all(each["description"] and each["label"] for each in settings.values())
    assert tap["capabilities"] == [each.value for each in TapCompose.capabilities]
    assert audit["inherit_from"] == tap["name"]
    jobs = {each["name"]: each["tasks"][0].split() for each in project["jobs"]}
    assert {each["job"] for each in project["schedules"]} == jobs.keys()
    loaders = {each["name"] for each in project["plugins"]["loaders"]}
    assert {name for names in jobs.values() for name in names} <= {
        tap["name"],
        audit["name"],
        *loaders,
    }


def test_the_definition_for_meltanohub_is_drawn_from_the_settings() -> None:
    path = ROOT / "docs" / "meltanohub" / "tap-compose.yml"
    assert path.read_text() == documents.meltano_hub(), "run make docs"


def test_the_definition_for_meltanohub_has_its_form() -> None:
    definition = yaml.safe_load(documents.meltano_hub())
    jsonschema.validate(definition, HUB_SCHEMA)
    assert list(definition) == sorted(definition)
    about = json.loads(command("--about", "--format=json").stdout)
    assert definition["supported_python_versions"] == about["supported_python_versions"]
    assert sorted(definition["capabilities"]) == sorted(about["capabilities"])
    names = [each["name"] for each in definition["settings"]]
    assert names == sorted(about["settings"]["properties"].keys() - {"faker_config"})
    assert definition["settings_group_validation"] == [["api_token"]]


@pytest.mark.parametrize("name", documents.readme_blocks())
def test_readme_is_drawn_from_the_code(name: str) -> None:
    assert documents.readme_blocks()[name] in README, "run make docs"
    assert documents.readme(README) == README


def test_the_config_in_readme_is_one() -> None:
    text = re.search(r"\$ cat config\.json\n(\{.*?\n\})", README, re.DOTALL)
    assert text is not None
    config: dict[str, Any] = json.loads(text[1])
    assert problems_of(config, SETTINGS_SCHEMA) == []


def test_the_commands_in_readme_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"(?:\$ |`)make ([a-z-]+)", README)) <= set(targets)
    ours = re.sub(r"\bmeltano .*", "", README)  # tests/test_meltano.py sees to the others
    options = set(re.findall(r"--[a-z]+", ours))
    helps = CliRunner().invoke(TapCompose.cli, ["--help"]).output
    for name in ("serve", "run", "demo"):
        helps += CliRunner().invoke(sandbox_cli.main, [name, "--help"]).output
    assert {each for each in options if each not in helps} == set()


def test_changelog_and_about_name_the_version() -> None:
    assert f"## {version('tap-compose')}" in (ROOT / "CHANGELOG.md").read_text()
    about = json.loads(command("--about", "--format=json").stdout)
    assert about["settings"]["properties"].keys() >= SETTINGS_SCHEMA["properties"].keys()
    assert metadata("tap-compose")["License-Expression"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:400]


def test_no_lock_names_an_index_and_every_version_has_a_hash() -> None:
    for path in (ROOT / "locks").glob("*.txt"):
        text = path.read_text()
        assert "://" not in text
        for requirement in re.split(r"(?<!\\)\n", text.strip()):
            assert re.match(r"[a-z0-9][a-z0-9._\[\],-]*==\S+", requirement, re.IGNORECASE)
            assert "--hash=sha256:" in requirement


def test_no_tracked_file_names_a_package_index() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    hosts = re.compile("py" + r"pi\.org|python" + r"hosted\.org|--(extra-)?index-" + "url")
    for name in tracked:
        path = ROOT / name
        if path.exists():
            assert not hosts.search(path.read_text()), name
    assert tracked or not Path(ROOT / ".git").exists()
