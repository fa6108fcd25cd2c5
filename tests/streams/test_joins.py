"""The joins of docs/streams.md name columns that exist and that match."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tools.joins import JOINS, Join

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.tap_runs import Output


def _values(row: dict[str, Any], path: str) -> Iterator[Any]:
    """The values at a path; ``users[].id`` has those of every member of the list."""
    name, _, rest = path.partition("[].")
    if not rest:
        yield row[name]
        return
    for each in row[name] or []:
        yield from _values(each, rest)


def _keys(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> set[tuple[Any, ...]]:
    found = {
        key
        for row in rows
        for key in zip(*(_values(row, column) for column in columns), strict=True)
    }
    return {key for key in found if None not in key}


@pytest.mark.parametrize("join", JOINS, ids=lambda each: f"{each.stream}-{each.other}")
def test_the_columns_of_a_join_exist_and_match(join: Join, whole: Output) -> None:
    rows = {**whole.rows, "coverage": whole.coverage}
    held = _keys(rows[join.stream], join.columns)
    known = _keys(rows[join.other], join.keys)
    assert held & known
