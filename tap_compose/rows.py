"""Rows: what a stream's schema makes of an object of the API (design, section 2).

A row has every column of its stream, null where the API says nothing. A value that does not
fit its column becomes null with a warning; a field that nobody documented is reported. Nothing
is dropped without a word, and no value can make a row that its own SCHEMA would refuse.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from tap_compose.times import canonical_time

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping, Sequence

Row: TypeAlias = dict[str, Any]
Converter: TypeAlias = "Callable[[Any, list[str]], Any]"
"""From a value that is not None to one that fits a schema; a value that cannot be made to fit
becomes None, and a word on what it was is added to the list."""

_NOT_FIELDS = frozenset({"_links", "_embedded", "_id"})
_encode = msgspec.json.Encoder(decimal_format="number").encode
_LARGEST = Decimal("1.7976931348623157E+308")
"""A larger number is infinite for every reader that takes JSON numbers for doubles."""


class MissingKeyError(ValueError):
    """An object without the id that its row would be known by."""


class RowMaker:
    """Makes rows of one stream.

    Args:
        schema: The stream's JSON Schema.
        keys: The stream's key properties.
        also: Other names under which the API writes a field, by column.
        logger: Says what did not fit, once for each field.
    """

    def __init__(
        self,
        schema: dict[str, Any],
        keys: Sequence[str],
        *,
        also: Mapping[str, Sequence[str]],
        logger: logging.Logger | logging.LoggerAdapter[Any],
    ) -> None:
        self._columns = [
            (name, converter(column), also.get(name, ()))
            for name, column in schema["properties"].items()
        ]
        self._keys = keys
        self._known = _NOT_FIELDS.union(schema["properties"], *also.values())
        self._logger = logger
        self._said: set[tuple[str, str]] = set()

    def row(self, item: Any, given: Mapping[str, Any]) -> Row:
        """Make a row.

        Args:
            item: An object of the API.
            given: Columns that the body lacks or that the tap knows better.

        Returns:
            The row, every column present.

        Raises:
            MissingKeyError: If the item has no id.
        """
        if not isinstance(item, dict):
            raise MissingKeyError("an entry that is no object")
        for name in item.keys() - self._known:
            self._say_once(name, "is not documented and not replicated")
        row: Row = {}
        problems: list[str] = []
        for name, convert, others in self._columns:
            value = given[name] if name in given else item.get(name)
            if value is None:
                value = next((item[other] for other in others if item.get(other) is not None), None)
            row[name] = None if value is None else convert(value, problems)
            if problems:
                self._say_once(name, f"holds {problems[0]}, taken as null")
                problems.clear()
        self._complete_key(row)
        return row

    def _complete_key(self, row: Row) -> None:
        for name in self._keys:
            if row[name] is None:
                if name == "id" or len(self._keys) == 1:
                    raise MissingKeyError(f"a row without its {name}")
                row[name] = ""
            elif row[name] == "" and name == "id":
                raise MissingKeyError(f"a row without its {name}")

    def _say_once(self, name: str, what: str) -> None:
        if (name, what) not in self._said:
            self._said.add((name, what))
            self._logger.warning("field %s %s", name, what)


def converter(schema: dict[str, Any]) -> Converter:
    """Choose how values become what a JSON Schema wants.

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
        if of_text and isinstance(value, str):  # a single string on old answers
            return [value]
        if not isinstance(value, list):
            problems.append("what is no list")
            return None
        entries = (convert(entry, problems) for entry in value if entry is not None)
        return [entry for entry in entries if entry is not None]

    return array


def _object_of(columns: dict[str, Converter]) -> Converter:
    def row(value: Any, problems: list[str]) -> Row | None:
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
