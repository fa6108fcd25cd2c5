"""Everything written to stderr: no line has a line break, control character or secret in it.

Names, ids and texts come from the API, or from another server in its place. A line break could
forge a line of the log, and an escape sequence could control the terminal. All lines pass through
here: those of all loggers, and the tables on a terminal.
"""

from __future__ import annotations

import logging
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

_MASK = "***"
_LONGEST_LINE = 10_000
"""Characters: a response that is quoted may be megabytes long."""

_SHORTEST_TOKEN = 8
"""Characters: a shorter text is not a token, and may be part of any line."""

_is_secret = re.compile(
    r"pass(?:word|wd|phrase|code)|(?<![a-z])(?:pass|pwd|pw|auth)(?![a-z])|secret|token|credential"
    r"|authori[sz]ation|(?:api|access|private|encryption|ssh)[ _-]?key",
    re.IGNORECASE,
).search
"""Finds the names whose values are masked, in JSON and in queries of URLs."""

_URL = re.compile(r"://\S*")

_tokens: set[str] = set()


def mask_always(token: object) -> None:
    """Mask a token in everything from now on.

    Args:
        token: The setting, which may be anything.
    """
    text = str(token).strip()
    if len(text) >= _SHORTEST_TOKEN:
        _tokens.update({text, quote(text, safe="")})


def mask(value: Any) -> Any:
    """Mask secrets in a text or another JSON value.

    Args:
        value: A text, JSON in a text, or the value of it.

    Returns:
        A copy without the token and without user and password in URLs; in JSON, at any depth, all
        values below a key with a name like "password" are masked.
    """
    if isinstance(value, dict):
        return {mask(name): _MASK if _is_secret(name) else mask(value[name]) for name in value}
    if isinstance(value, list):
        return [mask(each) for each in value]
    if not isinstance(value, str):
        return value
    if value.startswith(("{", "[")):
        with suppress(ValueError, RecursionError):
            return msgspec.json.encode(mask(msgspec.json.decode(value))).decode()
    for token in _tokens:
        value = value.replace(token, _MASK)
    return _URL.sub(_without_credentials, value)


def _without_credentials(url: re.Match[str]) -> str:
    _, at, host = url[0].rpartition("@")
    return f"://{_MASK}@{host}" if at else url[0]


def escape(text: str, longest: int = _LONGEST_LINE) -> str:
    """Return a text that is safe in one line of the log or of a terminal.

    Args:
        text: Any text, already masked.
        longest: Characters after which it is cut.

    Returns:
        The text with line breaks and control characters escaped.
    """
    text = text if len(text) <= longest else f"{text[:longest]}…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def print_lines(lines: Iterable[str]) -> None:
    """Write lines to stderr, if it is open.

    Args:
        lines: The lines, with any characters.
    """
    with suppress(OSError):
        sys.stderr.write("".join(f"{escape(mask(line))}\n" for line in lines))


def safe_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    """Make a record of any logger, masked and escaped: see ``logging.setLogRecordFactory``.

    The lines of a traceback contain the texts of exceptions. They are indented, so that none can
    look like a line of the log.
    """
    record = logging.LogRecord(*args, **kwargs)
    message = record.getMessage()
    line = escape(mask(message))
    if record.exc_info and not record.name.startswith("urllib3"):  # its message has the reason
        trace = mask(logging.Formatter().formatException(record.exc_info))
        line = "\n  ".join([line, *map(escape, trace.split("\n"))])
    record.exc_info = None
    if line != message:  # a metric of the SDK has to stay what it is
        record.msg, record.args = line, ()
    return record
