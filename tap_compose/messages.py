"""Singer messages: written as whole lines, in blocks, and out of the door at every STATE."""

from __future__ import annotations

import os
import sys

import msgspec
from singer_sdk.contrib.msgspec import enc_hook
from singer_sdk.singerlib import Message, StateMessage
from singer_sdk.singerlib.encoding import GenericSingerWriter
from singer_sdk.singerlib.json import serialize_json
from typing_extensions import override

from tap_compose.report import StopRun

_BLOCK = 1 << 16


class MessageWriter(GenericSingerWriter[bytes, Message]):
    """Writes messages to stdout; they come out at a STATE, or when there are many."""

    def __init__(self) -> None:
        self._encode = msgspec.json.Encoder(enc_hook=enc_hook, decimal_format="number").encode
        self._lines: list[bytes] = []
        self._size = 0

    @override
    def serialize_message(self, message: Message) -> bytes:
        try:
            return self._encode(message.to_dict())
        except (OverflowError, ValueError):  # a number or text that only the slower writer takes
            return serialize_json(message.to_dict()).encode()

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
            StopRun: If nobody reads stdout any more.
        """
        self._lines.append(line)
        self._size += len(line)
        if self._size > _BLOCK:
            self.flush()

    def flush(self) -> None:
        """Hand out what was written so far.

        Raises:
            StopRun: If nobody reads stdout any more.
        """
        if not self._lines:
            return
        self._lines.append(b"")
        block = b"\n".join(self._lines)
        self._lines, self._size = [], 0
        try:
            sys.stdout.buffer.write(block)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # What Python still holds for stdout would fail once more at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise StopRun("the target has stopped reading: see its own messages") from None
