"""Connections that keep to HTTP and to deadlines where Python's and urllib3's do not.

Informational responses are skipped (python/cpython#42550, urllib3/urllib3#3336), a connection on
which more came than a response is not used again, and each is shut down at the deadline of the
request that uses it.
"""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import suppress
from functools import cache
from http import HTTPStatus
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

import requests.adapters
from typing_extensions import override
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

from tap_compose.api.watchdog import Lifeline

if TYPE_CHECKING:
    from urllib3 import HTTPConnectionPool, PoolManager

    from tap_compose.api.watchdog import Deadline

NEVER = inf
"""For ``Exchange``: no connection is new enough to be used again."""


class Exchange:
    """One try of a request, by the thread that makes it, and how far it came.

    Args:
        deadline: When it must be over.
        reuse_since: By the monotonic clock; older connections are not used for it.

    Attributes:
        is_reused: Whether it uses a connection that others have used.
        has_connected: Whether its own connection came about.
        has_begun: Whether a byte came back.
    """

    def __init__(self, deadline: Deadline, reuse_since: float) -> None:
        self.deadline = deadline
        self.reuse_since = reuse_since
        self.is_reused = False
        self.has_connected = False
        self.has_begun = False
        _thread.exchange = self


class _Thread(threading.local):
    """What a thread is at."""

    exchange: Exchange


_thread = _Thread()


class FinalResponse(http.client.HTTPResponse):
    """A response, less the informational ones before it (RFC 9110, section 15.2).

    Args:
        sock: Where it comes from.
        arguments: As ``http.client`` wants them.
        options: As ``http.client`` wants them.
    """

    fp: Any

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self._socket = sock

    @override
    def begin(self, *arguments: Any, **options: Any) -> None:
        exchange = _thread.exchange
        exchange.has_begun = bool(self.fp.peek(1))
        while not exchange.deadline.has_passed:
            super().begin(*arguments, **options)
            if self.status >= HTTPStatus.OK:
                return
            if self.status == HTTPStatus.SWITCHING_PROTOCOLS:
                self.will_close = True  # what follows is no HTTP
                return
            self.headers = self.msg = None  # type: ignore[assignment]  # or begin() does nothing
        raise TimeoutError

    def _close_conn(self) -> None:
        """Give the connection back, or make it useless if it holds more than the response."""
        if not self.will_close and self._has_more():
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        super()._close_conn()  # type: ignore[misc]  # not public

    def _has_more(self) -> bool:
        try:
            self._socket.settimeout(0)
            return bool(self.fp.peek(1))
        except (OSError, ValueError):
            return False


class WatchedConnection(HTTPConnection):
    """A connection that is shut down at the deadline of whatever request uses it."""

    response_class = FinalResponse

    _lifeline: Lifeline | None = None
    _connected_at = 0.0

    @property
    @override
    def is_connected(self) -> bool:
        return self._connected_at >= _thread.exchange.reuse_since and super().is_connected

    @override
    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        self._guard(sock)
        _thread.exchange.has_connected = True
        self._connected_at = monotonic()
        return sock

    @override
    def request(self, *arguments: Any, **options: Any) -> None:
        exchange = _thread.exchange
        if self._lifeline is not None and not exchange.has_connected:
            exchange.is_reused = True
            exchange.deadline.guard(self._lifeline)
        super().request(*arguments, **options)

    @override
    def close(self) -> None:
        self._lifeline = None  # the deadline keeps it while a last response is read
        super().close()

    def _guard(self, sock: socket.socket) -> None:
        self._lifeline = Lifeline(sock)
        _thread.exchange.deadline.guard(self._lifeline)


class DirectConnection(WatchedConnection):
    """A watched connection that shares its time among the addresses of a host.

    urllib3 gives each of them all of the time.
    """

    @override
    def _new_conn(self) -> socket.socket:
        until = monotonic() + min(self.timeout or inf, _thread.exchange.deadline.remaining)
        error: OSError = OSError("no address")
        addresses = self._addresses()
        for place, (family, kind, protocol, _, address) in enumerate(addresses):
            sock = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                self._guard(sock)
                time = (until - monotonic()) / (len(addresses) - place)
                sock.settimeout(max(time, 0.001))
                sock.connect(address)
            except OSError as problem:
                sock.close()
                error = problem
            else:
                _thread.exchange.has_connected = True
                self._connected_at = monotonic()
                return sock
        if isinstance(error, TimeoutError):
            raise ConnectTimeoutError(self, "no connection in time") from error
        raise NewConnectionError(self, f"no connection: {error}") from error

    def _addresses(self) -> list[Any]:
        try:
            return socket.getaddrinfo(
                self._dns_host, self.port, allowed_gai_family(), socket.SOCK_STREAM
            )
        except (socket.gaierror, UnicodeError) as problem:
            reason = socket.gaierror(str(problem))
            raise NameResolutionError(self.host, self, reason) from problem


class Adapter(requests.adapters.HTTPAdapter):
    """Sends requests over connections of this module, through proxies too."""

    @override
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        _watch(self.poolmanager)

    @override
    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **options)
        if is_new:
            _watch(manager)
        return manager


def _watch(manager: PoolManager) -> None:
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {name: _watched(pools[name]) for name in pools}


@cache
def _watched(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    """Return a class of pools like another one, whose connections are watched."""
    connection = pool.ConnectionCls
    # With SOCKS, a connection finds its own way.
    is_direct = connection in {HTTPConnection, HTTPSConnection}
    base = DirectConnection if is_direct else WatchedConnection
    watched = type(f"Watched{connection.__name__}", (base, connection), {})
    return type(f"Watched{pool.__name__}", (pool,), {"ConnectionCls": watched})
