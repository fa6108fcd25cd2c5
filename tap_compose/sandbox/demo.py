"""The demo: pipe the tap into target-jsonl, and show how many rows were loaded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tap_compose.report import aligned, counted
from tap_compose.streams import STREAMS

if TYPE_CHECKING:
    from tap_compose.sandbox.server import Sandbox

_MARK = "compose-sandbox-demo.json"
"""The target's config; a folder that has it is an earlier demo's."""

_FOR_THE_TAP = ("TAP_COMPOSE_", "LOGLEVEL", "SINGER_SDK_LOG")
"""Variables that would change what the demo's tap loads or logs."""


def run_demo(sandbox: Sandbox, target: str, output: Path) -> int:
    """Run the tap into target-jsonl and print how many rows were loaded.

    On a terminal the tap shows its progress and its summary. Otherwise its log goes to a file,
    and a table of streams, rows and files is printed.

    Args:
        sandbox: Has the account that is loaded.
        target: The command of target-jsonl.
        output: The folder for the files. Those of an earlier demo are replaced, others stay.

    Returns:
        The exit status: 0 if both succeeded.

    Raises:
        click.ClickException: If there is no such target, or the folder holds something else.
    """
    command = shutil.which(target)
    if command is None:
        raise click.ClickException(
            f"--target {target}: no such command; install target-jsonl or give its path"
        )
    if output.exists() and not _is_free(output):
        raise click.ClickException(
            f"--output {output}: it is neither empty nor an earlier demo's; name a new folder"
        )
    output.mkdir(parents=True, exist_ok=True)
    config = output / _MARK
    config.write_text(json.dumps({"destination_path": str(output), "do_timestamp_file": False}))
    files = {name: output / f"{name}.jsonl" for name in sorted(vars(s)["name"] for s in STREAMS)}
    for path in files.values():
        path.unlink(missing_ok=True)
    tap_config = output / "tap.json"  # not ENV, which also reads a file .env
    tap_config.write_text(json.dumps({"api_url": sandbox.url, "api_token": sandbox.token}))
    environment = {
        name: text for name, text in os.environ.items() if not name.startswith(_FOR_THE_TAP)
    }
    log_path = output / "tap.log"
    is_watched = sys.stderr.isatty()
    click.echo(f"loading {sandbox.url} into {output}", err=True)
    with log_path.open("wb") as log:
        tap = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "tap_compose", "--config", str(tap_config)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=None if is_watched else log,
        )
        try:
            loading = subprocess.run(  # noqa: S603
                [command, "--config", str(config)],
                stdin=tap.stdout,
                stdout=subprocess.PIPE,
                check=False,
            )
        finally:  # also if the target cannot be started
            if tap.stdout is not None:
                tap.stdout.close()
            status = tap.wait()
    (output / "state.json").write_bytes(loading.stdout.splitlines()[-1] if loading.stdout else b"")
    if is_watched:
        loaded = [path for path in files.values() if path.exists()]
        click.echo(f"{counted(len(loaded), 'file')} in {output}")
    else:
        if not loading.returncode:
            _print_table(files)
        _print_end_of(log_path)
    leaving = sandbox.account.leaving
    was_read = any(leaving in path for path in sandbox.log.paths) if leaving else False
    if was_read and not loading.returncode:
        click.echo(
            f"deployment {leaving} is skipped on purpose: the sandbox imitates one that is "
            "being deprovisioned; in a real account, find out why something is skipped"
        )
    name = Path(command).name
    its_log = f"; the log of {name} is above" if loading.returncode else ""
    click.echo(f"tap-compose ended with status {status}, {name} with {loading.returncode}{its_log}")
    return status or loading.returncode


def _is_free(output: Path) -> bool:
    return output.is_dir() and ((output / _MARK).exists() or not any(output.iterdir()))


def _print_table(files: dict[str, Path]) -> None:
    table = [("stream", "rows", "file")]
    for stream, path in files.items():
        count = len(path.read_bytes().splitlines()) if path.exists() else 0
        table.append((stream, str(count), str(path) if count else "-"))
    click.echo("\n".join(aligned(table, numbers={1})))


def _print_end_of(log: Path) -> None:
    """Print the lines of the tap's log after the summary of each stream."""
    lines = [line.split("|", 3)[-1].strip() for line in log.read_text().splitlines()]
    last = max(
        (place for place, line in enumerate(lines) if line.startswith("summary of")), default=0
    )
    click.echo("\n".join(["", *lines[last + 1 :]]))
