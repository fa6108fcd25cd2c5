"""Run the sandbox in a thread, on a port of this machine."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING

import uvicorn
from typing_extensions import Self

from tap_compose.sandbox.app import PREFIX, make_app
from tap_compose.sandbox.faults import Fault, Faults
from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.rate import RateLimit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from starlette.types import ASGIApp

_LONGEST_START = 30.0
"""Seconds: a start takes a tenth of one, on a busy machine several."""


def _is_error(record: logging.LogRecord) -> bool:
    """Whether a line of uvicorn's log is one; it also logs each request that a stop cancels."""
    return not record.exc_info or record.exc_info[0] is not asyncio.CancelledError


logging.getLogger("uvicorn.error").addFilter(_is_error)


class Sandbox:
    """A running Compose API.

    Attributes:
        account: What it serves.
        url: The base URL for the setting ``api_url``.
        token: The token for the setting ``api_token``.
        log: The requests that came in.
        faults: Injects faults into them.
        rate_limit: What refuses them; None if nothing does.

    Args:
        size: How much there is in the account.
        account: The account, if not one of that size.
        port: The port, or 0 for a free one.
        latency: Seconds before each response.
        inclusive_bounds: Whether the bounds of ``/audit_events`` include their instant.
        faults: The faults to inject.
        streak: Maximum number of faults in a row for the same request; 0 for no limit.
        rate: Requests accepted per second; the rest get 429. None for no limit.
        retry_after: Seconds of ``Retry-After`` with these 429; None for no header.
    """

    def __init__(
        self,
        size: Size | None = None,
        *,
        account: Account | None = None,
        port: int = 0,
        latency: float = 0.0,
        inclusive_bounds: bool = True,
        faults: Sequence[Fault] = (),
        streak: int = 0,
        rate: int | None = None,
        retry_after: int | None = None,
    ) -> None:
        self.account = account or Account(size)
        self.token = f"sandbox-token-{self.account.size.seed:08d}"
        app, self.log = make_app(
            self.account, self.token, latency=latency, inclusive_bounds=inclusive_bounds
        )
        self.faults = Faults(app, faults, seed=self.account.size.seed, streak=streak, prefix=PREFIX)
        served: ASGIApp = self.faults if faults else app
        self.rate_limit = None if rate is None else RateLimit(served, rate, retry_after)
        # asyncio turns Nagle's algorithm off only where the protocol is named, and without that
        # every second response waits 40 ms for an acknowledgement.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}{PREFIX}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                self.rate_limit or served,
                log_level="error",
                access_log=False,
                lifespan="off",
                server_header=False,
                headers=[("server", "ComposeAPI/2016-07")],
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="sandbox", daemon=True
        )

    def __enter__(self) -> Self:
        """Start; returns when requests are taken."""
        self._thread.start()
        deadline = time.monotonic() + _LONGEST_START
        while not self._server.started:
            has_ended = not self._thread.is_alive() and not self._server.started  # in this order
            if has_ended or time.monotonic() > deadline:
                raise RuntimeError("the sandbox did not start")
            time.sleep(0.01)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop; returns when the port is free again."""
        self.stop()
        self._thread.join()
        self._socket.close()

    def stop(self) -> None:
        """End ``wait``; a signal handler may call it, at any time."""
        self._server.should_exit = True
        self._server.force_exit = True

    def wait(self) -> None:
        """Serve until ``stop`` is called."""
        while self._thread.is_alive():
            self._thread.join(1.0)
