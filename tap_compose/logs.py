"""Everything written to stderr: no line has a line break, control character or token in it.

Names, ids and texts come from the API, or from another server in its place. A line break could
forge a line of the log, and an escape sequence could control the terminal. All lines pass through
here: those of all loggers, and the tables on a terminal.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from copy import copy
from textwrap import indent
from typing import TYPE_CHECKING

from typing_extensions import override

from tap_compose.masking import without_token

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST_LINE = 10_000
_SHORTEST_TOKEN = 8
"""Characters: a shorter text is not a token, and may be part of any line."""

_tokens: set[str] = set()


def hide(token: object) -> None:
    """Keep a token out of everything that goes to stderr from now on.

    Args:
        token: The setting, which may be anything.
    """
    text = str(token).strip()
    if token is not None and len(text) >= _SHORTEST_TOKEN:
        _tokens.add(text)


def clean(text: str) -> str:
    """Return a text that is safe in a line of the log or of a terminal.

    Args:
        text: Any text.

    Returns:
        The text without the token, with line breaks and control characters escaped; cut after
        10,000 characters.
    """
    text = _without_tokens(text)
    if len(text) > _LONGEST_LINE:
        text = f"{text[:_LONGEST_LINE]}…"
    return _escaped(text)


def print_lines(lines: Iterable[str]) -> None:
    """Write lines to stderr, if it is open.

    Args:
        lines: The lines, with any characters.
    """
    with suppress(OSError):
        sys.stderr.write("".join(f"{clean(line)}\n" for line in lines))


def protect_handlers() -> None:
    """Make every existing handler write clean lines, for all loggers."""
    loggers = [logging.getLogger(), *logging.getLogger().manager.loggerDict.values()]
    handlers = {
        handler
        for logger in loggers
        if isinstance(logger, logging.Logger)
        for handler in logger.handlers
    }
    for handler in handlers:
        handler.setFormatter(CleanFormatter(handler.formatter or logging.Formatter()))


class CleanFormatter(logging.Formatter):
    """Formats records as another formatter does, but clean.

    The lines of a traceback contain the texts of exceptions. They are indented, so that none can
    look like a line of the log.

    Args:
        inner: The other formatter.
    """

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    @override
    def format(self, record: logging.LogRecord) -> str:
        shown = copy(record)  # other handlers have the same record
        message = record.getMessage()
        if (line := clean(message)) != message:
            shown.msg, shown.args = line, ()
        if record.name.startswith("urllib3"):  # its message has the reason
            shown.exc_info = shown.exc_text = None
        elif record.exc_info:
            lines = self._inner.formatException(record.exc_info).split("\n")
            shown.exc_text = indent("\n".join(map(_escaped, lines)), "  ", _any_line)
        return _without_tokens(self._inner.format(shown))


def _any_line(_line: str) -> bool:
    return True


def _without_tokens(text: str) -> str:
    for token in _tokens:
        text = without_token(text, token)
    return text


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
