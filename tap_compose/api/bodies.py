"""Read the body of a response: completely, within its deadline, and up to a size."""

from __future__ import annotations

import gzip
import zlib
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable

    from urllib3 import BaseHTTPResponse

    from tap_compose.api.watchdog import Deadline

LARGEST_BODY = 256 << 20
"""Bytes of a body, compressed and decompressed."""

_LONGEST_ERROR_BODY = 1 << 16
_USUAL_BODY = 1 << 20
_CHUNK = 1 << 18
_GZIP = 31  # what zlib calls it


class BodyError(Exception):
    """A body that cannot be read; the message completes "the response is"."""


class LargeBodyError(BodyError):
    """A body that is larger than ``LARGEST_BODY``."""


def read_body(
    response: BaseHTTPResponse, deadline: Deadline, receive: Callable[[int], None]
) -> bytes:
    """Read and decompress a body.

    Args:
        response: A response of which only the headers were read.
        deadline: When to give up.
        receive: Takes the size of the body so far; may raise to give up.

    Returns:
        The body; if the status is not 200, possibly only its beginning.

    Raises:
        BodyError: If it cannot be decompressed or is too large.
        TimeoutError: If the deadline has passed.
    """
    if response.status == HTTPStatus.OK:
        packed = _Buffer(deadline, LARGEST_BODY, receive)
        while chunk := response.read1(_CHUNK, decode_content=False):
            packed.add(chunk)
        return _unpacked(packed, response.headers.get("Content-Encoding"))
    packed = _Buffer(deadline, 2 * _LONGEST_ERROR_BODY, receive)
    while chunk := response.read1(_LONGEST_ERROR_BODY, decode_content=False):
        packed.add(chunk)
        if packed.tell() >= _LONGEST_ERROR_BODY:
            break
    body = packed.getvalue()
    if response.headers.get("Content-Encoding"):
        try:
            body = zlib.decompressobj(_GZIP).decompress(body, _LONGEST_ERROR_BODY)
        except zlib.error:
            return b""
    return body[:_LONGEST_ERROR_BODY]


class _Buffer(BytesIO):
    """What has arrived; its ``getvalue`` takes no further memory."""

    def __init__(self, deadline: Deadline, most: int, receive: Callable[[int], None]) -> None:
        super().__init__()
        self.deadline = deadline
        self.receive = receive
        self._most = most

    def add(self, chunk: bytes) -> None:
        if self.deadline.has_passed:
            raise TimeoutError
        if self.tell() + len(chunk) > self._most:
            raise LargeBodyError(f"larger than {self._most >> 20} MiB")
        self.write(chunk)
        self.receive(self.tell())

    @override
    def read(self, size: int | None = -1) -> bytes:
        if self.deadline.has_passed:  # millions of members can decompress to nothing
            raise TimeoutError
        return super().read(size)


def _unpacked(packed: _Buffer, packing: str | None) -> bytes:
    packing = "identity" if packing is None else packing.strip().lower()
    if packing in {"identity", ""}:
        return packed.getvalue()
    if packing not in {"gzip", "x-gzip"}:  # nothing else was requested
        raise BodyError(f"compressed as {packing[:40]!r}, which was not requested")
    try:
        # Nearly every body is small and one member, which takes no Python code.
        unpacker = zlib.decompressobj(_GZIP)
        body = unpacker.decompress(packed.getvalue(), _USUAL_BODY)
        if unpacker.eof and not unpacker.unused_data:
            return body
        del unpacker, body
        packed.seek(0)
        unpacked = _Buffer(packed.deadline, LARGEST_BODY, packed.receive)
        with gzip.GzipFile(fileobj=packed) as members:
            while chunk := members.read(_CHUNK):
                unpacked.add(chunk)
        return unpacked.getvalue()
    except (zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise BodyError("not a complete gzip file") from error
