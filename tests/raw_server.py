"""A server that sends raw bytes, so that its responses can be as wrong as they like."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from email.message import Message


@dataclass
class RawServer:
    """A running server.

    Attributes:
        address: Host and port.
        paths: What was requested.
        headers: The headers of each request.
    """

    address: str
    paths: list[str] = field(default_factory=list)
    headers: list[Message] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.address}"


@contextmanager
def raw_server(respond: Callable[[str], bytes | Iterable[bytes]]) -> Iterator[RawServer]:
    """Run a server that sends what ``respond`` returns for a path, and closes the connection."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            running.paths.append(self.path)
            running.headers.append(self.headers)
            response = respond(self.path)
            try:
                for part in [response] if isinstance(response, bytes) else response:
                    self.wfile.write(part)
                    self.wfile.flush()
            except OSError:
                pass
            self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    running = RawServer(f"127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def http(body: bytes, status: bytes = b"200 OK", headers: bytes = b"") -> bytes:
    """A correct response."""
    head = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n"
    return head % (status, len(body), headers) + body
