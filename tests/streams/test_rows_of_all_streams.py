"""What goes out is what the API holds, value by value, and fits its own SCHEMA."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from tap_compose.sandbox.made_up_account import Account
from tests.support.contract import COVERAGE, COVERAGE_KEY, FIELDS, KEYS, REPLICATION_KEYS
from tests.support.expected import expected_rows
from tests.support.tap_runs import Output, config_for, discover, sync

if TYPE_CHECKING:
    from tap_compose.sandbox.server import Sandbox

STREAMS = sorted(FIELDS)


@pytest.fixture(scope="module")
def expected(sandbox: Sandbox) -> dict[str, list[dict[str, Any]]]:
    return expected_rows(sandbox.account)


@pytest.mark.parametrize("stream", STREAMS)
def test_rows_are_what_the_sandbox_holds(
    stream: str, whole: Output, expected: dict[str, list[dict[str, Any]]]
) -> None:
    assert expected[stream], "a stream without rows shows nothing"
    rows, wanted = whole.rows[stream], expected[stream]
    if stream == "audit_events":  # events of one instant have no order of their own
        rows, wanted = (
            sorted(each, key=lambda row: (row["created_at"], row["id"])) for each in (rows, wanted)
        )
    assert rows == wanted


@pytest.mark.parametrize("stream", STREAMS)
def test_rows_fit_their_schema_and_keys_are_unique(stream: str, whole: Output) -> None:
    (message,) = (each for each in whole.of_type("SCHEMA") if each["stream"] == stream)
    assert message["key_properties"] == KEYS[stream]
    validator = Draft202012Validator(message["schema"], format_checker=FormatChecker())
    rows = whole.rows[stream]
    assert [error for row in rows for error in validator.iter_errors(row)] == []
    keys = {tuple(row[name] for name in KEYS[stream]) for row in rows}
    assert len(keys) == len(rows)
    assert not any(None in key for key in keys)


def test_the_sandbox_fills_every_column() -> None:
    empty = {
        f"{stream}.{name}"
        for stream, rows in expected_rows(Account()).items()
        for name in FIELDS[stream]
        if all(row[name] is None for row in rows)
    }
    assert empty == {
        "deployment_details.connection_strings",  # filled if include_connection_strings is set
        "deployment_recipes.source_reason",  # null in what was recorded
    }


def test_every_documented_field_is_a_described_column() -> None:
    columns = {**FIELDS, "coverage": COVERAGE}
    for entry in discover()["streams"]:
        _check_columns(columns[entry["tap_stream_id"]], entry["schema"]["properties"])


def _check_columns(fields: dict[str, Any], columns: dict[str, Any]) -> None:
    assert set(columns) == set(fields)
    for name, kind in fields.items():
        column = columns[name]
        assert column["description"], name
        if isinstance(kind, list):
            assert column["type"] == ["array", "null"]
            column = column["items"]
        member = kind[0] if isinstance(kind, list) else kind
        if isinstance(member, dict):
            assert "object" in column["type"]
            _check_columns(member, column["properties"])
        elif member == "time":
            assert (column["type"][0], column["format"]) == ("string", "date-time")
        else:
            assert member in column["type"], name


def test_streams_keys_and_replication_do_not_change() -> None:
    entries = discover()["streams"]
    assert [each["tap_stream_id"] for each in entries] == sorted([*STREAMS, "coverage"])
    for entry in entries:
        stream = entry["tap_stream_id"]
        assert entry["key_properties"] == {**KEYS, "coverage": COVERAGE_KEY}[stream]
        assert entry.get("replication_key") == REPLICATION_KEYS.get(stream)
        method = "INCREMENTAL" if stream in REPLICATION_KEYS else "FULL_TABLE"
        assert entry["replication_method"] == method


def test_one_schema_and_one_state_per_stream(whole: Output) -> None:
    streams = Counter(each["stream"] for each in whole.of_type("SCHEMA"))
    assert streams == Counter([*STREAMS, "coverage"])
    progress = Counter(list(each["value"]["bookmarks"])[-1] for each in whole.of_type("STATE"))
    assert progress.pop("audit_events") > 1  # one for each window
    assert set(progress.values()) == {1}


def test_connection_strings_only_when_asked_for(sandbox: Sandbox) -> None:
    config = config_for(sandbox, include_connection_strings=True)
    rows = sync(config, streams=["deployment_details"]).rows["deployment_details"]
    account = sandbox.account
    assert rows == expected_rows(account, connection_strings=True)["deployment_details"]
    wires = [account.resource(row["id"], "")["connection_strings"] for row in rows]
    assert {type(wire["admin"]) for wire in wires} == {list, str}
    assert any(wire["maps"] for wire in wires)
