"""The fast way from a body to rows: typed records, decoded in one step where nothing is odd.

``RowMaker`` takes whatever comes and makes the best of it, value by value. Nearly every body
is as the contract says, though, and then a decoder that was made once per run from the
stream's schema checks and reads all of it at once. At the first oddity (an undocumented field,
a number as text, a missing id, a time that is none) the whole body is left to ``RowMaker``, so
what goes out is the same either way.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from tap_compose.times import canonical_time, is_canonical

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_ODDITIES = 3
"""After so many odd bodies in a row a stream is taken to be odd, and not tried any more."""

_INTEGER = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


class Record(msgspec.Struct):
    """A row that was decoded in one step; columns are read and set as in a dictionary."""

    __getitem__ = object.__getattribute__
    __setitem__ = msgspec.Struct.__setattr__


class OddError(Exception):
    """A body, or a part of one, that is left to ``RowMaker``."""


class RecordReader:
    """Reads bodies of one stream into records.

    Args:
        schema: The stream's JSON Schema.
        keys: The key properties that the bodies must bring.
        envelope: The name of the list in ``_embedded``; None if the body is one bare object.
        nested: Whether the objects may hold such a list of their own, see ``parts``.

    Raises:
        OddError: If the schema has a column that no typed decoder reads exactly.
    """

    def __init__(
        self,
        schema: dict[str, Any],
        keys: Sequence[str],
        envelope: str | None,
        *,
        nested: bool = False,
    ) -> None:
        columns = schema["properties"]
        fields: list[tuple[str, Any, Any]] = [
            (name, _type_of(column) | None, None) for name, column in columns.items()
        ]
        fields.append(("_links", msgspec.Raw | UnsetType, UNSET))
        if nested and envelope is not None:
            inside = msgspec.defstruct("Inside", [(envelope, list[msgspec.Raw], [])])
            fields.append(("_embedded", inside | UnsetType, UNSET))
        record = msgspec.defstruct("Row", fields, bases=(Record,), forbid_unknown_fields=True)
        body: Any = record
        if envelope is not None:
            entries = msgspec.defstruct("Embedded", [(envelope, list[record])])  # type: ignore[valid-type]
            body = msgspec.defstruct("Body", [("_embedded", entries)])
            self._decode_part = msgspec.json.Decoder(record, float_hook=Decimal).decode
        self._decode = msgspec.json.Decoder(body, float_hook=Decimal).decode
        self._envelope = envelope
        self._times = [name for name in columns if columns[name].get("format") == "date-time"]
        self._keys = keys
        self._oddities = 0

    def read(self, body: bytes) -> list[Record]:
        """Read a body.

        Args:
            body: The bytes of an answer.

        Returns:
            The records, their times in the canonical spelling.

        Raises:
            OddError: If something about the body is odd.
        """
        if self._oddities >= _MOST_ODDITIES:
            raise OddError
        try:
            content = self._decode(body)
            records: list[Record] = (
                [content] if self._envelope is None else getattr(content._embedded, self._envelope)  # noqa: SLF001
            )
            self._check(records)
        except (ValueError, RecursionError):
            self._oddities += 1
            raise OddError from None
        self._oddities = 0
        return records

    def parts(self, record: Record) -> list[Record]:
        """Read what a record holds in an ``_embedded`` of its own.

        Args:
            record: A record that ``read`` or this made.

        Returns:
            The records in it, which it holds no longer.

        Raises:
            OddError: If something about them is odd.
        """
        inside = record["_embedded"]
        record["_embedded"] = UNSET
        raw = getattr(inside, str(self._envelope)) if inside is not UNSET else None
        if not raw:
            return []
        try:
            parts: list[Any] = [self._decode_part(each) for each in raw]
            self._check(parts)
        except (ValueError, RecursionError):
            raise OddError from None
        return parts

    def _check(self, records: list[Record]) -> None:
        for name in self._keys:
            for record in records:
                if not record[name]:
                    raise ValueError(name)
        for name in self._times:
            for record in records:
                value = record[name]
                if value is not None and not is_canonical(value):
                    record[name] = canonical_time(value)
        for record in records:
            record["_links"] = UNSET


def _type_of(schema: dict[str, Any]) -> Any:
    types = schema["type"]
    if "array" in types:
        return list[_type_of(schema["items"])]  # type: ignore[misc]
    if "object" in types:
        if "properties" not in schema:
            return dict[str, Any]
        members = schema["properties"].items()
        return msgspec.defstruct(
            "Part", [(name, _type_of(each) | None, None) for name, each in members]
        )
    if "number" in types:
        raise OddError("numbers are read exactly one by one")
    kinds: dict[str, Any] = {"integer": _INTEGER, "boolean": bool, "string": str}
    return next(kinds[each] for each in types if each in kinds)
