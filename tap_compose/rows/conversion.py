"""Values: what a column's schema makes of a value of the API.

A value that does not fit its column becomes null with a warning. No value can make a row that
its own SCHEMA would refuse.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from tap_compose.times import canonical_time

if TYPE_CHECKING:
    from collections.abc import Callable

Converter: TypeAlias = "Callable[[Any, list[str]], Any]"
"""From a value that is not None to one that fits a schema. A value that cannot be made to fit
becomes None, and what it was is added to the list."""

_encode = msgspec.json.Encoder(decimal_format="number").encode
_LARGEST = Decimal("1.7976931348623157E+308")
"""A larger number is infinite for every reader that takes JSON numbers for doubles."""


def converter(schema: dict[str, Any]) -> Converter:
    """Return what makes values fit a JSON Schema.

    Args:
        schema: The schema of a column or of a part of one.

    Returns:
        The converter.
    """
    types = schema["type"]
    if "array" in types:
        return _array_of(converter(schema["items"]), of_text="string" in schema["items"]["type"])
    if "object" in types:
        if "properties" not in schema:
            return _free_form
        return _object_of({name: converter(each) for name, each in schema["properties"].items()})
    if schema.get("format") == "date-time":
        return _time
    return next(_SCALARS[name] for name in _SCALARS if name in types)


def _text(value: Any, _problems: list[str]) -> str:
    return value if isinstance(value, str) else _encode(value).decode()


def _time(value: Any, problems: list[str]) -> str | None:
    if isinstance(value, str):
        try:
            return canonical_time(value)
        except ValueError:
            pass
    problems.append("what is no time")
    return None


def _number(value: Any, problems: list[str]) -> int | Decimal | None:
    if type(value) is int and _fits_64_bits(value):
        return value
    number = None
    if isinstance(value, (int, Decimal, str)) and not isinstance(value, bool):
        with suppress(InvalidOperation):
            number = Decimal(value.strip() if isinstance(value, str) else value)
    if number is None:
        problems.append("what is no number")
    elif not number.is_finite() or abs(number) > _LARGEST:
        problems.append("a number that is not finite")
        number = None
    return number


def _integer(value: Any, problems: list[str]) -> int | None:
    number = _number(value, problems)
    if number is None:
        return None
    if number != int(number) or not _fits_64_bits(number):
        problems.append("what is no whole number of 64 bits")
        return None
    return int(number)


def _boolean(value: Any, problems: list[str]) -> bool | None:
    if isinstance(value, bool):
        return value
    known = _BOOLEANS.get(_text(value, problems).lower())
    if known is None:
        problems.append("what is neither true nor false")
    return known


def _free_form(value: Any, problems: list[str]) -> dict[str, Any] | None:
    if isinstance(value, dict):
        return value
    problems.append("what is no object")
    return None


def _array_of(convert: Converter, *, of_text: bool) -> Converter:
    def array(value: Any, problems: list[str]) -> list[Any] | None:
        if of_text and isinstance(value, str):  # a single string in old responses
            return [value]
        if not isinstance(value, list):
            problems.append("what is no list")
            return None
        entries = (convert(entry, problems) for entry in value if entry is not None)
        return [entry for entry in entries if entry is not None]

    return array


def _object_of(columns: dict[str, Converter]) -> Converter:
    def row(value: Any, problems: list[str]) -> dict[str, Any] | None:
        if not isinstance(value, dict):
            problems.append("what is no object")
            return None
        return {
            name: None if value.get(name) is None else convert(value[name], problems)
            for name, convert in columns.items()
        }

    return row


def _fits_64_bits(number: int | Decimal) -> bool:
    return -(1 << 63) <= number < 1 << 63


_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}

_SCALARS: dict[str, Converter] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "string": _text,
}
