"""A server on bare sockets: what it sends, when, and on which connection is up to the test."""

from __future__ import annotations

import socket
import ssl
import threading
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

AUTHORITY = trustme.CA()
"""Vouches for the servers that speak TLS; made for this run of the tests alone."""

_CERTIFICATE = AUTHORITY.issue_cert("localhost", "127.0.0.1")

KEEP = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"


def kept(body: bytes) -> bytes:
    """A correct response that leaves the connection open."""
    return KEEP % (len(body), body)


def bomb(size: int) -> bytes:
    """So many zeros, packed."""
    packer = zlib.compressobj(9, wbits=31)
    pieces = [packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join([*pieces, packer.compress(bytes(size % (1 << 20))), packer.flush()])


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        path: Its path and query.
        connection: The number of its connection, from 0.
        place: How many requests came before it on that connection.
        head: All that came.
    """

    path: str
    connection: int
    place: int
    head: bytes = b""


@dataclass
class WireServer:
    """A running server.

    Attributes:
        address: Host and port.
        asked: The requests so far.
        connections: How many connections there were.
    """

    address: str
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    open: set[socket.socket] = field(default_factory=set)


@contextmanager
def wire_server(
    respond: Callable[[Asked], Iterable[bytes] | bytes],
    *,
    tls: bool = False,
    idle: float | None = None,
) -> Iterator[WireServer]:
    """Run a server that sends the pieces that ``respond`` returns.

    Args:
        respond: Is called for each request; the connection stays open unless the last piece is
            empty.
        tls: Whether it speaks TLS.
        idle: Seconds after which it closes a connection on which nothing is asked.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _CERTIFICATE.configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    running = WireServer(f"127.0.0.1:{listener.getsockname()[1]}")

    def serve(sock: socket.socket, number: int) -> None:
        with suppress(OSError), sock:
            sock.settimeout(idle)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = context.wrap_socket(sock, server_side=True) if tls else sock
            running.open.add(connection)
            with connection:
                _converse(connection, number)

    def _converse(connection: socket.socket, number: int) -> None:
        for place, head in enumerate(_heads(connection)):
            asked = Asked(head.split(b" ", 2)[1].decode(), number, place, head)
            running.asked.append(asked)
            pieces = respond(asked)
            for each in [pieces] if isinstance(pieces, bytes) else pieces:
                if not each:
                    return
                connection.sendall(each)

    def accept() -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                number, running.connections = running.connections, running.connections + 1
                threading.Thread(target=serve, args=(sock, number), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        for each in [listener, *running.open]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def _heads(connection: socket.socket) -> Iterator[bytes]:
    received = b""
    while True:
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65536)
            if not piece:
                return
            received += piece
        head, _, received = received.partition(b"\r\n\r\n")
        yield head + b"\r\n"
