"""Read a body into rows: one reader for every stream.

A row has every column of its stream, null if the API has no value. A value that does not fit its
column becomes null with a warning, and an undocumented field is reported. Nothing is dropped
silently, and no row can break the SCHEMA of its stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import msgspec

from tap_compose.api import hal
from tap_compose.api.errors import UnreadableBodyError
from tap_compose.logs import escape, mask
from tap_compose.times import canonical_time

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping, Sequence

Row: TypeAlias = "dict[str, Any]"

Converter: TypeAlias = "Callable[[Any], Any]"
"""From a value that is not None to one that fits its column; raises ``ValueError`` with what the
value is."""

NOT_FIELDS = frozenset({"_links", "_embedded", "_id"})
"""Members of the API's objects that are not fields; ``_id`` may stand for ``id``."""

LONE_VALUE = "_value"
"""The member of a free-form object with the value that the API returned instead of an object."""

MOST_NAMED = 20
"""Fields of a stream that are named in warnings of a kind."""

_NOT_AN_OBJECT = "an entry that is not an object"

_LARGEST = Decimal("1.7976931348623157E+308")
"""A larger number is infinite for every reader that reads JSON numbers as doubles."""

_EXPONENTS = range(-323, 309)
"""Of the numbers that a double can hold; zero has an exponent too, which a database has to read."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


class UnfitError(ValueError):
    """A value that does not fit its column; the message describes it."""


@dataclass
class RowBatch:
    """The rows of one response.

    Attributes:
        rows: The rows, in the order of the response.
        entries: How many entries the response has, rows or not.
        dropped: For each entry that is not a row, why not.
    """

    rows: list[Row]
    entries: int
    dropped: list[str]


class Report:
    """How a report is laid out in a body and in rows, and the reader of its bodies.

    Attributes:
        schema: The JSON Schema of a row.
        primary_keys: The key columns.
        envelope: The names of the list in ``_embedded``, the usual one first; empty if the
            body is one bare object. A stream has the end of its path by default.
        envelope_optional: Whether the list may stand outside ``_embedded`` too.
        extracted: Columns that are read from elsewhere in the object, such as from another name of
            the field, if the field is absent or empty.
        derived: Columns that are computed from the other columns of the row.
        id_column: The column with an id of the URL, if it has one; the body need not have it.
        parent_column: The column with the id of the object that an object is a part of, if
            objects contain others of the same kind.
    """

    schema: ClassVar[dict[str, Any]]
    primary_keys: Any  # a tuple of str; the SDK makes it a property
    envelope: ClassVar[tuple[str, ...]] = ()
    envelope_optional: ClassVar[bool] = False
    extracted: ClassVar[Mapping[str, Callable[[dict[str, Any]], Any]]] = {}
    derived: ClassVar[Mapping[str, Callable[[Row], Any]]] = {}
    id_column: ClassVar[str] = ""
    parent_column: ClassVar[str | None] = None
    logger: Any

    @classmethod
    def unwrap(cls, content: Any) -> list[Any]:
        """Return the objects of a decoded body that become rows.

        Args:
            content: The body.

        Returns:
            The objects.

        Raises:
            UnreadableBodyError: If the body is not what the endpoint promises.
        """
        if not cls.envelope:
            return [content]
        return hal.embedded(content, *cls.envelope, bare=cls.envelope_optional)

    def read(self, body: bytes, injected: Mapping[str, Any]) -> RowBatch:
        """Read a body.

        Args:
            body: The bytes of a response.
            injected: Columns whose value the tap sets, whatever the body has.

        Returns:
            The rows.

        Raises:
            UnreadableBodyError: If the body is not what the endpoint promises.
        """
        objects = self.unwrap(hal.decode(body, self._field_warnings.changed))
        entries, items = len(objects), [each for each in objects if isinstance(each, dict)]
        documented = {"_id", *self.schema["properties"]}
        if objects and all(map(documented.isdisjoint, items)):
            raise UnreadableBodyError("a body without any documented field")
        dropped = [_NOT_AN_OBJECT] * (entries - len(items))
        if self.id_column:
            items = _owned(items, self.id_column, injected[self.id_column], dropped)
        for item in items if injected else ():
            item.update(injected)
        del objects  # rows then take the memory of the objects before them, which is faster
        rows = self._rows_of(items, dropped)
        for name, derive in self.derived.items():
            for row in rows:
                row[name] = derive(row)
        return RowBatch(self._keyed(rows, dropped), entries, dropped)

    def _rows_of(self, items: list[dict[str, Any]], dropped: list[str]) -> list[Row]:
        """Read objects, and behind each its parts at any depth; the list is empty afterwards."""
        owner, parent, names = self.id_column, self.parent_column, self.envelope
        row_of, extracted, rows = self._row_of, self.extracted.items(), []
        items.reverse()
        while items:
            item = items.pop()
            if parent and (parts := hal.parts(item, names)):
                for part in reversed(parts):
                    if isinstance(part, dict):
                        part[parent] = part.get(parent) or item.get("id")
                        part[owner] = part.get(owner) or item.get(owner)
                        items.append(part)
                    else:
                        dropped.append(_NOT_AN_OBJECT)
            for name, extract in extracted:
                if item.get(name) in (None, ""):
                    item[name] = extract(item)
            rows.append(row_of(item))
        return rows

    def _keyed(self, rows: list[Row], dropped: list[str]) -> list[Row]:
        """Leave out rows without their id; a null in a key of several columns becomes empty."""
        keys = tuple(self.primary_keys)  # a property of the SDK
        for name in keys:
            if name == "id" or len(keys) == 1:
                whole = [row for row in rows if row[name]]
                dropped += [f"a row without its {name}"] * (len(rows) - len(whole))
                rows = whole
            else:
                for row in rows:
                    row[name] = row[name] or ""
        return rows

    @cached_property
    def _field_warnings(self) -> FieldWarnings:
        return FieldWarnings(self.logger)

    @cached_property
    def _row_of(self) -> Converter:
        return _object_of(self.schema["properties"], "", self._field_warnings)


class FieldWarnings:
    """Warns of fields that do not fit, once for each: the first 20 of a kind.

    Args:
        logger: The logger of the stream.
    """

    def __init__(self, logger: logging.Logger | logging.LoggerAdapter[Any]) -> None:
        self._logger = logger
        self._lines: dict[str, set[str]] = {}

    def unknown(self, path: str) -> None:
        """Warn of a field that no column has.

        Args:
            path: The field, such as ``users[].email``.
        """
        self._warn("undocumented fields are ignored", f"undocumented field {path} is ignored")

    def null(self, path: str, what: str) -> None:
        """Warn of a value that became null.

        Args:
            path: The field.
            what: What its value is, such as a number out of range.
        """
        self._warn("fields have values that become null", f"field {path}: {what} becomes null")

    def changed(self, name: str, change: str) -> None:
        """Warn of a text that was changed.

        Args:
            name: The member that holds it.
            change: How, in words.
        """
        self._warn("fields have texts that are changed", f"field {name}: {change}")

    def _warn(self, kind: str, line: str) -> None:
        lines = self._lines.setdefault(kind, set())
        if line in lines or len(lines) > MOST_NAMED:
            return
        lines.add(line)
        more = f"more {kind}: the first {MOST_NAMED} are named above"
        self._logger.warning("%s", line if len(lines) <= MOST_NAMED else more)


def unique_rows(rows: list[Row], keys: Sequence[str]) -> list[Row]:
    """Keep the first row per key.

    Args:
        rows: The rows.
        keys: Their key properties.

    Returns:
        The rows, in their order.
    """
    key_of = itemgetter(*keys)
    found: dict[Any, Row] = {}
    for row in rows:
        found.setdefault(key_of(row), row)
    return list(found.values())


def _converter(
    schema: dict[str, Any], path: str, warnings: FieldWarnings
) -> tuple[type | None, Converter]:
    """Return the type of the values that fit a JSON Schema, and a converter of others.

    Args:
        schema: The schema of a column or of a part of one.
        path: The column or part, such as ``users[].name``.
        warnings: Logs what does not fit within an object or a list.
    """
    types = schema["type"]
    if "array" in types:
        return None, _array_of(schema["items"], f"{path}[]", warnings)
    if schema.get("properties"):
        return None, _object_of(schema["properties"], f"{path}.", warnings)
    if "object" in types:
        return None, _free_form(path, warnings)
    if schema.get("format") == "date-time":
        return None, canonical_time
    return next(_SCALARS[name] for name in _SCALARS if name in types)


def text_of(value: Any) -> str:
    """Return a value as text; raises ``ValueError`` for a number that JSON cannot hold."""
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal) and not value.is_finite():
        raise UnfitError(_problem_of(value))
    return _encode(value).decode()


def _number(value: Any) -> Decimal:
    try:
        number = hal.exact_number(str(value).strip())
    except InvalidOperation:
        raise UnfitError("a value that is not a number") from None
    if problem := _problem_of(number):
        raise UnfitError(problem)
    return number


def _integer(value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise UnfitError("a value that is not an integer")
    return int(number)


def _boolean(_value: Any) -> bool:
    raise UnfitError("a value that is not true or false")


def _free_form(path: str, warnings: FieldWarnings) -> Converter:
    def free_form(value: Any) -> dict[str, Any]:
        content = value if isinstance(value, dict) else {LONE_VALUE: value}
        is_plain = _PLAIN.issuperset(map(type, content.values()))
        return content if is_plain else _readable(content, path, warnings)

    return free_form


def _array_of(items: dict[str, Any], path: str, warnings: FieldWarnings) -> Converter:
    _, convert = _converter(items, path, warnings)
    # Single strings and objects in old responses (docs/compose-api.md, Deployment details).
    lone = (str,) if "string" in items["type"] else () if items.get("properties") else (dict,)

    def array(value: Any) -> list[Any]:
        if isinstance(value, lone):
            value = [value] if value else []
        if not isinstance(value, list):
            raise UnfitError("a value that is not a list")
        found = []
        for each in value:
            if each is not None:
                try:
                    found.append(convert(each))
                except ValueError as error:
                    warnings.null(path, str(error))
        return found

    return array


def _object_of(members: dict[str, Any], prefix: str, warnings: FieldWarnings) -> Converter:
    """Return a converter to objects that have every member, in its order."""
    nulls: Row = dict.fromkeys(members)
    columns = [
        (name, *_converter(schema, f"{prefix}{name}", warnings)) for name, schema in members.items()
    ]

    def object_of(value: Any) -> Row:
        if not isinstance(value, dict):
            raise UnfitError("a value that is not an object")
        row = nulls | value
        while len(row) > len(nulls):
            name, _ = row.popitem()  # the last one
            if name not in NOT_FIELDS:
                warnings.unknown(f"{prefix}{name}")
        for name, kind, convert in columns:
            member = row[name]
            if type(member) is not kind and member is not None:
                try:
                    row[name] = convert(member)
                except ValueError as error:
                    row[name] = None
                    warnings.null(f"{prefix}{name}", str(error))
        return row

    return object_of


def _readable(value: Any, path: str, warnings: FieldWarnings) -> Any:
    """Return a value without the numbers, at any depth, that a JSON reader might not read."""
    if isinstance(value, dict):
        return {name: _readable(each, f"{path}.{name}", warnings) for name, each in value.items()}
    if isinstance(value, list):
        return [_readable(each, f"{path}[]", warnings) for each in value]
    if isinstance(value, Decimal) and (problem := _problem_of(value)):
        warnings.null(path, problem)
        return None
    return value


def _problem_of(number: Decimal) -> str:
    """Return why a number cannot be written; empty if it can."""
    if not number.is_finite():
        return "a number that is not finite"
    # copy_abs and comparisons are exact at any size, abs is not
    fits = number.adjusted() in _EXPONENTS and number.copy_abs() <= _LARGEST
    return "" if fits else "a number out of range"


_PLAIN = frozenset({str, int, bool, type(None)})
"""Values of a free-form column in which no number has to be checked."""

_SCALARS: dict[str, tuple[type, Converter]] = {
    "integer": (int, _integer),
    "number": (int, _number),
    "boolean": (bool, _boolean),
    "string": (str, text_of),
}
"""By type in JSON Schema, as ``_converter`` returns them."""


def _owned(
    items: list[dict[str, Any]], name: str, asked_for: str, dropped: list[str]
) -> list[dict[str, Any]]:
    """Leave out objects of another resource, whose rows would get a wrong key.

    Args:
        items: The objects of a body.
        name: The column of the resource's id.
        asked_for: That id.
        dropped: What is left out is added to it, in words.

    Raises:
        UnreadableBodyError: If the whole body is of another resource.
    """
    owned, others = [], []
    for item in items:
        own = item.get(name)
        if not own or own == asked_for or str(own).casefold() == asked_for.casefold():
            owned.append(item)
        else:
            shown = escape(mask(str(own)), 60)
            others.append(f"of another resource: {name} is {shown}, not {asked_for}")
    if others and not any(item.get(name) for item in owned):
        raise UnreadableBodyError(f"the body {others[0]}")
    dropped += [f"a row {other}" for other in others]
    return owned
