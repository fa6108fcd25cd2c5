"""Read a body into rows: one reader for every stream.

A row has every column of its stream, null if the API has no value. A value that does not fit its
column becomes null with a warning, and an undocumented field is reported. Nothing is dropped
silently, and no row can break the SCHEMA of its stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
    from collections.abc import Callable, Iterator, Mapping, Sequence

Row: TypeAlias = "dict[str, Any]"

Converter: TypeAlias = "Callable[[Any], Any]"
"""From a value that is not None to one that fits its column; raises ``UnfitError``."""

NOT_FIELDS = frozenset({"_links", "_embedded", "_id"})
"""Members of the API's objects that are not fields.

``_id`` may stand for ``id`` in any object, but is taken only where ``aliases`` name it
(docs/compose-api.md, Backups).
"""

LONE_VALUE = "_value"
"""The member of a free-form object with the value that the API returned instead of an object."""

MOST_NAMED = 20
"""Fields of a stream that are named in warnings of a kind."""

_NOT_FINITE = "a number that is not finite"
_OUT_OF_RANGE = "a number out of range"

_LARGEST = Decimal("1.7976931348623157E+308")
"""A larger number is infinite for every reader that reads JSON numbers as doubles."""

_EXPONENTS = range(-323, 309)
"""Of the numbers that a double can hold; zero has an exponent too, which a database has to read."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


class UnfitError(Exception):
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
    dropped: list[str] = field(default_factory=list)


