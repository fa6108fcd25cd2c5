"""Show the progress of a run: drawn if stderr is a terminal, otherwise a log line per minute."""

from __future__ import annotations

import _thread
import logging
import os
import sys
import threading
from collections import deque
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from time import monotonic
from typing import TYPE_CHECKING

from tap_compose.logs import escape, mask
from tap_compose.report import StreamReport, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from rich.console import RenderableType

    from tap_compose.messages import MessageWriter
    from tap_compose.run import Run
    from tap_compose.streams.singer import SingerStream

LOG_EVERY = 60.0
"""Seconds between two log lines."""

_DRAWN_PER_SECOND = 4
"""Often enough for the eye, and seldom enough not to slow the run."""

_RATE_OVER = 10.0
"""Seconds over which rows and requests per second are taken, where they are drawn."""

logger = logging.getLogger("tap-compose")


@dataclass(frozen=True)
class ProgressSnapshot:
    """The progress of a run.

    Attributes:
        streams: How many streams it has.
        streams_done: How many of them are complete.
        share: How much of the run is complete, from 0 to 1: each deployment of each stream counts
            the same. It is 0 until the deployments are known.
        stream: The current one; empty before the first.
        parts: How many deployments the current stream reads; 1 if it is not read by deployment.
        parts_done: How many of these are complete.
        reached: The time up to which audit_events is complete; empty for other streams.
        rows: Rows written so far.
        rows_per_second: The rate of the last seconds.
        requests: Requests sent so far.
        requests_per_second: The rate of the last seconds.
        missing: How much was skipped or failed so far, in words; empty if nothing was.
        waiting_for: What the run is waiting for, in words; empty if for nothing.
        seconds: How long the run has taken.
    """

    streams: int
    streams_done: int
    share: float
    stream: str
    parts: int
    parts_done: int
    reached: str
    rows: int
    rows_per_second: float
    requests: int
    requests_per_second: float
    missing: str
    waiting_for: str
    seconds: float

    @property
    def current(self) -> str:
        """The current stream and its progress."""
        if self.parts > 1:
            return f"{self.stream}: {self.parts_done:,} of {self.parts:,} deployments"
        return f"{self.stream}: up to {self.reached}" if self.reached else self.stream

    @property
    def counts(self) -> str:
        """Rows, requests, and what is missing."""
        counts = (
            f"{counted(self.rows, 'row')}, {self.rows_per_second:,.0f}/s; "
            f"{counted(self.requests, 'request')}, {self.requests_per_second:,.0f}/s"
        )
        return f"{counts}; {self.missing}" if self.missing else counts

    @property
    def done(self) -> str:
        """How much is complete, and how many streams."""
        return f"{self.share:.0%}, {self.streams_done} of {counted(self.streams, 'stream')}"

    @property
    def waits(self) -> str:
        """What the run is waiting for."""
        return f"waiting for {self.waiting_for}" if self.waiting_for else ""

    def __str__(self) -> str:
        """Return all of it in one line."""
        parts = (self.done, self.current, self.counts, self.waits)
        return "; ".join(part for part in parts if part)


