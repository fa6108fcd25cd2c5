"""The demo: pipe the tap into target-jsonl, and show how many rows were loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import click

from tap_compose.report import aligned, counted
from tap_compose.streams import STREAMS

if TYPE_CHECKING:
    from pathlib import Path


def run_demo(environment: dict[str, str], target: str, output: Path) -> int:
    """Run the tap into target-jsonl and print how many rows were loaded.

    On a terminal the tap shows its progress and its summary. Otherwise its log goes to a file,
    and a table of streams, rows and files is printed.

    Args:
        environment: The environment of both, with the URL and the token.
        target: The command of target-jsonl.
        output: The folder for the files; emptied first.

    Returns:
        The exit status: 0 if both succeeded.
    """
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    config = output / "target-config.json"
    config.write_text(json.dumps({"destination_path": str(output), "do_timestamp_file": False}))
    log_path = output / "tap.log"
    is_watched = sys.stderr.isatty()
    click.echo(f"loading {environment['TAP_COMPOSE_API_URL']} into {output}", err=True)
    with log_path.open("wb") as log:
        tap = subprocess.Popen(
            [sys.executable, "-m", "tap_compose", "--config", "ENV"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=None if is_watched else log,
        )
        loading = subprocess.run(  # noqa: S603
            [target, "--config", str(config)],
            stdin=tap.stdout,
            stdout=subprocess.PIPE,
            check=False,
        )
        if tap.stdout is not None:
            tap.stdout.close()
        status = tap.wait()
    (output / "state.json").write_bytes(loading.stdout.splitlines()[-1] if loading.stdout else b"")
    if is_watched:
        click.echo(f"{counted(len(list(output.glob('*.jsonl'))), 'file')} in {output}")
    else:
        _print_table(output)
        _print_end_of(log_path)
    click.echo(f"tap-compose ended with status {status}, target-jsonl with {loading.returncode}")
    return status or loading.returncode


def _print_end_of(log: Path) -> None:
    """Print the lines of the tap's log after the summary of each stream."""
    lines = [line.split("|", 3)[-1].strip() for line in log.read_text().splitlines()]
    last = max(
        (place for place, line in enumerate(lines) if line.startswith("summary of")), default=0
    )
    click.echo("\n".join(["", *lines[last + 1 :]]))


def _print_table(output: Path) -> None:
    table = [("stream", "rows", "file")]
    for stream in sorted(str(vars(each)["name"]) for each in STREAMS):
        path = output / f"{stream}.jsonl"
        count = len(path.read_bytes().splitlines()) if path.exists() else 0
        table.append((stream, str(count), str(path) if count else "-"))
    click.echo("\n".join(aligned(table, numbers={1})))
