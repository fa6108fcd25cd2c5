"""A server that sends raw bytes: which, when, and on which connection is up to the test."""

from __future__ import annotations

import socket
import ssl
import threading
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import parse_headers
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from email.message import Message

AUTHORITY = trustme.CA()
"""Vouches for the servers that speak TLS; made for this run of the tests alone."""

_CERTIFICATE = AUTHORITY.issue_cert("localhost", "127.0.0.1")


def http(body: bytes, status: bytes = b"200 OK", headers: bytes = b"") -> bytes:
    """A correct response that ends the connection."""
    return kept(body, status, b"Connection: close\r\n" + headers)


def kept(body: bytes, status: bytes = b"200 OK", headers: bytes = b"") -> bytes:
    """A correct response that leaves the connection open."""
    head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n"
    return head % (status, len(body), headers) + body


def bomb(size: int) -> bytes:
    """So many zeros, packed."""
    packer = zlib.compressobj(9, wbits=31)
    pieces = [packer.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join([*pieces, packer.compress(bytes(size % (1 << 20))), packer.flush()])


@dataclass(frozen=True)
class Received:
    """A request.

    Attributes:
        path: Its path and query.
        headers: Its headers.
        connection: The number of its connection, from 1.
    """

    path: str
    headers: Message
    connection: int


@dataclass
class RawServer:
    """A running server.

    Attributes:
        address: Host and port.
        scheme: That of its URLs.
        requests: What was requested.
        connections: How many connections there were.
    """

    address: str
    scheme: str = "http"
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    open: set[socket.socket] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}"

    @property
    def paths(self) -> list[str]:
        return [each.path for each in self.requests]

    @property
    def headers(self) -> list[Message]:
        return [each.headers for each in self.requests]


@contextmanager
def raw_server(
    respond: Callable[[str], bytes | Iterable[bytes]],
    *,
    tls: bool = False,
    idle: float | None = None,
) -> Iterator[RawServer]:
    """Run a server that sends what ``respond`` returns for a path, in one piece or several.

    Args:
        respond: Is called for each request. The connection stays open unless the response says
            ``Connection: close``, or a piece is empty.
        tls: Whether it speaks TLS.
        idle: Seconds after which it closes a connection on which nothing is requested.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _CERTIFICATE.configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    running = RawServer(address, "https" if tls else "http")

    def serve(sock: socket.socket, number: int) -> None:
        with suppress(OSError), sock:
            sock.settimeout(idle)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = context.wrap_socket(sock, server_side=True) if tls else sock
            running.open.add(connection)
            with connection:
                for path, headers in _requests(connection):
                    running.requests.append(Received(path, headers, number))
                    if not send(connection, respond(path)):
                        return

    def send(connection: socket.socket, response: bytes | Iterable[bytes]) -> bool:
        """Send it; return whether the connection stays open."""
        stays_open = True
        for piece in [response] if isinstance(response, bytes) else response:
            stays_open = stays_open and bool(piece) and b"Connection: close" not in piece[:1000]
            connection.sendall(piece)
        return stays_open

    def accept() -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                running.connections += 1
                arguments = (sock, running.connections)
                threading.Thread(target=serve, args=arguments, daemon=True).start()

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


def _requests(connection: socket.socket) -> Iterator[tuple[str, Message]]:
    """Read the path and the headers of each request."""
    with connection.makefile("rb") as file:
        while (line := file.readline().split(b" "))[0] in {b"GET", b"CONNECT"}:
            yield line[1].decode(), parse_headers(file)
