"""What docs/privacy.md promises."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import ROOT
from tests.support.tap_runs import Output, config_for, discover, sync
from tools.documents import MARKS

if TYPE_CHECKING:
    from tap_compose.sandbox.server import Sandbox

PAGE = (ROOT / "docs" / "privacy.md").read_text()
_, _BLOCK, *_ = re.split(r"```(?:json)?\n", PAGE[PAGE.index("```json") - 1 :])
CONFIG: dict[str, Any] = json.loads(_BLOCK)

Rows = dict[str, list[dict[str, Any]]]

HARMLESS = {("deployments", "name"), ("clusters", "name"), ("clusters", "region")}
"""Columns whose words occur in free text too."""


def sensitive_texts_in(rows: Rows, whole: Rows) -> set[str]:
    """Return the sensitive texts that are still in rows.

    Args:
        rows: What was written with the page's config.
        whole: What is written without it.
    """
    sensitive: set[str] = set()
    for entry in discover()["streams"]:
        for row in whole.get(entry["tap_stream_id"], []):
            _collect(row, entry["schema"]["properties"], sensitive)
    assert "Ada Byron" in sensitive
    for pattern in (r".+@.+", r"[\d.]+", r"[\d.]+/32"):
        assert any(re.fullmatch(pattern, each) for each in sensitive), pattern
    for stream, column in HARMLESS:
        for row in whole[stream]:
            sensitive -= _texts(row[column])
    return {text for text in sensitive & _texts(rows) if len(text) > 3}


def _collect(row: Any, properties: dict[str, Any], found: set[str]) -> None:
    """Add every text in a column that is marked as sensitive."""
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


def test_the_config_of_the_page_lets_nothing_sensitive_out(sandbox: Sandbox, whole: Output) -> None:
    output = sync({**CONFIG, **config_for(sandbox)})
    assert output.status == 0
    assert sensitive_texts_in(output.rows, whole.rows) == set()
    ids = {row["id"] for row in whole.rows["account_users"]}
    assert not ids & _texts(output.rows)
    hashed = {
        hashlib.sha256(f"{CONFIG['stream_map_config']['hash_seed']}{each}".encode()).hexdigest()
        for each in ids
    }
    assert {row["id"] for row in output.rows["account_users"]} == hashed
    assert {row["user_id"] for row in output.rows["audit_events"]} & hashed
    assert len(output.rows["audit_events"]) == len(whole.rows["audit_events"])


@pytest.mark.parametrize("stream", ["audit_events", "deployment_roles", "teams"])
def test_the_config_of_the_page_fits_any_selection(stream: str, sandbox: Sandbox) -> None:
    output = sync({**CONFIG, **config_for(sandbox)}, streams=[stream])
    assert output.status == 0
    assert set(output.rows) == {stream}
