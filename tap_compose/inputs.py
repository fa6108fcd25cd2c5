"""Read the input files: config, state and catalog. Each is read once, so it can be a pipe."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import IO, Any, Literal, TextIO, cast

import msgspec
from singer_sdk.singerlib import Catalog
from typing_extensions import Required, TypedDict

from tap_compose.settings import SettingsError
from tap_compose.times import canonical_time

_MOST_LEVELS = 100
"""Maximum nesting of a file; the SDK copies it by recursion."""


def read_config(path: str) -> dict[str, Any]:
    """Read a config file.

    Args:
        path: A path; it may be a pipe.

    Raises:
        SettingsError: If it is not a JSON object.
    """
    try:
        return _json_object("config", path, Path(path).read_bytes())
    except OSError as error:
        raise SettingsError(f"--config: {path} cannot be read: {error.strerror}") from None


def read_state(file: IO[str] | None) -> dict[str, Any] | None:
    """Read a state file; ``checked_state`` checks the content."""
    return _read("state", file)


def read_catalog(file: IO[str] | None) -> Catalog | None:
    """Read a catalog file.

    Args:
        file: The open file.

    Raises:
        SettingsError: If it is not a Singer catalog; the message has the place.
    """
    content = _read("catalog", file)
    if file is None or content is None:
        return None
    try:
        msgspec.convert(content, _Catalog)
        return Catalog.from_dict(content)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise SettingsError(
            f"--catalog: {file.name} is not a Singer catalog: {error}; make one with --discover"
        ) from None


def checked_state(state: dict[str, Any]) -> dict[str, Any]:
    """Reject a state that this tap cannot have written, instead of using half of it.

    Args:
        state: The state, or a STATE message, as some targets print it.

    Returns:
        The state.

    Raises:
        SettingsError: If it was not written by this tap.
    """
    if state.get("type") == "STATE" and isinstance(state.get("value"), dict):
        state = state["value"]
    if state and "bookmarks" not in state:
        raise SettingsError("the state has no bookmarks: it was not written by this tap")
    bookmarks = state.get("bookmarks", {})
    if not isinstance(bookmarks, dict):
        raise SettingsError("the state's bookmarks must be an object")
    for stream, bookmark in bookmarks.items():
        _check_bookmark(stream, bookmark)
    return state


def _check_bookmark(stream: str, bookmark: Any) -> None:
    try:
        msgspec.convert(bookmark, _StreamState)
    except msgspec.ValidationError:
        raise SettingsError(f"the state of {stream} was not written by this tap") from None
    time = ""
    try:
        entries = (bookmark, *bookmark.get("partitions", []))
        times = [each.get("replication_key_value", "") for each in entries]
        for time in filter(None, [*times, *bookmark.get("unfinished", {}).values()]):
            canonical_time(time)
    except ValueError:
        raise SettingsError(
            f"the state of {stream} has a bookmark that is not a time: {time[:40]!r}"
        ) from None


def _read(option: str, file: IO[str] | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        content = cast("TextIO", file).buffer.read()
    except OSError as error:
        reason = f"--{option}: {file.name} cannot be read: {error.strerror}"
        raise SettingsError(reason) from None
    return _json_object(option, file.name, content)


def _json_object(option: str, name: str, content: bytes) -> dict[str, Any]:
    deep = SettingsError(f"--{option}: {name} is nested more than {_MOST_LEVELS} levels deep")
    try:
        # Unlike the standard library it takes no NaN, and no text that is no Unicode.
        value = msgspec.json.decode(content.removeprefix(codecs.BOM_UTF8))
    except ValueError as error:  # the text has a position, no content
        raise SettingsError(f"--{option}: {name} is not valid JSON: {error}") from None
    except RecursionError:
        raise deep from None
    if not isinstance(value, dict):
        raise SettingsError(f"--{option}: {name} must be a JSON object")
    if _is_deep(value):
        raise deep
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_MOST_LEVELS):
        level = [
            member
            for each in level
            if isinstance(each, (dict, list))
            for member in (each.values() if isinstance(each, dict) else each)
        ]
    return bool(level)


class _Entry(TypedDict, total=False):
    """What the state holds of a stream, or of one of its partitions."""

    replication_key: str
    replication_key_value: str
    progress_markers: dict[str, Any]


class _Partition(_Entry):
    context: Required[dict[str, str | int | float | bool | None]]


class _Unfinished(TypedDict):
    bookmark: str
    read_until: str


class _StreamState(_Entry, total=False):
    partitions: list[_Partition]
    unfinished: _Unfinished


_Selection = TypedDict(
    "_Selection",
    {
        "inclusion": "str | None",
        "selected": "bool | None",
        "selected-by-default": "bool | None",
        "replication-key": "str | None",
        "forced-replication-method": "str | None",
        "table-key-properties": "list[str] | None",
    },
    total=False,
)


class _Metadata(TypedDict):
    breadcrumb: list[str]
    metadata: _Selection


_Type = Literal["array", "boolean", "integer", "null", "number", "object", "string"]


class _Schema(TypedDict, total=False):
    """What the SDK reads of a JSON Schema."""

    type: _Type | list[_Type]
    properties: dict[str, _Schema]
    items: _Schema


class _CatalogEntry(TypedDict, total=False):
    tap_stream_id: Required[str]
    stream: str | None
    schema: _Schema
    metadata: list[_Metadata]
    key_properties: list[str] | None
    replication_key: str | None
    replication_method: str | None


class _Catalog(TypedDict):
    streams: list[_CatalogEntry]
