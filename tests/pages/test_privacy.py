"""What docs/privacy.md promises."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from tests.support import ROOT
from tests.support.tap_runs import Output, config_for, discover, sync
from tools.documents import MARKS

if TYPE_CHECKING:
    from tap_compose.sandbox.made_up_account import Account
    from tap_compose.sandbox.server import Sandbox

PAGE = (ROOT / "docs" / "privacy.md").read_text()


def _config() -> dict[str, Any]:
    text = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert text is not None
    config: dict[str, Any] = json.loads(text[1])
    return config


def _sensitive(output: Output) -> set[str]:
    """Every text in a column that is marked as sensitive."""
    found: set[str] = set()
    for entry in discover()["streams"]:
        for row in output.rows[entry["tap_stream_id"]]:
            _collect(row, entry["schema"]["properties"], found)
    return found


def _collect(row: Any, properties: dict[str, Any], found: set[str]) -> None:
    for name, schema in properties.items():
        value = row.get(name)
        if schema["description"].endswith(tuple(f" {mark}." for mark in MARKS)):
            found.update(_texts(value))
        inner = schema.get("items", schema).get("properties")
        if inner:
            for each in value if isinstance(value, list) else [value] if value else []:
                _collect(each, inner, found)


def _texts(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value}
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {text for each in values for text in _texts(each)}


def test_the_config_of_the_page_lets_nothing_sensitive_out(
    sandbox: Sandbox, whole: Output, account: Account
) -> None:
    sensitive = {each for each in _sensitive(whole) if len(each) > 3}
    assert {"Ada Byron", "203.0.113.1/32", "198.51.100.1"} <= sensitive
    assert any("@" in each for each in sensitive)
    output = sync({**_config(), **config_for(sandbox)})
    assert output.status == 0
    # Only values: a column may well be called as somebody's backup is.
    rest: set[str] = set()
    for rows in output.rows.values():
        for row in rows:
            rest |= _texts(row)
    # Words that occur in free text and in harmless columns alike.
    harmless = {
        text
        for name, rows in whole.rows.items()
        for row in rows
        for column, value in row.items()
        for text in _texts(value)
        if (name, column) in {("deployments", "name"), ("clusters", "name"), ("clusters", "region")}
    }
    assert rest & (sensitive - harmless) == set()

    ids = {row["id"] for row in whole.rows["account_users"]}
    assert ids & rest == set()
    hashed = {
        hashlib.sha256(f"{_config()['stream_map_config']['hash_seed']}{each}".encode()).hexdigest()
        for each in ids
    }
    assert {row["id"] for row in output.rows["account_users"]} == hashed
    actors = {row["user_id"] for row in output.rows["audit_events"]} - {None}
    assert actors & hashed
    assert len(output.rows["audit_events"]) == len(account.events)


def test_connection_strings_stay_in_unless_asked_for(sandbox: Sandbox, whole: Output) -> None:
    assert {row["connection_strings"] for row in whole.rows["deployment_details"]} == {None}
    output = sync(
        config_for(sandbox, include_connection_strings=True), streams=["deployment_details"]
    )
    assert all(row["connection_strings"] for row in output.rows["deployment_details"])
