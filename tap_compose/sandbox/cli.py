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
    from tap_compose.sandbox.account import Size
    from tap_compose.sandbox.demo import run_demo
    from tap_compose.sandbox.faults import KINDS, Fault
    from tap_compose.sandbox.quirks import Quirks
    from tap_compose.sandbox.server import Sandbox
except ModuleNotFoundError as error:
    sys.exit(
        f"compose-sandbox cannot start: {error.name} is not installed; in a clone of tap-compose "
        "run pip install '.[sandbox]' or uv tool install '.[sandbox]'"
    )
except KeyboardInterrupt:  # the imports take most of a second
    sys.exit("Aborted!")  # as click does from here on

F = TypeVar("F", bound=Callable[..., Any])


def _sizes(command: F) -> F:
    """Give a command the options that say how large the account is."""
    for name, default, what in (
        ("--latency", 0.0, "Seconds before each answer."),
        ("--seed", Size.seed, "Decides everything that the sizes do not."),
        ("--recipes", Size.recipes, "Recipes at the top level of each deployment."),
        ("--events", Size.events, "Audit events."),
        ("--deployments", Size.deployments, "Deployments."),
        ("--accounts", Size.accounts, "Accounts that the token belongs to."),
    ):
        least = 1 if name == "--accounts" else 0
        kind = click.FloatRange(0, 60) if default == 0.0 else click.IntRange(least)
        command = click.option(name, default=default, type=kind, show_default=True, help=what)(
            command
        )
    command = click.option(
        "--retry-after",
        type=click.IntRange(0),
        metavar="SECONDS",
        help="Send Retry-After with each 429 of --rate.",
    )(command)
    command = click.option(
        "--rate",
        type=click.IntRange(1),
        metavar="N",
        help="Requests that it bears in each second; the rest get 429. Without limit by default.",
    )(command)
    command = click.option(
        "--quirks",
        default=Size.quirks.value,
        type=click.Choice([each.value for each in Quirks]),
        show_default=True,
        help="Shapes that few responses of the API have: none of them, which suits every known "
        "client; a few, as in a real account; or all of them, often.",
    )(command)
    command = click.option(
        "--fault-streak",
        default=0,
        type=click.IntRange(0),
        help="How often in a row the same request is struck at most; without limit if 0.",
    )(command)
    return click.option(
        "--faults",
        multiple=True,
        callback=_parsed,
        metavar="KIND[:RATE[:PATH]]",
        help=f"Misbehave. Kinds: {', '.join(KINDS)}, or an HTTP status. May be repeated.",
    )(command)


def _parsed(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> Any:
    try:
        return [Fault.parse(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _sandbox(port: int = 0, **options: Any) -> Sandbox:
    if options["retry_after"] is not None and options["rate"] is None:
        raise click.UsageError("--retry-after: nothing is refused; add --rate")
    names = ("deployments", "events", "recipes", "seed", "accounts")
    return Sandbox(
        Size(**{name: options[name] for name in names}, quirks=Quirks(options["quirks"])),
        port=port,
        latency=options["latency"],
        faults=options["faults"],
        streak=options["fault_streak"],
        rate=options["rate"],
        retry_after=options["retry_after"],
    )


@click.group()
def main() -> None:
    """A Compose API on this machine, with a made-up account."""


@main.command()
@click.option("--port", default=8080, type=click.IntRange(0, 65535), show_default=True)
@_sizes
def serve(port: int, **options: Any) -> None:
    """Print the URL and the token, and serve until SIGINT or SIGTERM; then exit with 0."""
    try:
        sandbox = _sandbox(port, **options)
    except OSError as error:
        raise click.ClickException(f"port {port}: {error.strerror}") from None
    # Nothing is raised: a signal may arrive between any two lines.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: sandbox.stop())
    with sandbox:
        click.echo(f"TAP_COMPOSE_API_URL={sandbox.url}\nTAP_COMPOSE_API_TOKEN={sandbox.token}")
        sandbox.wait()
    click.echo("stopped", err=True)


@main.command(context_settings={"ignore_unknown_options": True})
@_sizes
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(command: tuple[str, ...], **options: Any) -> None:
    """Run COMMAND with the sandbox beside it, and exit as it does.

    COMMAND finds the address and the token in TAP_COMPOSE_API_URL and TAP_COMPOSE_API_TOKEN.
    """
    process: subprocess.Popen[bytes] | None = None
    is_terminated = False

    def terminate(*_: object) -> None:
        nonlocal is_terminated
        is_terminated = True
        if process is not None:
            process.terminate()

    with _sandbox(**options) as sandbox:
        # What the terminal interrupts it interrupts for COMMAND too, which decides how to end.
        # COMMAND would inherit SIG_IGN.
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, terminate)
        try:
            process = subprocess.Popen(command, env={**os.environ, **_environment(sandbox)})  # noqa: S603
        except OSError as error:
            raise click.ClickException(f"{command[0]}: {error.strerror}") from None
        if is_terminated:  # before there was a process
            process.terminate()
        status = process.wait()
    sys.exit(128 - status if status < 0 else status)


@main.command()
@_sizes
@click.option("--target", required=True, help="The command of target-jsonl.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("demo-output"), show_default=True
)
def demo(target: str, output: Path, **options: Any) -> None:
    """Load the whole account into JSONL files and show what arrived."""
    with _sandbox(**options) as sandbox:
        sys.exit(run_demo({**os.environ, **_environment(sandbox)}, target, output))


def _environment(sandbox: Sandbox) -> dict[str, str]:
    return {"TAP_COMPOSE_API_URL": sandbox.url, "TAP_COMPOSE_API_TOKEN": sandbox.token}
