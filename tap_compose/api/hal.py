"""Bodies of the Compose API: JSON with HAL envelopes (docs/compose-api.md, Conventions)."""

from __future__ import annotations

import json
import re
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, InvalidOperation
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from tap_compose.api.errors import UnreadableBodyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

exact_number = Context(
    prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[InvalidOperation]
).create_decimal
"""Reads a number without rounding it, however long or large it is; beyond 10 to the power of
``MAX_EMAX`` it is infinite."""

_MOST_DIGITS = 19
"""Longer numbers than those of 64 bits are ``Decimal``, as msgspec has it."""

_NULL_REPLACED = "U+0000 becomes U+FFFD"
_ESCAPED = "a text is not valid Unicode, and is escaped"

_has_null = re.compile(rb"\\u0000").search

_decode = msgspec.json.Decoder(float_hook=exact_number).decode
_skip = msgspec.json.Decoder(msgspec.Raw).decode


def url_path(template: str, *values: str) -> str:
    """Fill values into a path.

    Args:
        template: A path with ``{}`` for each value, such as ``/deployments/{}/alerts``.
        values: The values, unescaped.

    Returns:
        The path with every value percent-encoded, slashes included.
    """
    return template.format(*(quote(value, safe="") for value in values))


def decode(body: bytes, warn: Callable[[str, str], None] = lambda _name, _change: None) -> Any:
    """Read a JSON body without rounding a number, and with texts that every target can store.

    Args:
        body: The bytes of a response.
        warn: Called with the name of a member whose text is changed, and how, in words.

    Returns:
        The value; fractions and very long numbers are ``Decimal``. What Python's own JSON reader
        accepts is accepted: NaN, Infinity, a byte order mark, UTF-16, bytes that are not UTF-8
        and halves of surrogate pairs. Different texts stay different.

    Raises:
        UnreadableBodyError: If it is not JSON.
    """
    try:
        content = _decode(body)
        if b"\\" not in body or not _has_null(body):  # a pattern alone takes longer
            return content
    except (ValueError, RecursionError):
        content = _decode_leniently(body)
    return _storable(content, "", warn)


def require_json(body: bytes) -> bytes:
    """Return a body that is JSON, checked in a seventh of the time that ``decode`` takes.

    Args:
        body: The bytes of a response.

    Raises:
        UnreadableBodyError: If it is not JSON.
    """
    try:
        _skip(body)
    except (msgspec.DecodeError, RecursionError):
        decode(body)  # forgives more
    return body


def embedded(body: Any, *names: str, bare: bool = False) -> list[Any]:
    """Return the list of ``{"_embedded": {"<name>": [ … ]}}``.

    Args:
        body: A decoded body.
        names: The names that the list may have, the usual one first.
        bare: Whether ``{"<name>": [ … ]}`` without ``_embedded`` is known too.

    Returns:
        The list; empty only if the envelope holds an empty list.

    Raises:
        UnreadableBodyError: If there is no such list.
    """
    found = parts(body, names)
    if found is None and bare:
        found = parts({"_embedded": body}, names)
    if found is None:
        raise UnreadableBodyError(f"a body without a list of {names[0]}")
    return found


def parts(item: Any, names: Iterable[str]) -> list[Any] | None:
    """Return the list of an object's own ``_embedded``.

    Args:
        item: An object of the API, or anything else.
        names: The names that the list may have.

    Returns:
        The list, or None if there is none.
    """
    nested = item.get("_embedded") if isinstance(item, dict) else None
    if isinstance(nested, dict):
        for name in names:
            if isinstance(found := nested.get(name), list):
                return found
    return None


def link(item: dict[str, Any], name: str) -> str | None:
    """Return a link of ``_links`` without its template marker.

    Args:
        item: An object of the API.
        name: The link's name.

    Returns:
        The URL without ``{?embed}``, or None if there is no such link.
    """
    links = item.get("_links")
    target = links.get(name) if isinstance(links, dict) else None
    address = target.get("href") if isinstance(target, dict) else None
    return address.split("{", 1)[0] if isinstance(address, str) else None


def _decode_leniently(body: bytes) -> Any:
    try:
        return json.loads(
            body.decode(json.detect_encoding(body), "surrogateescape"),
            parse_float=exact_number,
            parse_int=_integer,
            parse_constant=exact_number,
        )
    except (ValueError, RecursionError):
        what = "an empty body" if not body.strip() else "a body that is not JSON"
        raise UnreadableBodyError(what) from None


def _integer(text: str) -> Any:
    return int(text) if len(text) <= _MOST_DIGITS else exact_number(text)


def _storable(value: Any, name: str, warn: Callable[[str, str], None]) -> Any:
    if isinstance(value, list):
        return [_storable(each, name, warn) for each in value]
    if isinstance(value, dict):
        clean = {key: _storable(key, "", warn) for key in value}
        return {clean[key]: _storable(each, clean[key], warn) for key, each in value.items()}
    if not isinstance(value, str):
        return value
    # PostgreSQL stores any character but U+0000
    text = value.replace("\0", "\ufffd").encode("utf-8", "backslashreplace").decode()
    if text != value:
        warn(name or text, _NULL_REPLACED if "\0" in value else _ESCAPED)
    return text
