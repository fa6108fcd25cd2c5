"""Write Singer messages to stdout: complete lines, in blocks, flushed at every STATE."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.contrib.msgspec import enc_hook
from singer_sdk.singerlib import Message, StateMessage
from singer_sdk.singerlib.encoding import GenericSingerWriter
from typing_extensions import override

from tap_compose.report import StopRun

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

_BLOCK = 1 << 16

_encode = msgspec.json.Encoder(enc_hook=enc_hook, decimal_format="number").encode


class MessageWriter(GenericSingerWriter[bytes, Message]):
    """Writes messages to stdout, at every STATE and at every 64 KiB.

    Attributes:
        is_busy: Whether a block is being written.
    """

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0
        self.is_busy = False
        self._stop: StopRun | None = None

    def stop(self, why: StopRun) -> None:
        """End the run from a signal handler, but never in the middle of a line.

        Args:
            why: Raised at once or after the block that is being written; and after the next
                block too, because Python ignores what a handler raises within a finalizer.
        """
        self._stop = why
        if not self.is_busy:
            raise why

    @override
    def serialize_message(self, message: Message) -> bytes:
        return _encode(message.to_dict())

    @override
    def write_message(self, message: Message) -> None:
        self.write_line(self.format_message(message))
        if isinstance(message, StateMessage):
            self.flush()

    def write_line(self, line: bytes) -> None:
        """Write a message that is serialized already.

        Args:
            line: A JSON object without the line break.

        Raises:
            StopRun: If stdout cannot be written.
        """
        self._lines.append(line)
        self._size += len(line)
        if self._size > _BLOCK:
            self.flush()

    def flush(self) -> None:
        """Write all messages so far to stdout.

        Raises:
            StopRun: If stdout cannot be written, or ``stop`` was called.
        """
        if not self._lines:
            return
        self.is_busy = True
        self._lines.append(b"")
        block = b"\n".join(self._lines)
        self._lines, self._size = [], 0
        try:
            rest = memoryview(block)
            while rest:  # where Python does not buffer stdout, a signal cuts a write short
                rest = rest[sys.stdout.buffer.write(rest) :]
            sys.stdout.buffer.flush()
        except OSError as error:
            raise stdout_failed(error) from None
        finally:
            self.is_busy = False
        if self._stop is not None:
            raise self._stop


def stdout_failed(error: OSError) -> StopRun:
    """Return the error that ends the run because stdout cannot be written.

    Args:
        error: The error of the write.
    """
    # Python would flush stdout once more at its exit, and fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return StopRun("the target stopped reading: see its log")
    return StopRun(f"cannot write to stdout: {error.strerror}")


def record_lines(stream: str, version: int | None, extracted: datetime) -> Callable[[Any], bytes]:
    """Return a function that serializes the RECORD messages of one response.

    What they have in common is serialized once.

    Args:
        stream: The stream's name.
        version: The version of the table, if ACTIVATE_VERSION will be written.
        extracted: When the response was read.

    Returns:
        A function from a row, anything that msgspec encodes as an object, to a line without its
        line break.
    """
    head = b'{"type":"RECORD","stream":%s,"record":' % _encode(stream)
    fields = {} if version is None else {"version": version}
    tail = b"," + _encode({**fields, "time_extracted": extracted})[1:]

    def line(row: Any) -> bytes:
        return b"%s%s%s" % (head, _encode(row), tail)

    return line
