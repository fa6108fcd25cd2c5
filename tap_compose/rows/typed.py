"""The fast way from a body to rows: all of it decoded and checked in one step.

Nearly every body is as documented. For those a decoder is built once per run from the stream's
schema. At anything unexpected (an undocumented field, a number as text, a missing id, a value
that is not a time, a number beyond doubles) ``RowBuilder`` reads the body instead, with the same
result.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from tap_compose.rows.conversion import double
from tap_compose.times import canonical_time

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_UNEXPECTED = 3
"""After so many unexpected bodies in a row, ``RowBuilder`` reads all others of the stream."""

_INTEGER = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_KEY = Annotated[str, msgspec.Meta(min_length=1)]

_LINKS = "_links"
_EMBEDDED = "_embedded"

# JSON has no cycles. Looking for some took 40 % of the time of decoding 100,000 rows.
_struct = partial(msgspec.defstruct, kw_only=True, gc=False)


class TypedRow(msgspec.Struct):
    """A row that was decoded in one step; its columns are used as a dictionary's."""

    __getitem__ = object.__getattribute__
    __setitem__ = msgspec.Struct.__setattr__

    def __delitem__(self, name: str) -> None:
        """Leave a column out."""
        self[name] = UNSET


class UnexpectedShapeError(Exception):
    """A body, or a part of one, that ``RowBuilder`` has to read."""


class TypedReader:
    """Reads bodies of one stream into typed rows.

    Args:
        schema: The stream's JSON Schema; it has no column of type number.
        keys: The key properties that the bodies must have.
        envelope: The name of the list in ``_embedded``; None if the body is one bare object.
        has_parts: Whether the objects may hold such a list themselves, see ``parts_of``.
    """

    def __init__(
        self,
        schema: dict[str, Any],
        keys: Sequence[str],
        envelope: str | None,
        *,
        has_parts: bool = False,
    ) -> None:
        columns = schema["properties"]
        fields: list[Any] = [
            (name, _KEY) if name in keys else (name, _type_of(column) | None, None)
            for name, column in columns.items()
        ]
        fields.append((_LINKS, msgspec.Raw | UnsetType, UNSET))
        if has_parts and envelope is not None:
            inside = _struct("Inside", [(envelope, list[msgspec.Raw], [])])
            fields.append((_EMBEDDED, inside | UnsetType, UNSET))
        row = _struct("Row", fields, bases=(TypedRow,), forbid_unknown_fields=True)
        body: Any = row
        if envelope is not None:
            entries = _struct("Embedded", [(envelope, list[row])])  # type: ignore[valid-type]
            body = _struct("Body", [(_EMBEDDED, entries)])
            self._decode_part = msgspec.json.Decoder(row, float_hook=double).decode
        self._decode = msgspec.json.Decoder(body, float_hook=double).decode
        self._envelope = envelope
        self._times = [name for name in columns if columns[name].get("format") == "date-time"]
        self._unexpected = 0

    def read(self, body: bytes) -> list[TypedRow]:
        """Read a body.

        Args:
            body: The bytes of a response.

        Returns:
            The rows, their times in the canonical spelling.

        Raises:
            UnexpectedShapeError: If something about the body is unexpected.
        """
        if self._unexpected >= _MOST_UNEXPECTED:
            raise UnexpectedShapeError
        try:
            content = self._decode(body)
            rows: list[TypedRow] = (
                [content]
                if self._envelope is None
                else getattr(getattr(content, _EMBEDDED), self._envelope)
            )
            self._check(rows)
        except (ValueError, ArithmeticError, RecursionError):
            self._unexpected += 1
            raise UnexpectedShapeError from None
        self._unexpected = 0
        return rows

    def parts_of(self, row: TypedRow) -> list[TypedRow]:
        """Read what a row holds in its own ``_embedded``.

        Args:
            row: A row that ``read`` or this made.

        Returns:
            The rows in it, which it holds no longer.

        Raises:
            UnexpectedShapeError: If something about them is unexpected.
        """
        inside = getattr(row, _EMBEDDED)
        setattr(row, _EMBEDDED, UNSET)
        raw = getattr(inside, str(self._envelope), None)
        if not raw:
            return []
        try:
            parts: list[Any] = [self._decode_part(each) for each in raw]
            self._check(parts)
        except (ValueError, ArithmeticError, RecursionError):
            raise UnexpectedShapeError from None
        return parts

    def _check(self, rows: list[TypedRow]) -> None:
        for name in self._times:
            for row in rows:
                value = getattr(row, name)
                if value is not None:
                    setattr(row, name, canonical_time(value))
        for row in rows:
            setattr(row, _LINKS, UNSET)


def _type_of(schema: dict[str, Any]) -> Any:
    types = schema["type"]
    if "array" in types:
        return list[_type_of(schema["items"])]  # type: ignore[misc]
    if "object" in types:
        if not schema.get("properties"):
            return dict[str, Any]
        members = schema["properties"].items()
        fields = [(name, _type_of(each) | None, None) for name, each in members]
        return _struct("Part", fields, forbid_unknown_fields=True)
    kinds: dict[str, Any] = {"integer": _INTEGER, "boolean": bool, "string": str}
    return next(kinds[each] for each in types if each in kinds)
