"""Convert values of the API to the types of their columns.

A value that does not fit its column becomes null with a warning. No row can break the
SCHEMA of its stream.
"""

from __future__ import annotations

import decimal
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from tap_compose.api import hal
from tap_compose.times import canonical_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_compose.rows.field_warnings import FieldWarnings

Converter: TypeAlias = "Callable[[Any], Any]"
"""From a value that is not None to one that fits a schema; raises ``UnfitError``."""

NOT_FIELDS = frozenset({"_links", "_embedded", "_id"})
"""Members of the API's objects that are not fields.

``_id`` may stand for ``id`` in any object, but is taken only where ``aliases`` name it
(docs/compose-api.md, Backups).
"""

LONE_VALUE = "_value"
"""The member of a free-form object with the value that the API returned instead of an object."""

NOT_FINITE = "a number that is not finite"
OUT_OF_RANGE = "a number out of range"

double = decimal.Context(
    prec=decimal.MAX_PREC,
    Emin=-307,
    Emax=307,
    traps=[InvalidOperation, decimal.Overflow, decimal.Subnormal, decimal.Clamped],
).create_decimal
"""Reads a number exactly; raises ``ArithmeticError`` unless it surely fits a double."""

_encode = msgspec.json.Encoder(decimal_format="number").encode
_LARGEST = Decimal("1.7976931348623157E+308")
"""A larger number is infinite for every reader that reads JSON numbers as doubles."""
_SMALLEST = Decimal("4.9E-324")
"""A smaller one is zero for them, and has too many digits for the number types of databases."""


class UnfitError(Exception):
    """A value that does not fit its column; the message describes it."""


def converter(schema: dict[str, Any], path: str, warnings: FieldWarnings) -> Converter:
    """Return a function that converts values to a JSON Schema.

    Args:
        schema: The schema of a column or of a part of one.
        path: The column or part, such as ``users[].name``.
        warnings: Logs what does not fit within an object or a list.

    Returns:
        The converter.
    """
    types = schema["type"]
    if "array" in types:
        return _array_of(schema["items"], f"{path}[]", warnings)
    if "object" in types:
        if not schema.get("properties"):
            return _free_form(path, warnings)
        return _object_of(schema["properties"], path, warnings)
    if schema.get("format") == "date-time":
        return _time
    return next(_SCALARS[name] for name in _SCALARS if name in types)


def text_of(value: Any) -> str:
    """Return a value as text; raises ``UnfitError`` for a number that JSON cannot hold."""
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal) and not value.is_finite():
        raise UnfitError(NOT_FINITE)
    if isinstance(value, (dict, list)) and any(_unfit_numbers(value, "")):
        raise UnfitError(OUT_OF_RANGE)
    return _encode(value).decode()


def _time(value: Any) -> str:
    if isinstance(value, str):
        try:
            return canonical_time(value)
        except ValueError:
            pass
    raise UnfitError("a value that is not a time")


def _number(value: Any) -> int | Decimal:
    if type(value) is int and _fits_64_bits(value):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, Decimal, str)):
        raise UnfitError("a value that is not a number")
    try:
        number = hal.exact_number(value.strip() if isinstance(value, str) else value)
    except InvalidOperation:
        raise UnfitError("a value that is not a number") from None
    problem = _problem_of(number)
    if problem:
        raise UnfitError(problem)
    return number


def _integer(value: Any) -> int:
    number = _number(value)
    if number != int(number) or not _fits_64_bits(number):
        raise UnfitError("a value that is not an integer of 64 bits")
    return int(number)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = _BOOLEANS.get(text_of(value).lower())
    if known is None:
        raise UnfitError("a value that is not true or false")
    return known


def _free_form(path: str, warnings: FieldWarnings) -> Converter:
    def free_form(value: Any) -> dict[str, Any]:
        content = value if isinstance(value, dict) else {LONE_VALUE: value}
        for holder, place, where, problem in _unfit_numbers(content, path):
            holder[place] = None
            warnings.null(where, problem)
        return content

    return free_form


def _array_of(items: dict[str, Any], path: str, warnings: FieldWarnings) -> Converter:
    convert = converter(items, path, warnings)
    # Single strings and objects in old responses (docs/compose-api.md, Deployment details).
    lone = (str,) if "string" in items["type"] else () if items.get("properties") else (dict,)

    def array(value: Any) -> list[Any]:
        if isinstance(value, lone):
            value = [value] if value else []
        if not isinstance(value, list):
            raise UnfitError("a value that is not a list")
        entries = []
        for entry in value:
            if entry is not None:
                try:
                    entries.append(convert(entry))
                except UnfitError as error:
                    warnings.null(path, str(error))
        return entries

    return array


def _object_of(members: dict[str, Any], path: str, warnings: FieldWarnings) -> Converter:
    converters = {
        name: converter(schema, f"{path}.{name}", warnings) for name, schema in members.items()
    }
    known = NOT_FIELDS | members.keys()

    def row(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise UnfitError("a value that is not an object")
        warn_of_unknown(value, known, warnings, f"{path}.")
        found: dict[str, Any] = {}
        for name, convert in converters.items():
            member = value.get(name)
            try:
                found[name] = None if member is None else convert(member)
            except UnfitError as error:
                found[name] = None
                warnings.null(f"{path}.{name}", str(error))
        return found

    return row


def warn_of_unknown(
    item: dict[str, Any], known: frozenset[str], warnings: FieldWarnings, prefix: str = ""
) -> None:
    """Warn of the members of an object that no column has.

    Args:
        item: The object.
        known: The names of the documented members.
        warnings: Logs the others.
        prefix: Prefix of their names in the log.
    """
    if item.keys() <= known:
        return
    for name in item:
        if name not in known:
            warnings.unknown(f"{prefix}{name}")


def _unfit_numbers(
    value: dict[str, Any] | list[Any], path: str
) -> Iterator[tuple[Any, Any, str, str]]:
    """Find the numbers in a value, at any depth, that a JSON reader might not read.

    Yields:
        The object or list with such a number, its place there, its path, and what is wrong.
    """
    pending = [(path, value)]
    while pending:
        path, holder = pending.pop()
        is_list = isinstance(holder, list)
        for place, each in enumerate(holder) if isinstance(holder, list) else holder.items():
            if isinstance(each, (dict, list)):
                pending.append((f"{path}[]" if is_list else f"{path}.{place}", each))
            elif isinstance(each, Decimal) and (problem := _problem_of(each)):
                yield holder, place, f"{path}[]" if is_list else f"{path}.{place}", problem


def _problem_of(number: Decimal) -> str:
    """Return why a number cannot be written; empty if it can."""
    try:
        double(number)
    except ArithmeticError:
        if not number.is_finite():
            return NOT_FINITE
        # copy_abs and comparisons are exact at any size, abs is not
        return "" if _SMALLEST <= number.copy_abs() <= _LARGEST else OUT_OF_RANGE
    return "" if number.is_finite() else NOT_FINITE


def _fits_64_bits(number: int | Decimal) -> bool:
    return -(1 << 63) <= number < 1 << 63


_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}

_SCALARS: dict[str, Converter] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "string": text_of,
}