class Report:
    """How a report is laid out in a body and in rows, and the reader of its bodies.

    Attributes:
        schema: The JSON Schema of a row.
        primary_keys: The key columns.
        envelope: The names of the list in ``_embedded``, the usual one first; empty if the
            body is one bare object. A stream has the end of its path by default.
        envelope_optional: Whether the list may stand outside ``_embedded`` too.
        aliases: Other names under which the API writes a field, by column.
        extracted: Columns that are read from elsewhere in the object if the field is absent or
            empty.
        derived: Columns that are computed from the other columns of the row.
        id_column: The column with an id of the URL, if it has one; the body need not have it.
        parent_column: The column with the id of the object that an object is a part of, if
            objects contain others of the same kind.
    """

    schema: ClassVar[dict[str, Any]]
    primary_keys: Any  # a tuple of str; the SDK makes it a property
    envelope: ClassVar[tuple[str, ...]] = ()
    envelope_optional: ClassVar[bool] = False
    aliases: ClassVar[Mapping[str, Sequence[str]]] = {}
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
            return [hal.single(content)]
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
        objects = self.unwrap(hal.decode(body))
        if objects and not any(map(self._is_known, objects)):
            raise UnreadableBodyError("a body without any documented field")
        dropped: list[str] = []
        if self.id_column:
            objects = _owned(self.id_column, injected.get(self.id_column), objects, dropped)
        items = [each for each in objects if isinstance(each, dict)]
        for item in items if injected else ():
            item.update(injected)
        if self.parent_column is not None:
            objects = self._with_parts(objects)
            items = [each for each in objects if isinstance(each, dict)]
        dropped += ["an entry that is not an object"] * (len(objects) - len(items))
        self._fill_columns(items)
        if hal.has_odd_texts(body):
            self._make_storable(items)
        rows = self._rows_of(items)
        for name, derive in self.derived.items():
            for row in rows:
                row[name] = derive(row)
        return RowBatch(self._keyed(rows, dropped), len(objects), dropped)

    def _fill_columns(self, items: list[dict[str, Any]]) -> None:
        """Set columns from where else the API writes them."""
        for name, others in self.aliases.items():
            for other in others:
                for item in items:
                    if other in item and item.get(name) is None:
                        item[name] = item[other]
        for name, extract in self.extracted.items():
            for item in items:
                if item.get(name) in (None, ""):
                    item[name] = extract(item)

    def _make_storable(self, items: list[dict[str, Any]]) -> None:
        for item in items:
            for name in [each for each in item if each not in NOT_FIELDS]:
                changes: set[str] = set()
                clean = hal.storable(name, changes)
                item[clean] = hal.storable(item.pop(name), changes)
                for change in changes:
                    self._field_warnings.changed(clean, change)

    def _rows_of(self, items: list[dict[str, Any]]) -> list[Row]:
        """Move the fields of objects into rows; what is left of an object is reported."""
        columns, not_columns, warnings = self._columns, self._not_columns, self._field_warnings
        nulls: Row = dict.fromkeys(self.schema["properties"])
        rows = []
        for item in items:
            row = nulls.copy()  # faster than to add columns
            for name, kind, convert in columns:
                value = item.pop(name, None)
                if type(value) is kind:
                    row[name] = value
                elif value is not None:
                    try:
                        row[name] = convert(value)
                    except UnfitError as error:
                        warnings.null(name, str(error))
            for name in item:
                if name not in not_columns:
                    warnings.unknown(name)
            rows.append(row)
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
    def _columns(self) -> list[tuple[str, type | None, Converter]]:
        """Each column, the type of values that fit as they are, and what converts others."""
        warnings = self._field_warnings
        return [
            (name, _KINDS.get(convert), convert)
            for name, column in self.schema["properties"].items()
            for convert in [converter(column, name, warnings)]
        ]

    @cached_property
    def _fields(self) -> frozenset[str]:
        return frozenset(self.schema["properties"]).union(*self.aliases.values())

    @cached_property
    def _not_columns(self) -> frozenset[str]:
        """Members of an object that are known, but have no column."""
        return NOT_FIELDS.union(*self.aliases.values())

    def _is_known(self, item: Any) -> bool:
        return isinstance(item, dict) and not self._fields.isdisjoint(item)

    def _with_parts(self, objects: list[Any]) -> list[Any]:
        """Put the parts of each object behind it, at any depth."""
        found = []
        names, column = self.envelope, self.parent_column
        pending = objects[::-1]
        while pending:
            item = pending.pop()
            found.append(item)
            if parts := hal.parts(item, names):
                inherited = [(column, item.get("id"))]
                inherited += [(self.id_column, item.get(self.id_column))]
                for part in parts:
                    if isinstance(part, dict):
                        for name, value in inherited:
                            if not part.get(name):
                                part[name] = value
                pending += reversed(parts)
        return found


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
            name: The column.
            change: How, in words.
        """
        self._warn("columns have texts that are changed", f"field {name}: {change}")

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
    keys_of_rows = list(map(itemgetter(*keys), rows))
    if len(set(keys_of_rows)) == len(rows):
        return rows
    found: dict[Any, Row] = {}
    for key, row in zip(keys_of_rows, rows, strict=True):
        found.setdefault(key, row)
    return list(found.values())


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
        raise UnfitError(_NOT_FINITE)
    if isinstance(value, (dict, list)) and any(_unfit_numbers(value, "")):
        raise UnfitError(_OUT_OF_RANGE)
    return _encode(value).decode()


def _time(value: Any) -> str:
    try:
        return canonical_time(value)
    except (ValueError, TypeError, AttributeError):
        raise UnfitError("a value that is not a time") from None


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
    if type(value) is int and -_LIMIT <= value < _LIMIT:
        return value
    number = _number(value)
    if number != int(number) or not _fits_64_bits(number):
        raise UnfitError("a value that is not an integer of 64 bits")
    return int(number)


def _boolean(value: Any) -> bool:
    known = _BOOLEANS.get(text_of(value).lower())
    if known is None:
        raise UnfitError("a value that is not true or false")
    return known


def _free_form(path: str, warnings: FieldWarnings) -> Converter:
    def free_form(value: Any) -> dict[str, Any]:
        content = value if isinstance(value, dict) else {LONE_VALUE: value}
        if not _PLAIN.issuperset(map(type, content.values())):
            for holder, place, where, problem in _unfit_numbers(content, path):
                holder[place] = None
                warnings.null(where, problem)
        return content

    return free_form


def _array_of(items: dict[str, Any], path: str, warnings: FieldWarnings) -> Converter:
    convert = _or_null(converter(items, path, warnings), path, warnings)
    # Single strings and objects in old responses (docs/compose-api.md, Deployment details).
    lone = (str,) if "string" in items["type"] else () if items.get("properties") else (dict,)

    def array(value: Any) -> list[Any]:
        if isinstance(value, lone):
            value = [value] if value else []
        if not isinstance(value, list):
            raise UnfitError("a value that is not a list")
        converted = (convert(each) for each in value if each is not None)
        return [each for each in converted if each is not None]

    return array


def _object_of(members: dict[str, Any], path: str, warnings: FieldWarnings) -> Converter:
    converters = {
        name: _or_null(converter(schema, where, warnings), where, warnings)
        for name, schema in members.items()
        for where in [f"{path}.{name}"]
    }
    known = NOT_FIELDS | members.keys()

    def row(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise UnfitError("a value that is not an object")
        for name in value.keys() - known:
            warnings.unknown(f"{path}.{name}")
        members = ((name, convert, value.get(name)) for name, convert in converters.items())
        return {name: None if each is None else convert(each) for name, convert, each in members}

    return row


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
    if not number.is_finite():
        return _NOT_FINITE
    # copy_abs and comparisons are exact at any size, abs is not
    fits = number.adjusted() in _EXPONENTS and number.copy_abs() <= _LARGEST
    return "" if fits else _OUT_OF_RANGE


def _fits_64_bits(number: int | Decimal) -> bool:
    return -_LIMIT <= number < _LIMIT


_LIMIT = 1 << 63
"""The integer columns of databases have 64 bits."""


_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}

_SCALARS: dict[str, Converter] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "string": text_of,
}

_PLAIN = frozenset({str, int, bool, type(None)})
"""Values of a free-form column in which no number has to be checked."""


_KINDS: dict[Converter, type] = {text_of: str, _boolean: bool}
"""The type of the values that a converter returns as they are."""


def _or_null(convert: Converter, path: str, warnings: FieldWarnings) -> Converter:
    """Return a converter that warns of what does not fit, and returns None instead."""

    def converted(value: Any) -> Any:
        try:
            return convert(value)
        except UnfitError as error:
            warnings.null(path, str(error))
            return None

    return converted


def _owned(name: str, asked_for: str | None, objects: list[Any], dropped: list[str]) -> list[Any]:
    """Leave out objects of another resource, whose rows would get a wrong key.

    Args:
        name: The column of the resource's id.
        asked_for: That id.
        objects: The objects of a body.
        dropped: What is left out is added to it, in words.

    Raises:
        UnreadableBodyError: If the whole body is of another resource.
    """
    owned, others, is_named = [], [], False
    for item in objects:
        own = item.get(name) if isinstance(item, dict) else None
        is_own = own == asked_for
        if own and not is_own and isinstance(own, (str, int)) and asked_for is not None:
            is_own = str(own).casefold() == asked_for.casefold()
            if not is_own:
                shown = escape(mask(str(own)), 60)
                others.append(f"of another resource: {name} is {shown}, not {asked_for}")
                continue
        is_named = is_named or is_own
        owned.append(item)
    if others and not is_named:
        raise UnreadableBodyError(f"the body {others[0]}")
    dropped += [f"a row {other}" for other in others]
    return owned
