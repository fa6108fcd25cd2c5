"""Show the progress of a run: drawn if stderr is a terminal, otherwise a log line per minute."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from importlib.util import find_spec
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from tap_compose.logs import escape, mask
from tap_compose.report import StreamReport, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from rich.console import RenderableType

    from tap_compose.messages import MessageWriter
    from tap_compose.run import Run
    from tap_compose.streams.singer import SingerStream

LOG_EVERY = 60.0
"""Seconds between two log lines."""

logger = logging.getLogger("tap-compose")


class Snapshot(NamedTuple):
    """The progress of a run.

    Attributes:
        share: How much of the run is complete, from 0 to 1: each deployment of each stream counts
            the same. It is 0 until the deployments are known.
        seconds: How long the run has taken.
        done: How much is complete, in words, and how many streams.
        current: The current stream and its progress.
        counts: Rows, requests, their rates since the start, and what is missing.
        waits: What the run is waiting for; empty if for nothing.
    """

    share: float
    seconds: float
    done: str
    current: str
    counts: str
    waits: str

    def __str__(self) -> str:
        """Return all of it in one line."""
        return "; ".join(filter(None, self[2:]))


def snapshot(run: Run, streams: Sequence[SingerStream], writer: MessageWriter) -> Snapshot:
    """Return the progress of a run, from any thread.

    Args:
        run: The run.
        streams: Its streams, in the order of their sync.
        writer: What writes its messages.
    """
    synced = run.report.synced
    name, report = next(reversed(synced.items()), ("", StreamReport()))
    streams_done = max(len(synced) - 1, 0)
    deployments = run.deployment_count
    weights = [(deployments or 1) if each.has_deployments else 1 for each in streams]
    share = sum(weights[:streams_done]) + report.parts_done / report.parts * weights[streams_done]
    share /= sum(weights)
    if deployments is None and any(each.has_deployments for each in streams):
        share = 0.0
    current = f"{name}: up to {report.reached}" if report.reached else name
    if report.parts > 1:
        current = f"{name}: {report.parts_done:,} of {report.parts:,} deployments"
    seconds = monotonic() - run.report.began
    rows, requests = sum(each.rows for each in synced.values()), run.client.requests_sent
    counts = [
        f"{counted(rows, 'row')}, {rows / max(seconds, 1):,.0f}/s",
        f"{counted(requests, 'request')}, {requests / max(seconds, 1):,.0f}/s",
        run.report.missing_text,
    ]
    waiting_for = "the target to read" if writer.is_busy else run.client.waiting_for
    return Snapshot(
        share,
        seconds,
        f"{share:.0%}, {streams_done} of {counted(len(streams), 'stream')}",
        current,
        "; ".join(filter(None, counts)),
        f"waiting for {waiting_for}" if waiting_for else "",
    )


def show(
    run: Run, streams: Sequence[SingerStream], writer: MessageWriter
) -> AbstractContextManager[object]:
    """Show the progress of a run.

    It is drawn if stderr is a terminal, stdout is not, and rich is installed (the extra
    ``progress``). Otherwise it is logged, unless both are a terminal.

    Args:
        run: The run.
        streams: Its streams, in the order of their sync.
        writer: What writes its messages.

    Returns:
        A context that lasts as long as the run.
    """
    look = partial(snapshot, run, streams, writer)
    if sys.stderr.isatty():
        if sys.stdout.isatty():
            return nullcontext()
        if find_spec("rich") and os.environ.get("TERM") != "dumb":
            return _drawn(look)
    return _logged(look)


@contextmanager
def _logged(look: Callable[[], Snapshot]) -> Iterator[None]:
    def log() -> None:
        while not is_over.wait(LOG_EVERY):
            logger.info("progress: %s", look())

    is_over = threading.Event()
    with suppress(RuntimeError):  # no further thread can be started
        threading.Thread(target=log, name="progress", daemon=True).start()
    try:
        yield
    finally:
        is_over.set()


@contextmanager
def _drawn(look: Callable[[], Snapshot]) -> Iterator[None]:
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


def drawing(progress: Snapshot) -> RenderableType:
    """Draw the progress of a run.

    Args:
        progress: The progress.

    Returns:
        Four lines for rich to draw.
    """
    from rich.console import Group  # noqa: PLC0415
    from rich.progress_bar import ProgressBar  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    minutes, seconds = divmod(int(progress.seconds), 60)
    head = Table.grid(padding=(0, 1))
    bar = ProgressBar(1.0, progress.share, width=30)
    time = Text(f"{minutes}:{seconds:02}", "cyan")
    head.add_row(Text("tap-compose", "bold"), bar, progress.done, time)
    lines = [
        Text(f"  {escape(mask(line))}", style, no_wrap=True, overflow="ellipsis")
        for style, line in zip(("green", "white", "dim"), progress[3:], strict=True)
    ]
    return Group(head, *lines)
