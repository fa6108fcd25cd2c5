"""What docs/install.md shows: its commands run as printed, and print what the page says.

pipx is in no lock, so nothing here runs its section.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.contract import FIELDS
from tests.documents import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "install.md").read_text()
MELTANO = ROOT / ".venvs" / "meltano" / "bin" / "meltano"
OURS = ("MELTANO_", "TAP_COMPOSE_", "TARGET_", "UV_TOOL_", "XDG_", "VIRTUAL_ENV")
REVISED = "this is the next revision"


class Machine:
    """A home with nothing in it, and a clone that can be pulled into."""

    def __init__(self, folder: Path, commands: dict[str, Path]) -> None:
        self.folder = folder
        self.origin = folder / "origin"
        self.clone = folder / "tap-compose"
        tracked = _run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
        for name in tracked.splitlines():
            if (ROOT / name).exists():
                (self.origin / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.origin / name)
        _run("git", "init", "--quiet", cwd=self.origin)
        self._commit()
        _run("git", "clone", "--quiet", str(self.origin), str(self.clone), cwd=folder)
        own = folder / "bin"
        own.mkdir()
        for name, path in {**commands, "python3": Path(sys.executable).resolve()}.items():
            (own / name).symlink_to(path)
        clean = {name: text for name, text in os.environ.items() if not name.startswith(OURS)}
        self.environment = {
            **clean,
            "HOME": str(folder),
            "PATH": f"{own}:{folder}/.local/bin:/usr/bin:/bin",
            "UV_PYTHON_DOWNLOADS": "never",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "NO_COLOR": "1",
            "MELTANO_CLI_DISABLE_VERSION_CHECK": "true",
            "MELTANO_SEND_ANONYMOUS_USAGE_STATS": "false",
            "MELTANO_HUB_URL": "http://127.0.0.1:9",  # nothing may need the Hub
        }

    def revise(self) -> None:
        """Change the code in the origin, but not its version."""
        with (self.origin / "tap_compose" / "__init__.py").open("a") as file:
            file.write(f"\nimport sys\n\nprint({REVISED!r}, file=sys.stderr)\n")
        self._commit()

    def _commit(self) -> None:
        who = (
            "-c",
            "user.name=Test",
            "-c",
            "user.email=test@example.com",
            "-c",
            "commit.gpgsign=no",
        )
        _run("git", "add", "--all", "--force", cwd=self.origin)
        _run("git", *who, "commit", "--quiet", "--message", "A revision", cwd=self.origin)

    def commands(self) -> set[Path]:
        """Everything in the home that is called as the commands are."""
        names = ("tap-compose", "compose-sandbox")
        return {path for name in names for path in self.folder.rglob(name)}

    def type(self, commands: Sequence[str], folder: Path) -> str:
        """Run commands one after the other in a shell; gives what its screen shows."""
        lines = ["exec 2>&1", "set -e"]
        for each in commands:
            lines += [f"printf '%s\\n' {shlex.quote(f'$ {each}')}", each]
        return _run("sh", "-c", "\n".join(lines), cwd=folder, environment=self.environment)

    def follow(self, block: str, folder: Path) -> None:
        """Run the commands of a block, and compare what they print with what it shows."""
        screen = self.type(re.findall(r"^\$ (.*)$", block, re.MULTILINE), folder)
        if not _pattern(block).fullmatch(_any_version(screen)):
            pytest.fail(
                f"docs/install.md shows\n\n{block}\nbut it prints\n\n{screen}", pytrace=False
            )


def _run(*command: str, cwd: Path, environment: dict[str, str] | None = None) -> str:
    process = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=200,
    )
    assert process.returncode == 0, process.stdout
    return process.stdout


def _pattern(block: str) -> re.Pattern[str]:
    """What a block stands for: ``…`` is any text in a line, and alone any number of lines."""
    lines = [
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n"
        for line in _any_version(block).splitlines()
    ]
    return re.compile("".join(lines))


def _any_version(text: str) -> str:
    return re.sub(r"\d+(\.\d+)+", "N", text)


def _blocks(heading: str) -> list[str]:
    """What stands in the console blocks of a section."""
    section = re.search(rf"^##+ {heading}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section is not None
    return re.findall(r"^```console\n(.*?)^```", section[1], re.MULTILINE | re.DOTALL)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    tools = Path(sys.executable).parent
    return Machine(tmp_path, {name: tools / name for name in ("uv", "uvx")})


@pytest.mark.parametrize(
    ("way", "version"),
    [
        ("uv", "tap-compose --version"),
        ("uvx", "uvx --from . tap-compose --version"),
        ("pip", "tap/bin/tap-compose --version"),
    ],
)
def test_install_upgrade_and_uninstall(machine: Machine, way: str, version: str) -> None:
    install, upgrade, uninstall = _blocks(way)
    before = machine.commands()
    machine.follow(install, machine.clone)
    assert REVISED not in machine.type([version], machine.clone)
    machine.revise()
    machine.follow(upgrade, machine.clone)
    assert REVISED in machine.type([version], machine.clone)
    machine.follow(uninstall, machine.clone)
    assert machine.commands() == before


@pytest.fixture
def with_meltano(tmp_path: Path) -> Machine:
    """A machine with Meltano, the sandbox, and a project with a loader in ``project``."""
    tools = Path(sys.executable).parent
    machine = Machine(
        tmp_path,
        {"meltano": MELTANO, "compose-sandbox": tools / "compose-sandbox", "uv": tools / "uv"},
    )
    machine.type(["meltano init project"], tmp_path)
    loaders = yaml.safe_load((ROOT / "meltano.yml").read_text())["plugins"]["loaders"]
    (loader,) = [each for each in loaders if each["name"] == "target-jsonl"]
    (tmp_path / "target-jsonl.yml").write_text(yaml.safe_dump(loader))
    machine.type(["meltano add --from-ref ../target-jsonl.yml target-jsonl"], tmp_path / "project")
    return machine


def _loaded(project: Path) -> dict[str, int]:
    """How many rows target-jsonl wrote, by stream; they are gone afterwards."""
    counts = {}
    for path in (project / "output").glob("*.jsonl"):
        counts[path.stem] = len([json.loads(line) for line in path.read_text().splitlines()])
        path.unlink()
    return counts


def test_a_meltano_project_takes_the_tap_from_a_clone(with_meltano: Machine) -> None:
    project = with_meltano.folder / "project"
    add, run, upgrade, remove = _blocks("Meltano")
    with_meltano.follow(add, project)
    with_meltano.follow(run, project)
    counts = _loaded(project)
    assert counts.keys() == set(FIELDS)
    assert counts["deployments"] == 20
    with_meltano.type(["meltano select tap-compose teams '*'"], project)

    with_meltano.revise()
    with_meltano.follow(upgrade, project)
    assert _loaded(project) == {"teams": counts["teams"]}
    invoked = with_meltano.type(["meltano invoke tap-compose --version"], project)
    assert REVISED in invoked
    with_meltano.follow(remove, project)
    assert "tap-compose" not in (project / "meltano.yml").read_text()


def test_a_meltano_project_takes_the_tap_from_a_wheel(with_meltano: Machine) -> None:
    project = with_meltano.folder / "project"
    (block,) = _blocks("From a wheel")
    build, *rest = block.split("$ ")[1:]
    with_meltano.follow(f"$ {build}", project)
    (wheel,) = (with_meltano.clone / "dist").glob("*.whl")
    with_meltano.follow("".join(f"$ {each}" for each in rest[:2]), project)
    assert (project / wheel.name).exists()
    shutil.rmtree(with_meltano.clone)
    with_meltano.follow("".join(f"$ {each}" for each in rest[2:]), project)
    assert _loaded(project).keys() == set(FIELDS)


def test_a_meltano_project_takes_the_tap_from_a_url(with_meltano: Machine) -> None:
    project = with_meltano.folder / "project"
    (project / ".env").write_text(f"TAP_COMPOSE_PIP_URL={with_meltano.clone.as_uri()}\n")
    _, add = _blocks("Meltano")[0].split("$ ")[1:]
    with_meltano.follow(f"$ {add}", project)
