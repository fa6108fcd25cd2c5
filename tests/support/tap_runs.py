"""Running the tap: in this process where messages are wanted, as a command where words are."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from tap_compose.api import client
from tap_compose.tap import TapCompose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_compose.sandbox.server import Sandbox

Message = dict[str, Any]


@dataclass(frozen=True)
class Output:
    """What a run of the tap wrote, and how it ended."""

    stdout: bytes
    status: int
    tap: TapCompose | None = None
    stderr: str = ""

    @cached_property
    def messages(self) -> list[Message]:
        return [json.loads(line, parse_float=Decimal) for line in self.stdout.splitlines()]

    def of_type(self, kind: str) -> list[Message]:
        return [message for message in self.messages if message["type"] == kind]

    @cached_property
    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of each stream, but of coverage, which no two runs have in common."""
        rows: dict[str, list[dict[str, Any]]] = {}
        for message in self.of_type("RECORD"):
            if message["stream"] != "coverage":
                rows.setdefault(message["stream"], []).append(message["record"])
        return rows

    @property
    def coverage(self) -> list[dict[str, Any]]:
        """The rows of coverage."""
        return [each["record"] for each in self.of_type("RECORD") if each["stream"] == "coverage"]

    @property
    def missing(self) -> list[tuple[str, str, str, str]]:
        """Outcome, stream, deployment and reason of all that the run did not read."""
        assert self.tap is not None
        return [
            (missing.outcome.value, stream, deployment_id, missing.reason)
            for stream, report in self.tap.run.report.streams.items()
            for deployment_id, missing in report.missing.items()
        ]

    @property
    def state(self) -> Any:
        return self.of_type("STATE")[-1]["value"]

    @property
    def bookmarks(self) -> Any:
        return self.state["bookmarks"]


def config_for(sandbox: Sandbox, **settings: Any) -> dict[str, Any]:
    return {
        "api_url": sandbox.url,
        "api_token": sandbox.token,
        "max_retries": 1,
        "request_timeout": 60,
        **settings,
    }


def sync(
    config: dict[str, Any],
    *,
    streams: list[str] | None = None,
    catalog: dict[str, Any] | None = None,
    state: dict[str, Any] | None = None,
) -> Output:
    """Sync in this process, all streams or only the named ones, with short waits."""
    if streams is not None:
        catalog = catalog_of(*streams)

    out = io.TextIOWrapper(io.BytesIO())
    with redirect_stdout(out), patch.object(client, "LONGEST_BACKOFF", 0.02):
        tap = TapCompose(config=dict(config), catalog=catalog, state=state)
        status = tap.sync_and_report()
    out.flush()
    return Output(out.buffer.getvalue(), status, tap)


def discover() -> dict[str, Any]:
    """The catalog that discovery prints, all streams selected by their absence of metadata."""
    tap = TapCompose(config={}, validate_config=False, setup_mapper=False)
    catalog: dict[str, Any] = json.loads(tap.catalog_json_text)
    return catalog


def catalog_of(*streams: str) -> dict[str, Any]:
    """A catalog that selects some streams."""
    catalog = discover()
    for entry in catalog["streams"]:
        for metadata in entry["metadata"]:
            if not metadata["breadcrumb"]:
                metadata["metadata"]["selected"] = entry["tap_stream_id"] in streams
    return catalog


def input_files(folder: Path, *streams: str, **inputs: Any) -> list[str]:
    """Write input files and return the options that name them.

    Args:
        folder: Where they are written.
        streams: The streams that the catalog selects; without them there is no catalog.
        inputs: The content of each file, as JSON or bytes, by the name of its option.
    """
    if streams:
        inputs["catalog"] = catalog_of(*streams)
    options = []
    for name, content in inputs.items():
        path = folder / f"{name}.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        options += [f"--{name}", str(path)]
    return options


def command(
    *arguments: str | Path,
    cwd: Path | None = None,
    environment: dict[str, str] | None = None,
    timeout: float = 180,
) -> Output:
    """Run the tap as a command."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TAP_COMPOSE")}
    process = subprocess.run(
        [sys.executable, "-m", "tap_compose", *map(str, arguments)],
        cwd=cwd,
        env={**clean, **(environment or {})},
        capture_output=True,
        check=False,
        timeout=timeout,
    )
    return Output(process.stdout, process.returncode, stderr=process.stderr.decode())


@contextmanager
def piped(folder: Path, config: dict[str, Any], *streams: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the tap on some streams as a command whose messages are read while it runs.

    Args:
        folder: Takes its input files and log.
        config: Its config.
        streams: The streams that its catalog selects.
    """
    arguments = input_files(folder, *streams, config=config)
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "tap_compose", *arguments], stdout=subprocess.PIPE, stderr=log
        ) as tap,
    ):
        yield tap


def peak_mib(process: int | str = "self") -> float:
    """Return the most memory that a process has taken, by Linux's /proc."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def named_pipe(path: Path) -> Path:
    """Make a named pipe, which is read once."""
    if os.name == "nt":
        pytest.skip("Windows has no named pipes")
    subprocess.run(["mkfifo", str(path)], check=True)
    return path


def on_a_terminal(
    *arguments: str | Path, module: str = "tap_compose", stdout: int | None = None
) -> tuple[int, str]:
    """Run the tap, or another module, as a command with stderr on a terminal.

    Args:
        arguments: The command's arguments.
        module: The module that is run.
        stdout: Where the messages go; to the terminal too if it is not given.

    Returns:
        The exit status, and what the terminal got.
    """
    pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
    terminal, other_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        stdout=other_end if stdout is None else stdout,
        stderr=other_end,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(other_end)
    parts = []
    with suppress(OSError):  # nobody holds the other end any more
        while True:
            parts.append(os.read(terminal, 65536))
    os.close(terminal)
    return process.wait(60), b"".join(parts).decode().replace("\r\n", "\n")


def sqlalchemy_url(database: str) -> str:
    """The URL of a PostgreSQL database as target-postgres wants it."""
    return database.replace("postgresql:", "postgresql+psycopg:", 1)


def without_colours(text: str) -> str:
    """What a terminal got, less what only moves its cursor or changes its colours."""
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)
