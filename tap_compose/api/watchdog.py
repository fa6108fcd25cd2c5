"""Shut down the connections of requests that are past their time.

A time-out of a socket starts again with every byte, so a server that drips bytes would hold a
request for ever, in the status line, a header, a chunk size or a trailer.
"""

from __future__ import annotations

import _thread
import os
import socket
import threading
from contextlib import suppress
from math import inf
from time import monotonic


class Lifeline:
    """A second handle of a socket, to shut its connection down from another thread.

    It stays valid when TLS takes the socket over, and never means another connection.

    Args:
        sock: The socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock.dup()

    def __del__(self) -> None:
        """Close the handle; the connection itself stays."""
        with suppress(AttributeError):
            self._socket.close()

    def cut(self) -> None:
        """Shut the connection down, whatever it is used for."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class Deadline:
    """The end of the time that a request may take.

    Args:
        seconds: How long it may take from now.
    """

    def __init__(self, seconds: float) -> None:
        self.at = monotonic() + seconds
        self._lifeline: Lifeline | None = None
        self._is_over = False

    @property
    def remaining(self) -> float:
        """Seconds until then, never less than a millisecond: no time at all means no time-out."""
        return max(self.at - monotonic(), 0.001)

    @property
    def has_passed(self) -> bool:
        """Whether the time is up."""
        return self._is_over or monotonic() >= self.at

    def guard(self, lifeline: Lifeline) -> None:
        """Name the connection that is to be shut down when the time is up."""
        self._lifeline = lifeline
        if self._is_over:
            lifeline.cut()

    def enforce(self) -> None:
        """Shut the connection down."""
        self._is_over = True
        if self._lifeline is not None:
            self._lifeline.cut()


class Watchdog:
    """Enforces the deadlines of all requests with one thread, which lives while there are any.

    Where no thread can be started, deadlines are kept only as far as time-outs of sockets go.
    """

    def __init__(self) -> None:
        # Its lock is an RLock: a signal handler may come here while its thread holds it.
        self._changed = threading.Condition()
        self._watched: set[Deadline] = set()
        self._wakes_at = inf
        self._process = 0  # in which the thread runs: a fork has no thread

    def watch(self, deadline: Deadline) -> None:
        """Enforce a deadline from now on."""
        with self._changed:
            self._watched.add(deadline)
            if self._process != os.getpid():
                self._start()
            elif deadline.at < self._wakes_at:
                self._changed.notify()

    def forget(self, deadline: Deadline) -> None:
        """Let a deadline pass: its request is done."""
        with self._changed:
            self._watched.discard(deadline)

    def close(self) -> None:
        """End the thread now if nothing is watched, instead of at the time it waits for."""
        with self._changed:
            self._changed.notify()

    def _start(self) -> None:
        # Not threading.Thread: if a signal handler raises within its start(), the thread dies
        # with a traceback on stderr.
        with suppress(RuntimeError, MemoryError):
            _thread.start_new_thread(self._work, ())
            self._process = os.getpid()

    def _work(self) -> None:
        with self._changed:
            while self._watched:
                now = monotonic()
                for each in [each for each in self._watched if each.at <= now]:
                    self._watched.discard(each)
                    each.enforce()
                self._wakes_at = min((each.at for each in self._watched), default=now)
                self._changed.wait(self._wakes_at - now)
            self._process = 0
