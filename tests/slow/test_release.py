"""What is released: wheel and sdist, installed where nothing else is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

VERSION = version("tap-compose")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "hatchling", "build", "-d", str(folder), cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment with the wheel and its base dependencies, as locked."""
    folder = tmp_path_factory.mktemp("installed")
    lock = (ROOT / "locks" / "dev.txt").read_text()
    versions = folder / "versions.txt"
    locked = re.findall(r"^([\w.-]+)(?:\[.*?\])?(==[^\\\n]+)", lock, re.MULTILINE)  # without extras
    versions.write_text("\n".join(name + version for name, version in locked))
    venv.create(folder / "venv", with_pip=True)
    (wheel,) = built.glob("*.whl")
    commands = folder / "venv" / "bin"
    _run(str(commands / "pip"), "install", "--quiet", "-c", str(versions), str(wheel), cwd=folder)
    return commands


def _run(*arguments: str, cwd: Path) -> str:
    return subprocess.check_output(arguments, cwd=cwd, text=True)


def test_the_wheel_holds_the_package_and_its_types(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "tap_compose/py.typed" in names
    assert f"tap_compose-{VERSION}.dist-info/licenses/LICENSE" in names
    assert f"## {VERSION}" in (ROOT / "CHANGELOG.md").read_text()
    tops = {"tap_compose", f"tap_compose-{VERSION}.dist-info"}
    assert {name.split("/")[0] for name in names} == tops


def test_the_sdist_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / f"tap_compose-{VERSION}"
    for name in ("Makefile", "locks/dev.txt", "tests/slow/test_release.py", "docs/streams.md"):
        assert (source / name).exists()
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=source)
    (wheel,), (again,) = built.glob("*.whl"), tmp_path.glob("*.whl")
    assert zipfile.ZipFile(again).namelist() == zipfile.ZipFile(wheel).namelist()


def test_the_base_dependencies_are_enough(installed: Path, tmp_path: Path) -> None:
    tap = str(installed / "tap-compose")
    assert _run(tap, "--version", cwd=tmp_path).split()[:2] == ["tap-compose", f"v{VERSION},"]
    about = json.loads(_run(tap, "--about", "--format=json", cwd=tmp_path))
    assert about["version"] == VERSION
    catalog = json.loads(_run(tap, "--discover", cwd=tmp_path))
    assert catalog == json.loads((ROOT / "catalog.example.json").read_text())
    packages = _run(str(installed / "pip"), "list", "--format=freeze", cwd=tmp_path).lower()
    names = set(re.findall(r"^[\w.-]+", packages, re.MULTILINE))
    assert "python-backoff" in names
    assert not names & {"backoff", "rich", "starlette", "uvicorn", "pytest"}


def test_the_sandbox_says_what_it_lacks(installed: Path, tmp_path: Path) -> None:
    process = subprocess.run(
        [installed / "compose-sandbox", "serve"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert process.stderr == (
        "compose-sandbox cannot start: uvicorn is not installed; in a clone of tap-compose run "
        "pip install '.[sandbox]' or uv tool install '.[sandbox]'\n"
    )
