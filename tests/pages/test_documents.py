"""README, CHANGELOG, meltano.yml and the example catalog tell the same story as the code."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path
from subprocess import DEVNULL, PIPE

import yaml

from tap_compose.report import Outcome
from tap_compose.sandbox.cli import serve
from tests.support import ROOT
from tests.support.pages import all_pages, blocks
from tests.support.target_runs import documented
from tools import documents
from tools.command import printed

TROUBLESHOOTING = (ROOT / "docs" / "troubleshooting.md").read_text()


def test_meltano_yml_has_the_loaders_that_are_tested() -> None:
    project = yaml.safe_load((ROOT / "meltano.yml").read_text())
    loaders = {each["name"]: each for each in project["plugins"]["loaders"]}
    for name, loader in loaders.items():
        assert loader["pip_url"] == (ROOT / f"locks/{name}.in").read_text().strip()
    settings = {each["name"]: each.get("value") for each in loaders["target-csv"]["settings"]}
    assert settings == {**documented("target-csv"), "output_path": "output"}


def test_meltano_yml_and_meltanohub_have_the_capabilities_of_the_tap() -> None:
    about = json.loads(printed("--about", "--format=json"))
    project = yaml.safe_load((ROOT / "meltano.yml").read_text())
    assert project["plugins"]["extractors"][0]["capabilities"] == about["capabilities"]
    definition = yaml.safe_load((ROOT / "docs" / "meltanohub" / "tap-compose.yml").read_text())
    assert definition.keys() >= {"name", "namespace", "variant", "quality", "label", "pip_url"}
    assert definition["supported_python_versions"] == about["supported_python_versions"]
    assert sorted(definition["capabilities"]) == sorted(about["capabilities"])


def test_the_readme_loads_postgresql_as_the_page_of_targets_does() -> None:
    """Whose config is tested with each target."""
    files = {block.file: block.text for block in blocks("README.md") if block.file}
    target = json.loads(files["account-postgres/target.json"])
    expected = documented("target-postgres")
    options = expected.pop("sqlalchemy_url").split("?")[1]
    assert target.pop("sqlalchemy_url").split("?")[1] == options
    assert target == expected
    assert json.loads(files["account-postgres/config.json"])["emit_activate_version_messages"]


def test_files_hold_what_they_take_from_the_code() -> None:
    files = documents.files()
    # The two versions of singer-sdk print the members of a catalog entry in different orders.
    catalog = json.loads(files.pop("catalog.example.json"))
    assert json.loads((ROOT / "catalog.example.json").read_text()) == catalog, "run make docs"
    stale = [name for name, text in files.items() if (ROOT / name).read_text() != text]
    assert stale == [], "run make docs"


def test_the_pages_show_what_compose_sandbox_serve_prints() -> None:
    shown = {
        text
        for page in all_pages()
        for block in blocks(page)
        for command, text in block.commands
        if command == "compose-sandbox serve"
    }
    command = [sys.executable, "-m", "tap_compose.sandbox", "serve", "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=PIPE, stderr=DEVNULL, env=environment, text=True
    ) as process:
        assert process.stdout is not None
        printed = process.stdout.readline() + process.stdout.readline()
        process.terminate()
    (port,) = [each.default for each in serve.params if each.name == "port"]
    assert shown == {re.sub(r":\d+/", f":{port}/", printed)}


def test_pages_name_targets_of_make_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"`make ([a-z-]+)", page.read_text())}
    assert {"test", "test-all"} <= named <= targets


def test_no_tracked_file_names_a_package_index() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    hosts = re.compile(b"py" + rb"pi\.org|python" + rb"hosted\.org|--(extra-)?index-" + b"url")
    for name in tracked:
        path = ROOT / name
        if path.exists():
            assert not hosts.search(path.read_bytes()), name
    assert tracked or not Path(ROOT / ".git").exists()


def test_nothing_says_that_the_tap_is_on_pypi() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    files = [*pages, *(ROOT / "docs").rglob("*.yml"), *(ROOT / "examples").rglob("*.md")]
    texts = [_messages(), *(path.read_text() for path in files)]
    install = r"(?:\bpip|\bpipx|\btool) install (?:-\S+ )*['\"]?tap-compose|\bpip_url: tap-compose"
    assert re.findall(install, "\n".join(texts)) == []


def _messages() -> str:
    """Every text in the tap's code, a line each; what is filled in is ``…``."""
    texts = []
    for path in sorted((ROOT / "tap_compose").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    part.value if isinstance(part, ast.Constant) else "…" for part in node.values
                ]
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(re.sub(r"%[sd.\d]*[sdf]", "…", node.value))
    return "\n".join(texts)


def test_troubleshooting_knows_the_messages_of_the_tap() -> None:
    headings = re.findall(r"^### `(.*)`$", TROUBLESHOOTING, re.MULTILINE)
    messages = _messages()
    kinds = {f"{kind.value}: …" for kind in Outcome if kind is not Outcome.READ}
    assert kinds <= set(headings)
    parts = {part.strip(" ;:,") for each in set(headings) - kinds for part in each.split("…")}
    assert len(parts) > 20
    assert [each for each in parts if each not in messages] == []


def test_continuous_integration_has_every_python_and_pinned_actions() -> None:
    texts = [(ROOT / f".github/workflows/{name}.yml").read_text() for name in ("ci", "release")]
    matrix = yaml.safe_load(texts[0])["jobs"]["test"]["strategy"]["matrix"]["python"]
    classifiers = metadata("tap-compose").get_all("Classifier") or []
    assert matrix == [each.rpartition(" ")[2] for each in classifiers if "Python :: 3." in each]
    used = re.findall(r"uses: (\S+)", "\n".join(texts))
    assert [each for each in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", each)] == []
