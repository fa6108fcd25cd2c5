"""The threads that send requests, as many as can be started."""

from __future__ import annotations

import _thread
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("tap-compose.api")


class Workers:
    """Threads that do the same work, as many as are wanted and can be started.

    Args:
        work: What each of them does.
        most: How many there may be.

    Attributes:
        count: How many there are.
    """

    def __init__(self, work: Callable[[], None], most: int) -> None:
        self.count = 0
        self._work = work
        self._most = most
        self._problem: Exception | None = None
        self._is_reported = False

    def start_another(self, wanted: int) -> bool:
        """Start one more thread if fewer than ``wanted`` are there; return whether it started."""
        if self.count >= min(wanted, self._most):
            return False
        self.count += 1
        try:
            # Not threading.Thread: if a signal handler raises within its start(), the thread dies
            # with a traceback on stderr.
            _thread.start_new_thread(self._work, ())
        except (RuntimeError, MemoryError) as problem:
            self.count -= 1
            self._problem = problem
            return False
        return True

    def report_problem(self) -> None:
        """Log once that there are fewer threads than wanted."""
        if self._problem is not None and not self._is_reported:
            self._is_reported = True
            logger.warning(
                "cannot start another thread: %s; requests are sent by %d of %d threads",
                self._problem,
                max(self.count, 1),
                self._most,
            )
