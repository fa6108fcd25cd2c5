"""Columns: functions that build the schema of a stream; each takes a name and a description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

if TYPE_CHECKING:
    from collections.abc import Callable


def schema(*columns: th.Property[Any]) -> dict[str, Any]:
    """Build the schema of a stream.

    Args:
        columns: The columns of a stream.

    Returns:
        A JSON Schema.
    """
    return th.PropertiesList(*columns).to_dict()


def key(name: str, description: str) -> th.Property[Any]:
    """A text column that is part of the key, so it is never null."""
    return th.Property(name, th.StringType, required=True, description=description)


def _column(kind: Any) -> Callable[[str, str], th.Property[Any]]:
    return lambda name, description: th.Property(name, kind, description=description)


text = _column(th.StringType)
texts = _column(th.ArrayType(th.StringType))
time = _column(th.DateTimeType)
number = _column(th.NumberType)
integer = _column(th.IntegerType)
boolean = _column(th.BooleanType)

# ObjectType adds an empty list of members, and flattening would then drop all of them.
_FREE = {"type": ["object", "null"], "additionalProperties": True}
free_form = _column(th.CustomType(_FREE))
# Within a list singer-sdk 0.54.9 needs the member "properties", even an empty one.
free_forms = _column(th.ArrayType(th.CustomType({**_FREE, "properties": {}})))


def record(name: str, description: str, *members: th.Property[Any]) -> th.Property[Any]:
    """A column of JSON objects with known members."""
    return th.Property(name, th.ObjectType(*members), description=description)


def records(name: str, description: str, *members: th.Property[Any]) -> th.Property[Any]:
    """A column of lists of JSON objects with known members."""
    return th.Property(name, th.ArrayType(th.ObjectType(*members)), description=description)


DEPLOYMENT_ID = key("deployment_id", "Deployment that the row belongs to.")

USER = (text("id", "User id."), text("name", "User name. Personal."))
"""The members of a user in a list."""
