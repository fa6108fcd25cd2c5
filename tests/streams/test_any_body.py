"""Whatever a body holds: rows that fit their SCHEMA, the same by the tap's writer and the SDK's."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from tests.streams.test_recorded_bodies import ACCOUNT, BODIES, DEPLOYMENT
from tests.support.bodies import sync_bodies
from tests.support.contract import FIELDS, KEYS, PATHS

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())  # halves of surrogate pairs too
    | st.sampled_from([10**40, "12017-01-01T00:00:00Z", "1.5", "NaN", "true", "x" * 5000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
DAMAGE = st.sampled_from(
    [
        lambda body: body[: len(body) // 2],
        lambda body: body.replace(b"e", b"\xff", 1),
        lambda body: body.replace(b'":', b'\\ud800":', 1),
        lambda body: b"\n" + body.replace(b": ", b" :\r\n"),
    ]
)


def _path(stream: str) -> str:
    return PATHS[stream].replace(":account", ACCOUNT).replace(":deployment", DEPLOYMENT)


def _written(stream: str, body: bytes, **maps: Any) -> list[Any]:
    """What a run over one stream writes and reports."""
    bodies = {**BODIES, _path(stream): body}
    output = sync_bodies(bodies, stream, include_connection_strings=True, **maps)
    missing = output.missing
    assert output.status == bool(missing)
    assert not any("unexpected" in reason for *_, reason in missing)
    (schema,) = (each["schema"] for each in output.of_type("SCHEMA") if each["stream"] == stream)
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    rows = [json.loads(line) for line in output.stdout.splitlines() if b'"RECORD"' in line]
    for row in rows:
        validator.validate(row["record"])
        assert all(row["record"][name] is not None for name in KEYS[stream])
        assert row.pop("time_extracted")
    return [*rows, *missing]


@pytest.mark.parametrize("stream", sorted(FIELDS))
@settings(max_examples=6)
@given(data=st.data())
def test_any_body_gives_the_same_valid_rows_by_both_writers(stream: str, data: Any) -> None:
    body = copy.deepcopy(BODIES[_path(stream)])
    for _ in range(data.draw(st.integers(0, 4))):
        _change_somewhere(body, data)
    raw = json.dumps(body).encode()
    if not data.draw(st.integers(0, 4)):
        raw = data.draw(DAMAGE)(raw)
    assert _written(stream, raw) == _written(stream, raw, stream_maps={stream: {}})


def _change_somewhere(value: Any, data: Any) -> None:
    """Replace, remove or add something in a place of a body."""
    while True:
        places = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not places:
            return
        place = data.draw(st.sampled_from(places))
        inner = value[place]
        if isinstance(inner, (dict, list)) and inner and data.draw(st.integers(0, 3)):
            value = inner
            continue
        match data.draw(st.integers(0, 3)):
            case 0:
                del value[place]
            case 1 if isinstance(value, dict):
                value[data.draw(st.sampled_from(["plan", "_links", "_embedded"]))] = data.draw(JSON)
            case 2 if isinstance(value, list):
                value.append(copy.deepcopy(inner))
            case _:
                value[place] = data.draw(JSON)
        return
