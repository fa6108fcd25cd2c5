"""Check the stream maps before the first request: the SDK ignores what does not exist."""

from __future__ import annotations

from difflib import get_close_matches
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from tap_compose.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_NULLS = (None, "__NULL__")
"""What drops a column or a stream; Meltano drops nulls from its settings, so there is a text."""


def check_stream_maps(
    config: Mapping[str, Any], columns: Mapping[str, Collection[str]]
) -> Iterator[str]:
    """Check that the streams of maps, and the columns that they drop, exist.

    Args:
        config: The settings.
        columns: The columns of each stream.

    Yields:
        A warning for each map that is not applied to a stream, because a later one is.

    Raises:
        SettingsError: If a stream or a column does not exist.
    """
    applied: dict[str, str] = {}
    for name, definition in (config.get("stream_maps") or {}).items():
        if name.startswith("__"):  # __else__; the SDK refuses any other
            continue
        content = definition if isinstance(definition, dict) else {}
        source = str(content.get("__source__", name))
        streams = [each for each in columns if fnmatch(each, source)]
        if not streams:
            raise _unknown(f"no stream {source}", source, columns)
        known = dict.fromkeys(column for each in streams for column in columns[each])
        for column, value in content.items():
            if value in _NULLS and column not in known and not column.startswith("__"):
                raise _unknown(f"{name} has no column {column}", column, known)
        if "__source__" in content:  # one more stream, next to its source
            continue
        for stream in streams:
            if earlier := applied.get(stream):
                yield (
                    f"stream_maps: the map {earlier} is not applied to {stream}: "
                    f"the later map {name} replaces it; merge them"
                )
            applied[stream] = name


def _unknown(problem: str, name: str, known: Collection[str]) -> SettingsError:
    near = get_close_matches(name, known, n=1)
    advice = f"did you mean {near[0]}?" if near else "see tap-compose --discover"
    return SettingsError(f"stream_maps: {problem}; {advice}")
