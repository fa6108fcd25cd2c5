"""Whatever an endpoint answers: no traceback, no hang, no record that its SCHEMA refuses."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from tap_compose.sandbox import faults
from tap_compose.sandbox.account import Size
from tap_compose.sandbox.faults import Fault
from tap_compose.sandbox.server import Sandbox
from tests.support.contract import KEYS
from tests.support.tap_runs import Output, config_for, sync

SIZE = Size(deployments=3, events=150, recipes=3)

VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    10**40,
    1.5,
    1e308,
    "",
    "text",
    "2017-08-30T12:46:29Z",
    "99999-01-01T00:00:00Z",
    "NaN",
    "💾\u0000\u2028",
    "x" * 5000,
    [],
    {},
    [[]],
    [{}],
    {"id": {"id": 1}},
    {"_embedded": {"recipes": [{"_embedded": {"recipes": None}}]}},
]


def _changed(value: Any, random: Random) -> Any:
    """Change types, keys and lengths here and there."""
    if random.random() < 0.03:
        return random.choice(VALUES)
    if isinstance(value, dict):
        changed = {
            name: _changed(each, random) for name, each in value.items() if random.random() > 0.02
        }
        if random.random() < 0.03:
            changed[random.choice(["extra", "_links", "_embedded", "_id", "id"])] = random.choice(
                VALUES
            )
        return changed
    if isinstance(value, list):
        changed_list = [_changed(each, random) for each in value]
        if random.random() < 0.03:
            changed_list.append(random.choice(VALUES))
        return changed_list
    return value


def _fuzzed(body: bytes, random: Random) -> bytes:
    text = json.dumps(_changed(json.loads(body), random), allow_nan=True).encode()
    match random.randrange(12):
        case 0:
            place = random.randrange(len(text))
            return text[:place] + bytes([random.randrange(256)]) + text[place + 1 :]
        case 1:
            return text.replace(b"null", b"NaN", 1)
        case 2:
            return text.replace(b'":', b'\\ud800":', 1)
        case 3:
            return b"[" * random.choice([10, 100_000])
        case 4:
            return b"\n" + json.dumps(json.loads(text), indent=3).encode() + b"\n"
        case _:
            return text


def _check(output: Output) -> None:
    schemas = {
        message["stream"]: Draft202012Validator(message["schema"], format_checker=FormatChecker())
        for message in output.of_type("SCHEMA")
    }
    for message in map(json.loads, output.stdout.splitlines()):
        if message["type"] == "RECORD":
            schemas[message["stream"]].validate(message["record"])
    for stream, rows in output.rows.items():
        for row in rows:
            assert all(row[name] is not None for name in KEYS[stream])


@pytest.mark.parametrize("way", ["fast", "by the SDK"])
@pytest.mark.parametrize("seed", range(8))
def test_any_body_is_survived(seed: int, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(seed)
    monkeypatch.setitem(faults._SHAPES, "fuzz", lambda body: _fuzzed(body, random))
    settings = {} if way == "fast" else {"flattening_enabled": True, "flattening_max_depth": 0}
    # The list of deployments stays whole, so that every other endpoint is asked.
    paths = ["/deployments/*", "/[abctu]*", "/dat*"]
    with Sandbox(SIZE, faults=[Fault("fuzz", 0.7, path) for path in paths]) as sandbox:
        config = config_for(sandbox, include_connection_strings=True, **settings)
        output = sync(config)
    assert output.status in {0, 1}
    assert output.rows["deployments"]
    _check(output)


@pytest.mark.parametrize("seed", range(3))
def test_any_list_of_deployments_is_survived(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(seed)
    monkeypatch.setitem(faults._SHAPES, "fuzz", lambda body: _fuzzed(body, random))
    with Sandbox(
        SIZE, faults=[Fault("fuzz", 1.0, "/deployments"), Fault("fuzz", 1.0, "/accounts")]
    ) as sandbox:
        _check(sync(config_for(sandbox)))
