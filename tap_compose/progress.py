"""Show the progress of a run: drawn if stderr is a terminal, otherwise a log line per minute."""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from time import monotonic
from typing import TYPE_CHECKING

from tap_compose.logs import escape, mask
from tap_compose.report import StreamReport, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from rich.text import Text

    from tap_compose.messages import MessageWriter
    from tap_compose.run import Run
    from tap_compose.streams.singer import SingerStream

LOG_EVERY = 60.0
"""Seconds between two log lines."""

logger = logging.getLogger("tap-compose")


def progress_of(run: Run, streams: Sequence[SingerStream], writer: MessageWriter) -> list[str]:
    """Return the progress of a run in a few short lines, from any thread.

    Args:
        run: The run.
        streams: Its streams.
        writer: What writes its messages.
    """
    synced = run.report.synced
    name, report = next(reversed(synced.items()), ("", StreamReport()))
    if report.reached:
        name += f": up to {report.reached}"
    elif report.parts > 1:
        name += f": {report.parts_done:,} of {report.parts:,} deployments"
    seconds = monotonic() - run.report.began
    rows, requests = sum(each.rows for each in synced.values()), run.client.requests_sent
    waiting_for = "the target to read" if writer.is_busy else run.client.waiting_for
    lines = [
        f"{max(len(synced) - 1, 0)} of {counted(len(streams), 'stream')} in {seconds:.0f} s",
        name,
        f"{counted(rows, 'row')}, {rows / max(seconds, 1):,.0f}/s",
        f"{counted(requests, 'request')}, {requests / max(seconds, 1):,.0f}/s",
        run.report.missing_text,
        f"waiting for {waiting_for}" if waiting_for else "",
    ]
    return [line for line in lines if line]


def show(
    run: Run, streams: Sequence[SingerStream], writer: MessageWriter
) -> AbstractContextManager[object]:
    """Show the progress of a run.

    It is drawn if stderr is a terminal, stdout is not, and rich is installed (the extra
    ``progress``). Otherwise it is logged.

    Args:
        run: The run.
        streams: Its streams, in the order of their sync.
        writer: What writes its messages.

    Returns:
        A context that lasts as long as the run.
    """
    look = partial(progress_of, run, streams, writer)
    is_drawn = sys.stderr.isatty() and not sys.stdout.isatty() and find_spec("rich")
    return _drawn(look) if is_drawn else _logged(look)


@contextmanager
def _logged(look: Callable[[], list[str]]) -> Iterator[None]:
    def log() -> None:
        while not is_over.wait(LOG_EVERY):
            logger.info("progress: %s", "; ".join(look()))

    is_over = threading.Event()
    threading.Thread(target=log, name="progress", daemon=True).start()
    try:
        yield
    finally:
        is_over.set()


@contextmanager
def _drawn(look: Callable[[], list[str]]) -> Iterator[None]:
    from rich.console import Console  # noqa: PLC0415  # an optional extra
    from rich.live import Live  # noqa: PLC0415

    console = Console(stderr=True)
    live = Live(
        console=console,
        get_renderable=lambda: drawing(look()),
        transient=True,
        redirect_stdout=False,  # Singer messages go there
    )
    with live, ExitStack() as stack:
        for handler in logging.getLogger().handlers:  # warnings and errors go above the drawing
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.__stderr__:
                stack.callback(handler.setLevel, handler.level)
                stack.callback(handler.setStream, handler.stream)
                handler.setLevel(max(handler.level, logging.WARNING))
                handler.setStream(sys.stderr)  # which rich has replaced
        console.show_cursor(True)  # noqa: FBT003  # it stays if the process is killed
        yield


def drawing(lines: Sequence[str]) -> Text:
    """Return what rich draws of the progress of a run."""
    from rich.text import Text  # noqa: PLC0415

    shown = [f"  {escape(mask(line))}" for line in lines]
    return Text("\n".join(["tap-compose", *shown]), no_wrap=True, overflow="ellipsis")
