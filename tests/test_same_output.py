"""The comparison of two revisions ignores what differs between runs of one, and nothing else."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest

from benchmarks.same_output import comparable, difference

MILLISECONDS = count(100)


def _line(**message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _event(day: int, **columns: str) -> bytes:
    record = {"id": str(day), "created_at": f"2020-01-0{day}T00:00:00.000Z", **columns}
    now = f"2026-01-01T00:00:00.{next(MILLISECONDS)}Z"
    return _line(type="RECORD", stream="audit_events", record=record, time_extracted=now)


def _state(day: int, **others: Any) -> bytes:
    bookmark = {"replication_key_value": f"2020-01-0{day}T00:00:00.000Z"}
    return _line(type="STATE", value={"bookmarks": {"audit_events": bookmark, **others}})


def _difference(before: list[bytes], after: list[bytes], *, is_ordered: bool = False) -> str:
    return difference(
        *(comparable(b"\n".join(each), is_ordered=is_ordered) for each in (before, after))
    )


def _run() -> list[bytes]:
    return [_event(1), _state(1), _event(2), _event(3), _state(3)]


def test_time_extracted_and_version_are_not_compared() -> None:
    before, after = (
        _line(type="RECORD", stream="a", record={"version": "1"}, version=v, time_extracted=t)
        for v, t in ((1795561100, "2026-11-24T00:00:00Z"), (1795561101, "2026-11-24T00:00:01Z"))
    )
    assert not _difference([before], [after], is_ordered=True)
    other = before.replace(b'"version":"1"', b'"version":"2"')
    assert _difference([before], [other], is_ordered=True).startswith("lines gone 1, new 1; ")


def test_a_bookmark_may_move_at_another_row_if_requests_overlap() -> None:
    other = [_event(1), _event(2), _state(2), _event(3), _state(3)]
    assert not _difference(_run(), other)
    assert _difference(_run(), other, is_ordered=True)


def test_another_order_is_a_difference() -> None:
    assert _difference([_event(1), _event(2)], [_event(2), _event(1)]).startswith("another order; ")


def test_the_first_difference_is_shown() -> None:
    before, after = ([_event(1), _event(2, ip=ip), _event(3)] for ip in ("::1", "::2"))
    head = '{"type":"RECORD","stream":"audit_events","record": ... '
    near = '"created_at":"2020-01-02T00:00:00.000Z","ip":"::'[-39:]
    assert _difference(before, after) == (
        "lines gone 1, new 1; first difference at line 2:\n"
        f'- {head}{near}1"}},"time_extracted":0}}\n'
        f'+ {head}{near}2"}},"time_extracted":0}}'
    )


@pytest.mark.parametrize(
    "other",
    [
        pytest.param([_event(1), _state(2), _event(2), _event(3), _state(3)], id="ahead"),
        pytest.param([_event(1), _event(2), _state(1), _event(3), _state(3)], id="behind"),
        pytest.param([_event(1), _event(2), _event(3), _state(3)], id="no bookmark between rows"),
        pytest.param([_event(1), _state(1, a={}), *_run()[2:]], id="another stream's bookmark"),
        pytest.param([*_run()[:-1], _state(2)], id="the last state"),
        pytest.param([*_run()[:3], _event(3, ip="::1"), _state(3)], id="a row"),
        pytest.param([*_run()[:2], _event(3), _event(2), _state(3)], id="the order"),
    ],
)
def test_everything_else_is_a_difference(other: list[bytes]) -> None:
    assert _difference(_run(), other)
