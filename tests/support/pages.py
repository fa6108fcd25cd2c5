"""Follows a page as its reader does: each command in turn, and what it prints.

A block ``console`` holds commands (``$ …``, continued after a backslash) and below each what it
prints: ``…`` is any text in a line, and alone any number of lines. Below a command that may print
anything there is nothing. Any other block is a file if the line above it ends with the file's name
and a colon. A version stands for any version, and a line of the log is shown without time, level
and logger.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING

import pytest
from typing_extensions import Self

from tests.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from tap_compose.sandbox.server import Sandbox

TOOLS = Path(sys.executable).parent
ENVIRONMENTS = ROOT / ".venvs"
SERVED = "http://127.0.0.1:8080/2016-07"
"""The URL of ``compose-sandbox serve`` on the pages; the tests have a sandbox on another port."""

REVISED = "this is the next revision"
_LONGEST_COMMAND = 200
"""Seconds, on a busy machine."""

_OURS = (
    *("MAKE", "MELTANO_", "MFLAGS", "PG", "TAP_COMPOSE_", "TARGET_", "UV_TOOL_", "VIRTUAL_ENV"),
    "XDG_",
)
"""How the names of variables begin that no page may inherit."""

_PART = re.compile(
    r"^#+ (?P<heading>.*)$"
    r"|(?:^.*`(?P<file>[\w./-]*\.\w+)`:\n\n)?^```(?P<language>\w*).*\n(?P<text>(?:.*\n)*?)```$",
    re.MULTILINE,
)
_COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
_LOG_PREFIX = re.compile(r"^\d{4}-\d\d-\d\d \S+ \| \w+ +\| \S+ +\| ", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of a page: under which heading it stands, and the file that it is, if it is one."""

    heading: str
    language: str
    text: str
    file: str | None

    @property
    def commands(self) -> list[tuple[str, str]]:
        """The commands, each with the lines that it prints."""
        return _COMMAND.findall(self.text) if self.language == "console" else []


def all_pages() -> list[str]:
    """Return the pages that show commands."""
    paths = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/*.md")]
    names = sorted(path.relative_to(ROOT).as_posix() for path in paths)
    return [each for each in names if any(block.commands for block in blocks(each))]


def blocks(page: str, heading: str | None = None) -> list[Block]:
    """Return the blocks of a page, or those that stand directly under a heading."""
    found = []
    current = ""
    for part in _PART.finditer((ROOT / page).read_text()):
        if part["heading"] is not None:
            current = part["heading"]
        elif heading in {None, current}:
            found.append(Block(current, part["language"], part["text"], part["file"]))
    return found


class Machine:
    """A home with nothing in it but installed commands and a clone that can be pulled into.

    ``real`` stands for the API and a token of a real account.
    """

    def __init__(
        self,
        folder: Path,
        commands: Iterable[Path],
        real: Sandbox | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.real = real
        self.origin = folder / "origin"
        self.clone = folder / "tap-compose"
        self._copy_repository()
        python, installed = folder / "python", folder / ".local" / "bin"
        python.mkdir()
        installed.mkdir(parents=True)
        (python / "python3").symlink_to(Path(sys.executable).resolve())
        for each in commands:
            (installed / each.name).symlink_to(each)
        clean = {name: text for name, text in os.environ.items() if not name.startswith(_OURS)}
        self.environment = {
            **clean,
            "HOME": str(folder),
            "PATH": f"{installed}:{python}:/usr/bin:/bin",
            "UV_PYTHON_DOWNLOADS": "never",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "NO_COLOR": "1",
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "MELTANO_CLI_DISABLE_VERSION_CHECK": "true",
            "MELTANO_SEND_ANONYMOUS_USAGE_STATS": "false",
            "MELTANO_HUB_URL": "http://127.0.0.1:9",  # nothing may need the Hub
            **(environment or {}),
        }
        self._replaced = {}
        if real is not None:
            self.environment["TAP_COMPOSE_API_URL"] = real.url
            self._replaced = {SERVED: real.url}

    def _copy_repository(self) -> None:
        tracked = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
        for name in tracked.splitlines():
            if (ROOT / name).exists():
                (self.origin / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.origin / name)
        run("git", "init", "--quiet", cwd=self.origin)
        self._commit()
        run("git", "clone", "--quiet", str(self.origin), str(self.clone), cwd=self.folder)

    def revise(self) -> None:
        """Change the code in the origin, but not its version."""
        with (self.origin / "tap_compose" / "__init__.py").open("a") as file:
            file.write(f"\nimport sys\n\nprint({REVISED!r}, file=sys.stderr)\n")
        self._commit()

    def _commit(self) -> None:
        who = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
        run("git", "add", "--all", "--force", cwd=self.origin)
        commit = ("commit", "--quiet", "--no-gpg-sign", "--message", "A revision")
        run("git", *who, *commit, cwd=self.origin)

    def shell(self, folder: Path | None = None) -> Shell:
        """Open a shell in a folder, or in the clone."""
        return Shell(folder or self.clone, self.environment, self._replaced)


class Shell:
    """A bash that one command after the other is typed into, some words of them replaced."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], replaced: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self._replaced = replaced
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.type("shopt -s expand_aliases; set -o pipefail")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and what it has started."""
        self._kill()
        self._process.communicate()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(-self._process.pid, 9)  # its group; Windows knows neither

    def type(self, command: str, status: int = 0) -> str:
        """Run a command; gives what the screen shows."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        command = self._filled(command)
        self._process.stdin.write(f"{{ {command}\n}} < /dev/null\nprintf '\\0%s\\n' $?\n")
        self._process.stdin.flush()
        screen, mark, ended_with = "", "", ""
        deadline = Timer(_LONGEST_COMMAND, self._kill)
        deadline.start()
        while not mark:
            line = self._process.stdout.readline()
            assert line, f"the shell ended at\n\n{command}\n\n{screen}"
            text, mark, ended_with = line.partition("\0")
            screen += text
        deadline.cancel()
        if int(ended_with) != status:
            pytest.fail(f"{command}\n\nends with {ended_with}{screen}", pytrace=False)
        return screen

    def follow(
        self,
        blocks: Iterable[Block],
        *,
        skip: Container[str] = (),
        before: Mapping[str, Callable[[], object]] | None = None,
    ) -> None:
        """Make the files of some blocks, run their commands and compare what these print."""
        for block in blocks:
            if block.file is not None:
                with (self.folder / block.file).open("w") as file:
                    file.write(self._filled(block.text))
            for command, shown in block.commands:
                if command in skip:
                    continue
                (before or {}).get(command, list)()
                screen = self.type(command)
                if shown and not _pattern(shown).fullmatch(_plain(screen)):
                    message = f"$ {command}\n{shown}\nstands in the page, but it prints\n\n{screen}"
                    pytest.fail(message, pytrace=False)

    def _filled(self, text: str) -> str:
        for each, other in self._replaced.items():
            text = text.replace(each, other)
        return text


def run(*command: str, cwd: Path) -> str:
    """Run a command that must succeed; gives what it prints."""
    return subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True, check=True).stdout


def _pattern(shown: str) -> re.Pattern[str]:
    lines = [
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n"
        for line in _plain(shown).splitlines()
    ]
    return re.compile("".join(lines))


def _plain(text: str) -> str:
    """A screen's text without what differs from time to time."""
    text = re.sub(r"\d+(\.\d+)+", "N", _LOG_PREFIX.sub("", text))
    return "".join(f"{line.rstrip()}\n" for line in text.rstrip().splitlines())
