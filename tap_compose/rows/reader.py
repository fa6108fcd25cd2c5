"""Read a body into rows.

A row has every column of its stream, null if the API has no value. An undocumented field is
logged once. Nothing is dropped silently.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

from tap_compose.api import hal
from tap_compose.api.errors import UnreadableBodyError
from tap_compose.rows.conversion import NOT_FIELDS, UnfitError, converter, warn_of_unknown
from tap_compose.rows.field_warnings import FieldWarnings
from tap_compose.rows.typed import TypedReader, TypedRow, UnexpectedShapeError

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable, Mapping, Sequence


class Row(Protocol):
    """A row: a dictionary, or an object that was decoded in one step."""

    def __getitem__(self, name: str, /) -> Any:
        """Return the value of a column."""

    def __setitem__(self, name: str, value: Any, /) -> None:
        """Set the value of a column."""

    def __delitem__(self, name: str, /) -> None:
        """Leave a column out."""


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


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a report is laid out in a body and in rows.

    ``ComposeStream`` in ``streams/base.py`` describes the attributes, under the same names.
    """

    schema: dict[str, Any]
    primary_keys: Sequence[str]
    unwrap: Callable[[Any], list[Any]]
    envelope: tuple[str, ...] = ()
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    extracted: Mapping[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict)
    derived: Mapping[str, Callable[[Row], Any]] = field(default_factory=dict)
    injected_columns: tuple[str, ...] = ()
    parent_column: str | None = None
    is_lenient: bool = False


class RowReader:
    """Reads the bodies of one report.

    Args:
        layout: How the report is laid out.
        logger: Logs what does not fit, once per field.
    """

    def __init__(self, layout: Layout, logger: logging.Logger | logging.LoggerAdapter[Any]) -> None:
        self._layout = layout
        self._warnings = FieldWarnings(logger)
        self._builder = RowBuilder(layout, self._warnings)
        self._typed: TypedReader | None = None
        if not layout.is_lenient:
            keys = [name for name in layout.primary_keys if name not in layout.injected_columns]
            envelope = next(iter(layout.envelope), None)
            has_parts = layout.parent_column is not None
            self._typed = TypedReader(layout.schema, keys, envelope, has_parts=has_parts)

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
        if self._typed is not None:
            try:
                return self._read_typed(self._typed, body, injected)
            except UnexpectedShapeError:
                pass
        objects = self._objects(body, injected)
        batch = RowBatch([], len(objects))
        for each in objects:
            row, problem = self._builder.build_row(each, injected)
            if row is None:
                batch.dropped.append(problem)
            else:
                batch.rows.append(row)
        return batch

    def log_counts(self) -> None:
        """Log how many fields did not fit, if some were not named. Call it after the last body."""
        self._warnings.log_counts()

    def _read_typed(
        self, reader: TypedReader, body: bytes, injected: Mapping[str, Any]
    ) -> RowBatch:
        rows = reader.read(body)
        for name in self._layout.injected_columns:
            _check_owner(name, {getattr(row, name) for row in rows}, injected)
        column = self._layout.parent_column
        if column is not None:

            def adopt(part: TypedRow, parent: TypedRow) -> None:
                part[column] = part[column] or parent["id"]

            rows = _with_parts(rows, reader.parts_of, adopt)
        for name, value in injected.items():
            for row in rows:
                setattr(row, name, value)
        return RowBatch(list(rows), len(rows))

    def _objects(self, body: bytes, injected: Mapping[str, Any]) -> list[Any]:
        layout = self._layout
        objects = layout.unwrap(hal.decode(body))
        if (
            not layout.envelope
            and objects
            and not any(self._builder.knows(each) for each in objects)
        ):
            raise UnreadableBodyError("a body without any documented field")
        for name in layout.injected_columns:
            own = (each.get(name) for each in objects if isinstance(each, dict))
            _check_owner(name, {each for each in own if isinstance(each, (str, int))}, injected)
        column = layout.parent_column
        if column is None:
            return objects

        def adopt(part: Any, parent: Any) -> None:
            if isinstance(part, dict) and not part.get(column):
                part[column] = parent.get("id")

        return _with_parts(objects, lambda each: hal.parts(each, *layout.envelope) or [], adopt)


class RowBuilder:
    """Builds rows value by value, from any shape of body.

    Args:
        layout: How the report is laid out.
        warnings: Logs what does not fit.
    """

    def __init__(self, layout: Layout, warnings: FieldWarnings) -> None:
        self._layout = layout
        columns = layout.schema["properties"]
        self._columns = [
            (
                name,
                converter(column, name, warnings),
                layout.aliases.get(name, ()),
                layout.extracted.get(name),
            )
            for name, column in columns.items()
        ]
        self._known = NOT_FIELDS.union(columns, *layout.aliases.values())
        self._warnings = warnings

    def knows(self, item: Any) -> bool:
        """Return whether an object has any field of the stream.

        Args:
            item: An object of the API.
        """
        return isinstance(item, dict) and not self._known.isdisjoint(item.keys() - NOT_FIELDS)

    def build_row(
        self, item: Any, injected: Mapping[str, Any]
    ) -> tuple[dict[str, Any] | None, str]:
        """Build a row.

        Args:
            item: An object of the API.
            injected: Columns whose value the tap sets, whatever the object has.

        Returns:
            The row, every column present; or None and the reason if the item has no id.
        """
        if not isinstance(item, dict):
            return None, "an entry that is not an object"
        warn_of_unknown(item, self._known, self._warnings)
        row: dict[str, Any] = {}
        for name, convert, aliases, extract in self._columns:
            value = injected[name] if name in injected else _value_of(item, name, aliases, extract)
            try:
                row[name] = None if value is None else convert(value)
            except UnfitError as error:
                row[name] = None
                self._warnings.null(name, str(error))
        for name, derive in self._layout.derived.items():
            row[name] = derive(row)
        missing = self._complete_key(row)
        return (None, f"a row without its {missing}") if missing else (row, "")

    def _complete_key(self, row: dict[str, Any]) -> str | None:
        """Fill the key, or return the column without which there is no key."""
        keys = self._layout.primary_keys
        for name in keys:
            if not row[name] and (name == "id" or (len(keys) == 1 and row[name] is None)):
                return name
            if row[name] is None:
                row[name] = ""
        return None


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


def _check_owner(name: str, found: Iterable[Any], injected: Mapping[str, Any]) -> None:
    """Reject the body of another resource: its rows would get a wrong key."""
    asked_for = str(injected.get(name, ""))
    for own in found if asked_for else ():
        if own and own != asked_for and str(own).casefold() != asked_for.casefold():
            raise UnreadableBodyError(
                f"the body of another resource: {name} is {str(own)[:60]}, not {asked_for}"
            )


def _value_of(
    item: dict[str, Any],
    name: str,
    aliases: Sequence[str],
    extract: Callable[[dict[str, Any]], Any] | None,
) -> Any:
    value = item.get(name)
    if value is None:
        value = next((item[each] for each in aliases if item.get(each) is not None), None)
    if extract is not None and (value is None or value == ""):
        return extract(item)
    return value


def _with_parts(
    objects: list[Any],
    parts_of: Callable[[Any], list[Any]],
    adopt: Callable[[Any, Any], None],
) -> list[Any]:
    """Put the parts of each object behind it, at any depth."""
    flat: list[Any] = []
    pending = [iter(objects)]
    while pending:
        for each in pending[-1]:
            flat.append(each)
            parts = parts_of(each)
            if parts:
                for part in parts:
                    adopt(part, each)
                pending.append(iter(parts))
                break
        else:
            pending.pop()
    return flat
