"""Mask secrets in texts from outside.

A secret is found by its place: below a key with a name like "password", after such a name or an
option of a command, or in a URL before the host. The token is masked everywhere.
"""

from __future__ import annotations

import json
import re
from itertools import takewhile
from operator import eq
from typing import Any
from urllib.parse import quote

import msgspec

MASK = "***"

_LONGEST_EXCERPT = 200
_SHORTEST_PART = 12
"""So many first characters of the token are masked too, in case the rest was cut off."""

_LONGEST_PASSWORD = 256
"""Characters between ``://`` and ``@`` if there are blanks among them."""

_NAME = (
    r"(?:pass(?:word|wd|phrase|code)|(?<![a-z])(?:pass|pwd|pw|auth)(?![a-z])|secret|token"
    r"|(?:api|access|private|encryption|ssh)[ _-]?key|authori[sz]ation|credential)"
)
_KEY = re.compile(_NAME, re.IGNORECASE)
_CAMEL_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_ASSIGNED = re.compile(
    rf"(?P<key>{_NAME})[\w-]{{0,30}}(?P<quote>\\*[\"'])?\s{{0,20}}(?:=>|[=:>])\s{{0,20}}",
    re.IGNORECASE,
)
_OPTION = re.compile(
    rf"(?<![\w-])(?:--?[\w-]{{0,30}}?{_NAME}[\w-]{{0,30}}|-[ap])(?:\s{{0,20}}=\s{{0,20}}|\s{{1,20}})"
    r"|(?<![\w-])-p(?=[^\s=])"
    r"|(?<![\w-])(?:-u|--user)(?:\s{0,20}=\s{0,20}|\s{1,20})(?=[^\s:]{1,100}:\S)",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"\b(?:bearer|basic|digest)\s{1,20}", re.IGNORECASE)
_PEM = re.compile(
    r"-----BEGIN [^-\n]{0,40}PRIVATE KEY-----.*?(?:-----END[^-\n]{0,40}-----|\Z)", re.DOTALL
)
_USER = re.compile(r"[^\s:/@?#\[]*:(?!\d{0,5}(?:[/?#\s\"',;)}\]]|$))")
"""A user with a password, not a host with a port, where there may be blanks before the ``@``."""

_QUOTED = {
    '"': re.compile(r'"(?:[^"\\]|\\.?)*(?:"|\Z)', re.DOTALL),
    "'": re.compile(r"'(?:[^'\\]|\\.?)*(?:'|\Z)", re.DOTALL),
}
_ESCAPED_QUOTE = re.compile(r"\\+[\"']")
_WORD = re.compile(r"\S*")
_NUMBER_OR_NAME = re.compile(r"[^\s,}\]]*")
_LINE = re.compile(r"[^\r\n]*")
_json_value = json.JSONDecoder().raw_decode


def masked(text: str, token: str = "") -> str:
    """Mask what looks like a secret in a text, and shorten it to one line.

    Args:
        text: Any text from outside, JSON or not.
        token: The bearer token, masked everywhere.

    Returns:
        At most 200 characters without line breaks, tokens, passwords or credentials in URLs.
    """
    try:
        shown = msgspec.json.encode(masked_json(msgspec.json.decode(text), token)).decode()
    except (ValueError, RecursionError):
        shown = masked_text(text, token)
    return one_line(shown)


def masked_json(value: Any, token: str = "") -> Any:
    """Mask secrets in a JSON value.

    Args:
        value: The value.
        token: The bearer token.

    Returns:
        A copy in which everything below a key with a name like "password" is masked, at any
        depth, and ``masked_text`` has masked every text.
    """
    if isinstance(value, str):
        return masked_text(value, token)
    if isinstance(value, list):
        return [masked_json(each, token) for each in value]
    if isinstance(value, dict):
        return {
            masked_text(name, token): MASK if is_secret(name) else masked_json(each, token)
            for name, each in value.items()
        }
    return value


def is_secret(name: str) -> bool:
    """Return whether a name is that of a secret.

    Args:
        name: The key of a JSON object, or a similar name.
    """
    return _KEY.search(_CAMEL_CASE.sub("_", name)) is not None


def masked_text(text: str, token: str = "") -> str:
    """Mask secrets in a text.

    Args:
        text: The text: a message, a command, a URL, JSON that was cut off.
        token: The bearer token.
    """
    text = _PEM.sub(MASK, without_token(text, token))
    text = _without_credentials(text)
    text = _masked_after(_SCHEME, text)
    text = _masked_after(_OPTION, text)
    return _masked_after(_ASSIGNED, text)


def without_token(text: str, token: str) -> str:
    """Mask a token, percent-encoded or not, and any part of it from its start.

    Args:
        text: The text.
        token: The token; nothing is masked if it is empty.
    """
    for form in {token, quote(token, safe="")} if token else ():
        first, *rest = text.replace(form, MASK).split(form[:_SHORTEST_PART])
        following = form[_SHORTEST_PART:]
        text = MASK.join([first, *(each[_length_in_common(each, following) :] for each in rest)])
    return text


def one_line(text: str, longest: int = _LONGEST_EXCERPT) -> str:
    """Shorten a text to one line.

    Args:
        text: The text, already without secrets.
        longest: Characters.
    """
    start = text[: 4 * longest]
    line = " ".join("".join(c if c.isprintable() else " " for c in start).split())
    return line if len(line) <= longest and start == text else f"{line[:longest]}…"


def _length_in_common(text: str, other: str) -> int:
    return sum(takewhile(bool, map(eq, text, other)))


def _without_credentials(text: str) -> str:
    """Mask the text between ``://`` and the ``@`` before a host."""
    first, *rest = text.split("://")
    return "://".join([first, *map(_without_userinfo, rest)])


def _without_userinfo(rest: str) -> str:
    word = re.split(r"\s", rest, maxsplit=1)[0]
    has_password = _USER.match(rest) is not None
    at = rest.rfind("@", 0, _LONGEST_PASSWORD if has_password else len(word))
    at = max(at, word.rfind("@"))
    if at >= 0:
        return MASK + rest[at:]
    return MASK + rest[len(word) :] if has_password else rest


def _masked_after(pattern: re.Pattern[str], text: str) -> str:
    """Mask the value after each match of a pattern."""
    parts: list[str] = []
    at = 0
    while found := pattern.search(text, at):
        parts += [text[at : found.end()], MASK]
        at = _end_of_value(text, found)
    return "".join([*parts, text[at:]]) if parts else text


def _end_of_value(text: str, found: re.Match[str]) -> int:
    groups = found.groupdict()
    at = found.end()
    begin = text[at : at + 1]
    if begin == "\\":  # JSON within a text of JSON
        mark = _ESCAPED_QUOTE.match(text, at)
        if mark:
            end = text.find(mark[0], at + len(mark[0]))
            return len(text) if end < 0 else end + len(mark[0])
    if begin in {"[", "{"}:
        try:
            return _json_value(text, at)[1]
        except (ValueError, RecursionError):
            return len(text)
    pattern = _QUOTED.get(begin)
    if pattern is None and (groups.get("key") or "").lower().startswith("authori"):
        pattern = _LINE
    if pattern is None:
        pattern = _NUMBER_OR_NAME if groups.get("quote") else _WORD
    value = pattern.match(text, at)
    return value.end() if value else at
