"""Run the tap as a command, or with ``python -m tap_compose``.

What has to be in place before the tap is imported, which takes about a second, is here.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_M_MMAP_THRESHOLD = -3  # malloc.h of glibc


_ALLOCATIONS = 100_000
"""Objects until garbage is looked for: rows have no cycles, and with Python's 700 the search
through those that wait took a fifth of a run with a million events."""


def main() -> None:
    """Run the tap as a command."""
    _exit_on_signals()
    _return_large_blocks()
    if sys.stderr is None:  # closed: without this the next open file would become stderr
        sys.stderr = os.fdopen(_devnull_as(2), "w")
    try:
        gc.disable()  # what is imported is never garbage (docs/architecture.md, Writing rows)
        from tap_compose.tap import main as run_command  # noqa: PLC0415  # signals come meanwhile

        gc.freeze()
        gc.set_threshold(_ALLOCATIONS)
        gc.enable()
        run_command()
    finally:
        _exit_on_signals()  # what a later one raised would end in a traceback
        try:
            sys.stderr.flush()
        except OSError:  # Python would try again, and change the exit status
            _devnull_as(2)


def _return_large_blocks() -> None:
    """Let glibc return every block of 128 KiB and more to the system when it is freed.

    This is its default too, but only until the first such block is freed. Then larger ones come
    from the heaps of the threads, which keep their holes: 45 MiB with bodies of 3 MB.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, 128 << 10)


def _exit_on_signals() -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _exit)
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, _handle_as_sigterm)


def _handle_as_sigterm(signum: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGTERM)  # the tap sets its own later
    if callable(handler):
        handler(signum, frame)


def _exit(signum: int, _frame: FrameType | None) -> None:
    os._exit(128 + signum)


def _devnull_as(descriptor: int) -> int:
    opened = os.open(os.devnull, os.O_WRONLY)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
    return descriptor


if __name__ == "__main__":
    main()
