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
    from collections.abc import Iterable

exact_number = Context(
    prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[InvalidOperation]
).create_decimal
"""Reads a number without rounding it, however long or large it is; beyond 10 to the power of
``MAX_EMAX`` it is infinite."""

_MOST_DIGITS = 4300
"""Python converts no longer number to ``int``, because that takes quadratic time."""

_is_odd_escape = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])").search

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


def decode(body: bytes) -> Any:
    """Read a JSON body without rounding a number.

    Args:
        body: The bytes of a response.

    Returns:
        The value; fractions and very long numbers are ``Decimal``. What Python's own JSON reader
        accepts is accepted: NaN, Infinity, a byte order mark, UTF-16. Bytes that are not UTF-8
        and halves of surrogate pairs become surrogates (see ``storable``).

    Raises:
        UnreadableBodyError: If it is not JSON.
    """
    try:
        return _decode(body)
    except (ValueError, RecursionError):
        pass
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


def has_odd_texts(body: bytes) -> bool:
    """Return whether a body may have texts that ``storable`` changes; cheap if it has none.

    Args:
        body: The bytes of a response.
    """
    if b"\\u" in body and _is_odd_escape(body):
        return True
    try:
        return not (body.isascii() or body.decode())
    except UnicodeDecodeError:
        return True


def storable(value: Any, changes: set[str]) -> Any:
    """Return a value whose texts every target can store; different texts stay different.

    Args:
        value: A value of a body.
        changes: What was changed is added to it, in words.
    """
    if isinstance(value, list):
        return [storable(each, changes) for each in value]
    if isinstance(value, dict):
        return {storable(key, changes): storable(each, changes) for key, each in value.items()}
    if not isinstance(value, str):
        return value
    if "\0" in value:  # PostgreSQL stores any character but this one
        changes.add("U+0000 becomes U+FFFD")
        value = value.replace("\0", "\ufffd")
    text = value.encode("utf-8", "backslashreplace").decode()
    if text != value:
        changes.add("a text is not valid Unicode, and is escaped")
    return text


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
    members = map(nested.get, names) if isinstance(nested, dict) else ()
    return next((each for each in members if isinstance(each, list)), None)


def single(body: Any) -> dict[str, Any]:
    """Return a body that is one bare object.

    Args:
        body: A decoded body.

    Returns:
        The object.

    Raises:
        UnreadableBodyError: If it is something else, or empty.
    """
    if isinstance(body, dict) and body:
        return body
    raise UnreadableBodyError("a body that is not an object")


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


def _integer(text: str) -> Any:
    return int(text) if len(text) <= _MOST_DIGITS else exact_number(text)
