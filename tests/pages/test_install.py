"""What docs/install.md shows: its commands run as printed, and print what the page says.

Each section stands for itself with the check that all share; the code changes before an upgrade.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support import ROOT
from tests.support.contract import FIELDS
from tests.support.pages import ENVIRONMENTS, REVISED, TOOLS, Machine, blocks

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

PAGE = "docs/install.md"
UVX = "uvx --from '.[progress,sandbox]'"
UV = [TOOLS / "uv", TOOLS / "uvx"]


def _commands(machine: Machine) -> set[Path]:
    """Everything in the home that is called as the commands are."""
    names = ("tap-compose", "compose-sandbox")
    return {path for name in names for path in machine.folder.rglob(name)}


@pytest.mark.parametrize("way", ["uv", "uvx", "pipx", "pip"])
def test_install_check_upgrade_and_uninstall(tmp_path: Path, way: str) -> None:
    machine = Machine(tmp_path, UV)
    install, *upgrade, uninstall = blocks(PAGE, way)
    (check,) = blocks(PAGE, "Check")
    if way == "uvx":
        check = replace(check, text=check.text.replace("$ ", f"$ {UVX} "))
    version = check.commands[0][0]
    with machine.shell() as shell:
        if way == "pipx":
            shell.type("uv tool install pipx")
        before = _commands(machine)
        shell.follow([install, check])
        machine.revise()
        shell.type("git pull")
        shell.follow(upgrade)
        assert REVISED in shell.type(version)
        shell.follow([uninstall])
    assert _commands(machine) == before


@pytest.fixture
def with_meltano(tmp_path: Path) -> Machine:
    """A machine with Meltano, the sandbox, and a project with a loader in ``project``."""
    meltano = ENVIRONMENTS / "meltano" / "bin" / "meltano"
    machine = Machine(tmp_path, [*UV, meltano, TOOLS / "compose-sandbox"])
    loaders = yaml.safe_load((ROOT / "meltano.yml").read_text())["plugins"]["loaders"]
    (loader,) = [each for each in loaders if each["name"] == "target-jsonl"]
    (tmp_path / "target-jsonl.yml").write_text(yaml.safe_dump(loader))
    with machine.shell(tmp_path) as shell:
        shell.type("meltano init project")
        shell.type("cd project && meltano add --from-ref ../target-jsonl.yml target-jsonl")
    return machine


def _loaded(project: Path) -> dict[str, int]:
    """How many rows target-jsonl wrote, by stream but coverage; they are gone afterwards."""
    counts = {}
    for path in (project / "output").glob("*.jsonl"):
        stream = path.name.split("-")[0]
        counts[stream] = len([json.loads(line) for line in path.read_text().splitlines()])
        path.unlink()
    counts.pop("coverage", None)
    return counts


def test_a_meltano_project_takes_the_tap_from_a_clone(with_meltano: Machine) -> None:
    project = with_meltano.folder / "project"
    add, run, upgrade, remove = blocks(PAGE, "Meltano")
    with with_meltano.shell(project) as shell:
        shell.follow([add, run])
        counts = _loaded(project)
        assert counts.keys() == set(FIELDS)
        assert counts["deployments"] == 20
        shell.type("meltano select tap-compose teams '*'")

        pull = "git -C ../tap-compose pull"
        shell.follow([upgrade], before={pull: with_meltano.revise})
        assert _loaded(project) == {"teams": counts["teams"]}
        assert REVISED in shell.type("meltano invoke tap-compose --version")
        states = shell.type("meltano state list").splitlines()
        assert states[-1] == "dev:tap-compose-to-target-jsonl:sandbox"
        shell.follow([remove])
    assert "tap-compose" not in (project / "meltano.yml").read_text()


def test_a_meltano_project_takes_the_tap_from_a_wheel(with_meltano: Machine) -> None:
    project = with_meltano.folder / "project"

    def leave_the_wheel_alone() -> None:
        assert list(project.glob("*.whl"))
        shutil.rmtree(with_meltano.clone)

    (block,) = blocks(PAGE, "From a wheel")
    add = "meltano add --from-ref tap-compose.yml tap-compose"
    with with_meltano.shell(project) as shell:
        shell.follow([block], before={add: leave_the_wheel_alone})
    assert _loaded(project).keys() == set(FIELDS)
