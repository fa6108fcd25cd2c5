"""The command ``compose-sandbox``."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from typing_extensions import override

try:
    from tap_compose.sandbox.demo import run_demo
    from tap_compose.sandbox.faults import KINDS, Fault
    from tap_compose.sandbox.made_up_account import Size
    from tap_compose.sandbox.quirks import Quirks
    from tap_compose.sandbox.server import Sandbox
except ModuleNotFoundError as error:
    sys.exit(
        f"compose-sandbox cannot start: {error.name} is not installed; in a clone of tap-compose "
        "run pip install '.[sandbox]' or uv tool install '.[sandbox]'"
    )
except KeyboardInterrupt:  # the imports take most of a second
    sys.exit("Aborted!")  # as click does from here on

_OF_MELTANO = {"MELTANO_RUN_STATE_ID_SUFFIX": "sandbox"}
"""Keeps states apart: a run over a real account must not start at the sandbox's bookmarks."""

_TAP = re.compile(r"\btap[-_]compose(?:\.exe)?[\"']?\s+([^|;&]*)")
"""A call of the tap in a command line, with its options."""

_CONFIG = re.compile(r"--config[\s=][\"']?([^\s\"']+)")

F = TypeVar("F", bound=Callable[..., Any])


def _sizes(command: F) -> F:
    """Give a command the options for the size of the account and for faults."""
    for name, default, what in (
        ("--latency", 0.0, "Seconds before each response."),
        ("--seed", Size.seed, "Seed of the made-up data."),
        ("--recipes", Size.recipes, "Number of top-level recipes per deployment."),
        ("--events", Size.events, "Number of audit events."),
        ("--deployments", Size.deployments, "Number of deployments."),
        ("--accounts", Size.accounts, "Number of accounts that the token belongs to."),
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
        help="Requests accepted per second; the rest get 429. Without limit by default.",
    )(command)
    command = click.option(
        "--quirks",
        default=Size.quirks.value,
        type=click.Choice([each.value for each in Quirks]),
        show_default=True,
        help="Rare shapes of responses: none; some, as in a real account; or all, and often.",
    )(command)
    command = click.option(
        "--fault-streak",
        default=0,
        type=click.IntRange(0),
        help="Maximum number of faults in a row for the same request; 0 means no limit.",
    )(command)
    return click.option(
        "--faults",
        multiple=True,
        callback=_parsed,
        metavar="KIND[:RATE[:PATH]]",
        help="Fail like KIND, see below, in a share RATE of the requests (0 to 1) whose path "
        "matches PATH: 503:0.1 or reset:1:/deployments/*/alerts. Can be repeated.",
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


class _CommandWithFaults(click.Command):
    """A command whose help lists the kinds of faults."""

    @override
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Kinds of faults"):
            formatter.write_dl(list(KINDS.items()))


@click.group()
def main() -> None:
    """A Compose API on this machine, with a made-up account."""


@main.command(cls=_CommandWithFaults)
@click.option("--port", default=8080, type=click.IntRange(0, 65535), show_default=True)
@_sizes
def serve(port: int, **options: Any) -> None:
    """Print the URL and the token, and serve until SIGINT or SIGTERM."""
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


@main.command(cls=_CommandWithFaults, context_settings={"ignore_unknown_options": True})
@_sizes
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(command: tuple[str, ...], **options: Any) -> None:
    """Start a sandbox, run COMMAND, and exit with its status.

    The URL and the token are passed to COMMAND as TAP_COMPOSE_API_URL and TAP_COMPOSE_API_TOKEN.
    Of tap-compose, only --config ENV reads them.
    """
    _check_configs(" ".join(command))
    process: subprocess.Popen[bytes] | None = None
    early: int | None = None

    def forward(signum: int, _frame: object) -> None:
        nonlocal early
        # A terminal, and Windows, sends SIGINT to COMMAND too, which decides when to end.
        if signum == signal.SIGINT and (sys.platform == "win32" or os.isatty(0)):
            return
        if process is None:
            early = signum
        else:
            process.send_signal(signum)

    with _sandbox(**options) as sandbox:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, forward)
        try:
            environment = {
                **os.environ,
                "TAP_COMPOSE_API_URL": sandbox.url,
                "TAP_COMPOSE_API_TOKEN": sandbox.token,
                **_OF_MELTANO,
            }
            process = subprocess.Popen(command, env=environment)  # noqa: S603
        except OSError as error:
            raise click.ClickException(f"{command[0]}: {error.strerror}") from None
        if early is not None:
            process.send_signal(early)
        status = process.wait()
    sys.exit(128 - status if status < 0 else status)


def _check_configs(command: str) -> None:
    """Refuse a command in which tap-compose would load the account in a config file."""
    for options in _TAP.findall(command):
        configs = _CONFIG.findall(options)
        if configs and "ENV" not in configs:
            raise click.ClickException(
                f"tap-compose --config {configs[0]} would not ask the sandbox: "
                "only --config ENV reads its URL and token; use that"
            )


@main.command(cls=_CommandWithFaults)
@_sizes
@click.option("--target", required=True, help="Path of target-jsonl.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="A new or empty folder, or that of an earlier demo, whose files are replaced.",
)
def demo(target: str, output: Path, **options: Any) -> None:
    """Load the account into JSONL files and show how many rows each has."""
    with _sandbox(**options) as sandbox:
        try:
            sys.exit(run_demo(sandbox, target, output))
        except OSError as error:
            raise click.ClickException(f"{error.filename or output}: {error.strerror}") from None
