"""Columns: functions that build the schema of a stream."""

from __future__ import annotations

from typing import Any

from singer_sdk import typing as th


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


def text(name: str, description: str) -> th.Property[Any]:
    """A text column."""
    return th.Property(name, th.StringType, description=description)


def time(name: str, description: str) -> th.Property[Any]:
    """A column of times in UTC."""
    return th.Property(name, th.DateTimeType, description=description)


def number(name: str, description: str) -> th.Property[Any]:
    """A column of exact decimal numbers."""
    return th.Property(name, th.NumberType, description=description)


def integer(name: str, description: str) -> th.Property[Any]:
    """A column of integers."""
    return th.Property(name, th.IntegerType, description=description)


def boolean(name: str, description: str) -> th.Property[Any]:
    """A column of true and false."""
    return th.Property(name, th.BooleanType, description=description)


def free_form(name: str, description: str) -> th.Property[Any]:
    """A column of JSON objects with undocumented members."""
    # ObjectType adds an empty list of members, and flattening would then drop all of them.
    free = {"type": ["object", "null"], "additionalProperties": True}
    return th.Property(name, th.CustomType(free), description=description)


def free_forms(name: str, description: str) -> th.Property[Any]:
    """A column of lists of such objects."""
    # Within a list singer-sdk 0.54.9 needs the member "properties", even an empty one.
    free = {"type": ["object", "null"], "properties": {}, "additionalProperties": True}
    return th.Property(name, th.ArrayType(th.CustomType(free)), description=description)


def texts(name: str, description: str) -> th.Property[Any]:
    """A column of lists of texts."""
    return th.Property(name, th.ArrayType(th.StringType), description=description)


def record(name: str, description: str, *members: th.Property[Any]) -> th.Property[Any]:
    """A column of JSON objects with known members."""
    return th.Property(name, th.ObjectType(*members), description=description)


def records(name: str, description: str, *members: th.Property[Any]) -> th.Property[Any]:
    """A column of lists of JSON objects with known members."""
    return th.Property(name, th.ArrayType(th.ObjectType(*members)), description=description)


DEPLOYMENT_ID = key("deployment_id", "Deployment that the row belongs to.")

USER = (text("id", "User id."), text("name", "User name. Personal."))
"""The members of a user in a list."""
