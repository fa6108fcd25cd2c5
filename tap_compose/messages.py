"""Write Singer messages to stdout: complete lines in ASCII, in blocks, flushed at every STATE."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, UnsetType
from singer_sdk.contrib.msgspec import enc_hook
from singer_sdk.singerlib import Message, StateMessage
from singer_sdk.singerlib.encoding import GenericSingerWriter
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_BLOCK = 1 << 16
"""Bytes that are gathered before they are written: a pipe of Linux holds as many."""

_encoder = msgspec.json.Encoder(enc_hook=enc_hook, decimal_format="number")

_non_ascii = re.compile("[^\0-\x7f]+")


class StopRun(BaseException):
    """Ends the run early.

    Not an ``Exception``, which the SDK would report as a bug of the stream that met it.

    Args:
        reason: Why, in one line.
        status: The exit status.
    """

    def __init__(self, reason: str, status: int = 1) -> None:
        super().__init__(reason)
        self.status = status


class _RecordMessage(msgspec.Struct, tag_field="type", tag="RECORD", gc=False):
    stream: str
    record: Any
    version: int | UnsetType
    time_extracted: datetime


class MessageWriter(GenericSingerWriter[bytes, Message]):
    """Writes messages to stdout, at every STATE and at every 64 KiB.

    Attributes:
        is_busy: Whether a block is being written.
    """

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
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

    def resume(self) -> None:
        """Write again after ``stop``."""
        self._stop = None

    @override
    def serialize_message(self, message: Message) -> bytes:
        return _encoder.encode(message.to_dict())

    @override
    def write_message(self, message: Message) -> None:
        self._write(self.format_message(message) + b"\n")
        if isinstance(message, StateMessage):
            self.flush()

    def write_records(
        self, stream: str, rows: Sequence[Any], extracted: datetime, version: int | None
    ) -> None:
        """Write a RECORD message for each row, all of them serialized in one step.

        Args:
            stream: The stream's name.
            rows: The rows, which may be anything that msgspec writes as an object.
            extracted: When the response with the rows was read.
            version: The version of the table, if ACTIVATE_VERSION is wanted.

        Raises:
            StopRun: If stdout takes nothing any more.
        """
        shown = UNSET if version is None else version
        messages = [_RecordMessage(stream, row, shown, extracted) for row in rows]
        self._write(_encoder.encode_lines(messages))

    def _write(self, lines: bytes) -> None:
        if not lines.isascii():  # a target may read stdin in the encoding of its locale
            lines = _non_ascii.sub(_escaped, lines.decode()).encode()
        self._waiting.append(lines)
        self._size += len(lines)
        if self._size > _BLOCK:
            self.flush()

    def flush(self) -> None:
        """Write all messages so far to stdout.

        Raises:
            StopRun: If stdout cannot be written, or ``stop`` was called.
        """
        if not self._waiting:
            return
        self.is_busy = True
        block = b"".join(self._waiting)
        self._waiting, self._size = [], 0
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


def _escaped(text: re.Match[str]) -> str:
    return json.dumps(text[0])[1:-1]


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