class Progress:
    """Takes snapshots of a run without changing it.

    Args:
        run: The run.
        streams: Its streams, in the order of their sync.
        writer: What writes its messages.
        rate_over: Seconds over which rates are taken.
    """

    def __init__(
        self, run: Run, streams: Sequence[SingerStream], writer: MessageWriter, rate_over: float
    ) -> None:
        self._run = run
        self._names = [stream.name for stream in streams]
        self._is_per_deployment = [stream.has_deployments for stream in streams]
        self._writer = writer
        self._rate_over = rate_over
        self._seen: deque[tuple[float, int, int]] = deque([(monotonic(), 0, 0)])

    def snapshot(self) -> ProgressSnapshot:
        """Return the progress of the run."""
        report = self._run.report
        stream, stats = next(reversed(report.synced.items()), ("", StreamReport()))
        position = self._names.index(stream) if stream in self._names else 0
        rows = sum(each.rows for each in list(report.streams.values()))
        requests = self._run.requests_sent
        now = monotonic()
        self._seen.append((now, rows, requests))
        while len(self._seen) > 2 and self._seen[1][0] <= now - self._rate_over:  # noqa: PLR2004
            self._seen.popleft()
        then, rows_then, requests_then = self._seen[0]
        seconds = max(now - then, 1e-3)
        waiting_for = "the target to read" if self._writer.is_busy else self._run.waiting_for
        return ProgressSnapshot(
            len(self._names),
            position,
            self._share(position, stats.parts_done / stats.parts),
            stream,
            stats.parts,
            stats.parts_done,
            stats.reached,
            rows,
            (rows - rows_then) / seconds,
            requests,
            (requests - requests_then) / seconds,
            report.missing_text,
            waiting_for,
            now - report.began,
        )

    def _share(self, position: int, share_of_current: float) -> float:
        deployments = self._run.deployment_count
        if deployments is None and any(self._is_per_deployment):
            return 0.0
        parts = [deployments or 1 if each else 1 for each in self._is_per_deployment]
        current = sum(parts[position : position + 1])
        return (sum(parts[:position]) + share_of_current * current) / max(sum(parts), 1)


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
    if sys.stderr.isatty():
        if sys.stdout.isatty():
            return nullcontext()
        if find_spec("rich") and os.environ.get("TERM") != "dumb" and _can_start_thread():
            return _drawn(Progress(run, streams, writer, _RATE_OVER))
    return _logged(Progress(run, streams, writer, LOG_EVERY))


def _can_start_thread() -> bool:
    """Return whether a thread can be started; rich starts one, and hangs if that fails."""
    try:
        _thread.start_new_thread(int, ())
    except RuntimeError:
        return False
    return True


@contextmanager
def _logged(progress: Progress) -> Iterator[None]:
    def log() -> None:
        while not is_over.wait(LOG_EVERY):
            snapshot = progress.snapshot()
            logger.info("progress: %s", snapshot, extra={"progress": vars(snapshot)})

    is_over = threading.Event()
    with suppress(RuntimeError):  # no further thread can be started
        threading.Thread(target=log, name="progress", daemon=True).start()
    try:
        yield
    finally:
        is_over.set()


@contextmanager
def _drawn(progress: Progress) -> Iterator[None]:
    from rich.console import Console  # noqa: PLC0415  # an optional extra
    from rich.live import Live  # noqa: PLC0415

    console = Console(stderr=True)
    live = Live(
        console=console,
        get_renderable=lambda: drawing(progress.snapshot()),
        refresh_per_second=_DRAWN_PER_SECOND,
        transient=True,
        redirect_stdout=False,  # Singer messages go there
    )
    with live, _warnings_above():
        console.show_cursor(True)  # noqa: FBT003  # it stays if the process is killed
        yield


@contextmanager
def _warnings_above() -> Iterator[None]:
    """Print warnings and errors above the drawing."""
    with ExitStack() as stack:
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.__stderr__:
                stack.callback(handler.setLevel, handler.level)
                stack.callback(handler.setStream, handler.stream)
                handler.setLevel(max(handler.level, logging.WARNING))
                handler.setStream(sys.stderr)  # which rich has replaced
        yield


def drawing(snapshot: ProgressSnapshot) -> RenderableType:
    """Draw the progress of a run.

    Args:
        snapshot: The progress.

    Returns:
        Four lines for rich to draw.
    """
    from rich.progress_bar import ProgressBar  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    def line(text: str, style: str) -> Text:
        return Text.assemble("  ", (escape(mask(text)), style), no_wrap=True, overflow="ellipsis")

    minutes, seconds = divmod(int(snapshot.seconds), 60)
    head = Table.grid(padding=(0, 1))
    head.add_row(
        Text("tap-compose", "bold"),
        ProgressBar(1.0, snapshot.share, width=30),
        snapshot.done,
        Text(f"{minutes}:{seconds:02}", "cyan"),
    )
    table = Table.grid()
    table.add_row(head)
    table.add_row(line(snapshot.current, "green"))
    table.add_row(line(snapshot.counts, "white"))
    table.add_row(line(snapshot.waits, "dim"))
    return table
