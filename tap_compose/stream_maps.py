"""Check the stream maps before the first request: the SDK ignores what does not exist."""

from __future__ import annotations

import ast
from difflib import get_close_matches
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from tap_compose.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_NULLS = (None, "__NULL__")
"""What drops a column or a stream; Meltano drops nulls from its settings, so there is a text."""

_VARIABLES = {
    "_",
    "__original_stream_name__",
    "__stream_name__",
    "config",
    "fake",
    "record",
    "self",
}
_FUNCTIONS = {"bool", "datetime", "float", "int", "json", "md5", "rand", "randint", "sha256", "str"}
"""What an expression may use besides the columns (singer-sdk 0.54.9)."""


def check_stream_maps(
    config: Mapping[str, Any], columns: Mapping[str, Collection[str]]
) -> Iterator[str]:
    """Check that the streams of maps, and the columns that they drop or use, exist.

    Args:
        config: The settings.
        columns: The columns of each stream.

    Yields:
        A warning for each map that is not applied to a stream, because a later one is.

    Raises:
        SettingsError: If a stream, a column or a key of ``stream_map_config`` does not exist.
    """
    applied: dict[str, str] = {}
    replaced: dict[tuple[str, str], list[str]] = {}
    for name, definition in (config.get("stream_maps") or {}).items():
        if name.startswith("__"):  # __else__; the SDK refuses any other
            continue
        content = definition if isinstance(definition, dict) else {}
        source = str(content.get("__source__", name))
        streams = [each for each in columns if fnmatch(each, source)]
        if not streams:
            raise SettingsError(f"stream_maps: {_unknown(f'no stream {source}', source, columns)}")
        known = dict.fromkeys(column for each in streams for column in columns[each])
        _check_columns(name, content, known, config.get("stream_map_config") or {})
        if "__source__" in content:  # one more stream, next to its source
            continue
        for stream in streams:
            if stream in applied:
                replaced.setdefault((applied[stream], name), []).append(stream)
            applied[stream] = name
    for (earlier, later), streams in replaced.items():
        yield (
            f"stream_maps: the map {earlier} is not applied to {', '.join(streams)}: "
            f"the later map {later} replaces it; merge them"
        )


def _check_columns(
    name: str, content: Mapping[str, Any], known: Collection[str], keys: Collection[str]
) -> None:
    for column, value in content.items():
        is_option = column.startswith("__")
        if value in _NULLS:
            if column not in known and not is_option:
                problem = _unknown(f"{name} has no column {column}", column, known)
                raise SettingsError(f"stream_maps: {problem}")
        elif isinstance(value, str) and (not is_option or column == "__filter__"):
            _check_expression(f"{name}.{column}", value, known, keys)


def _check_expression(
    place: str, text: str, columns: Collection[str], keys: Collection[str]
) -> None:
    """Check the names in an expression; the SDK would find them missing in the first row."""
    try:
        nodes = [*ast.walk(ast.parse(text, mode="eval"))]
    except (SyntaxError, ValueError):
        raise SettingsError(f"stream_maps: {place} is not a Python expression") from None
    variables = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    known = {*columns, *_FUNCTIONS, *_VARIABLES, *variables}
    for node in nodes:
        match node:
            case ast.Name(id=name) if name not in known:
                problem = f"{place} uses {name}, which is not a column or function"
                raise SettingsError(f"stream_maps: {_unknown(problem, name, known)}")
            case ast.Subscript(ast.Name("config"), ast.Constant(str(key))) if key not in keys:
                problem = f"{place} uses {key}, which is not in stream_map_config"
                raise SettingsError(f"stream_maps: {_unknown(problem, key, keys, 'add it')}")


def _unknown(
    problem: str, name: str, known: Collection[str], advice: str = "see tap-compose --discover"
) -> str:
    near = get_close_matches(name, known, n=1)
    return f"{problem}; did you mean {near[0]}?" if near else f"{problem}; {advice}"
