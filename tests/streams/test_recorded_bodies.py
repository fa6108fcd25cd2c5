"""Bodies as they were recorded: every value in them comes out of the tap.

``recorded_bodies.json`` has them by path. They are written down from docs/compose-api.md, not taken
from the sandbox, so that the two are wrong in different ways, if at all. Values are shortened,
names and ids made up.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bodies import listed, sync_bodies

if TYPE_CHECKING:
    from tests.support.tap_runs import Output

BODIES: dict[str, Any] = json.loads(Path(__file__).with_name("recorded_bodies.json").read_text())
ACCOUNT = "52a50cb96230650018000000"
DEPLOYMENT = "5854b2a6c0d2a20011000001"
HERE = f"/deployments/{DEPLOYMENT}"

TIMES = {
    "2017-01-05T15:23:46.853-05:00": "2017-01-05T20:23:46.853Z",
    "2016-12-16T15:00:14.922Z": "2016-12-16T15:00:14.922Z",
}
"""A time in each spelling that is more than a missing fraction."""


def _leaves(value: Any) -> list[Any]:
    """Every value in a body, its links left out, times in the spelling of the tap."""
    if isinstance(value, dict):
        return [leaf for name, each in value.items() if name != "_links" for leaf in _leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in _leaves(each)]
    if isinstance(value, str):
        if value in TIMES:
            return [TIMES[value]]
        if len(value) == len("2017-08-30T12:46:29Z") and value[10:11] == "T":
            return [value.replace("Z", ".000Z")]
        if value.replace(".", "").isdigit():
            return [Decimal(value)] if value.count(".") < 2 else [value]
    return [Decimal(value)] if type(value) is int else [value]


@pytest.fixture(scope="module")
def recorded() -> Output:
    return sync_bodies(BODIES, include_connection_strings=True)


def test_every_value_comes_out(recorded: Output) -> None:
    assert recorded.status == 0
    found = [
        Decimal(leaf) if isinstance(leaf, str) and leaf.isdigit() else leaf
        for rows in recorded.rows.values()
        for leaf in _leaves(rows)
    ]
    for path, body in BODIES.items():
        missing = [leaf for leaf in _leaves(body) if leaf != "" and leaf not in found]
        assert missing == [], path


def test_nothing_is_null_that_was_not(recorded: Output) -> None:
    for stream, rows in recorded.rows.items():
        for row in rows:
            assert [name for name, value in row.items() if value is None] == [], stream


def test_connection_strings_are_lists_as_the_api_means_them(recorded: Output) -> None:
    (row,) = recorded.rows["deployment_details"]
    assert row["connection_strings"] == {
        "cli": ["psql -h portal.example"],
        "direct": ["postgres://admin:made-up@portal.example:15227/compose"],
        "health": ["http://portal.example/health"],
        "ssh": [],
        "admin": ["https://portal.example/admin"],
        "ssh_admin": ["ssh portal.example"],
        "maps": [{"10.0.24.69:9042": "portal.3.example:15227"}],
        "misc": {"cli_readonly": ["redis-cli"], "direct_readonly": [], "ssh_cli": []},
    }
    assert row["cluster_id"] == "5854a61cc1bf550011000002"  # from the link


@pytest.mark.parametrize("value", ["text", ["a", {"b": None}], 1.5])
def test_what_is_no_object_is_kept_in_a_free_form_column(
    value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (event,) = BODIES["/audit_events"]["_embedded"]["audit_events"]
    strings = {**BODIES[HERE]["connection_strings"], "misc": value, "maps": [value]}
    changed: dict[str, Any] = {
        "/audit_events": listed("audit_events", {**event, "data": value}),
        HERE: {**BODIES[HERE], "connection_strings": strings},
    }
    streams = ("audit_events", "deployment_details")
    output = sync_bodies({**BODIES, **changed}, *streams, include_connection_strings=True)
    assert output.status == 0
    wanted = {"_value": Decimal(str(value)) if value == 1.5 else value}
    (row,) = output.rows["audit_events"]
    assert row["data"] == wanted
    (row,) = output.rows["deployment_details"]
    assert row["connection_strings"]["misc"] == wanted
    assert row["connection_strings"]["maps"] == [wanted]
    assert "becomes null" not in caplog.text
