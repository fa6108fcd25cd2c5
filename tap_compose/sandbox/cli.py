"""The command ``compose-sandbox``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

try:
    from tap_compose.sandbox.server import Sandbox
except ModuleNotFoundError as error:
    sys.exit(f"compose-sandbox needs {error.name}: pip install 'tap-compose[sandbox]'")
from tap_compose.sandbox.account import Size
from tap_compose.sandbox.demo import run_demo

F = TypeVar("F", bound=Callable[..., Any])


def _sizes(command: F) -> F:
    """Give a command the options that say how large the account is."""
    for name, default, what in (
        ("--latency", 0.0, "Seconds before each answer."),
        ("--seed", Size.seed, "Decides everything that the sizes do not."),
        ("--recipes", Size.recipes, "Recipes at the top level of each deployment."),
        ("--events", Size.events, "Audit events."),
        ("--deployments", Size.deployments, "Deployments."),
    ):
        kind = click.FloatRange(0, 60) if default == 0.0 else click.IntRange(0)
        command = click.option(name, default=default, type=kind, show_default=True, help=what)(
            command
        )
    return command


@click.group()
def main() -> None:
    """A Compose API on this machine, with a made-up account."""


@main.command()
@click.option("--port", default=8080, type=click.IntRange(0, 65535), show_default=True)
@_sizes
def serve(
    port: int, deployments: int, events: int, recipes: int, seed: int, latency: float
) -> None:
    """Serve until interrupted; print the URL and the token."""
    try:
        sandbox = Sandbox(Size(deployments, events, recipes, seed), port=port, latency=latency)
    except OSError as error:
        raise click.ClickException(f"port {port}: {error.strerror}") from None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with sandbox:
        click.echo(f"TAP_COMPOSE_API_URL={sandbox.url}\nTAP_COMPOSE_API_TOKEN={sandbox.token}")
        try:
            sandbox.wait()
        except KeyboardInterrupt:
            click.echo("stopped", err=True)


@main.command(context_settings={"ignore_unknown_options": True})
@_sizes
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    command: tuple[str, ...], deployments: int, events: int, recipes: int, seed: int, latency: float
) -> None:
    """Run COMMAND with the sandbox beside it, and exit as it does.

    COMMAND finds the address and the token in TAP_COMPOSE_API_URL and TAP_COMPOSE_API_TOKEN.
    """
    with Sandbox(Size(deployments, events, recipes, seed), latency=latency) as sandbox:
        try:
            process = subprocess.Popen(command, env={**os.environ, **_environment(sandbox)})  # noqa: S603
        except OSError as error:
            raise click.ClickException(f"{command[0]}: {error.strerror}") from None
        # What the terminal interrupts it interrupts for COMMAND too, which decides how to end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        status = process.wait()
    sys.exit(128 - status if status < 0 else status)


@main.command()
@_sizes
@click.option("--target", required=True, help="The command of target-jsonl.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("demo-output"), show_default=True
)
def demo(
    target: str,
    output: Path,
    deployments: int,
    events: int,
    recipes: int,
    seed: int,
    latency: float,
) -> None:
    """Load the whole account into JSONL files and show what arrived."""
    with Sandbox(Size(deployments, events, recipes, seed), latency=latency) as sandbox:
        sys.exit(run_demo({**os.environ, **_environment(sandbox)}, target, output))


def _environment(sandbox: Sandbox) -> dict[str, str]:
    return {"TAP_COMPOSE_API_URL": sandbox.url, "TAP_COMPOSE_API_TOKEN": sandbox.token}
