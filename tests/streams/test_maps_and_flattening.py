"""What the SDK does to rows: stream maps, flattening, a selection within columns, metrics."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.expected import expected_rows
from tests.support.tap_runs import catalog_of, config_for, sync

if TYPE_CHECKING:
    from tap_compose.sandbox.server import Sandbox


def test_maps_change_and_drop_columns_and_drop_streams(sandbox: Sandbox) -> None:
    maps = {
        "audit_events": {"email": "__NULL__", "ip": None, "who": "md5(str(email))"},
        "teams": None,
        "clusters": "__NULL__",
    }
    streams = ["audit_events", "clusters", "teams", "user"]
    output = sync(config_for(sandbox, stream_maps=maps), streams=streams)
    assert output.status == 0
    assert output.rows.keys() == {"audit_events", "user"}
    rows = output.rows["audit_events"]
    assert len(rows) == 1500
    assert all(not {"email", "ip"} & row.keys() and len(row["who"]) == 32 for row in rows)
    output = sync(config_for(sandbox, stream_maps={"__else__": None}), streams=["user"])
    assert (output.status, output.rows) == (0, {})


@pytest.mark.parametrize("depth", [1, 2])
def test_flattening_fits_the_schema_and_loses_nothing(sandbox: Sandbox, depth: int) -> None:
    flattening = {"flattening_enabled": True, "flattening_max_depth": depth}
    config = config_for(sandbox, include_connection_strings=True, **flattening)
    output = sync(config)
    schemas = {each["stream"]: each["schema"]["properties"] for each in output.of_type("SCHEMA")}
    for stream, rows in output.rows.items():
        assert {name for row in rows for name in row} <= schemas[stream].keys(), stream
    events = {row["id"]: row["data"] for row in expected_rows(sandbox.account)["audit_events"]}
    assert {row["id"]: json.loads(row["data"]) for row in output.rows["audit_events"]} == events
    for row in output.rows["deployment_details"]:
        strings = sandbox.account.resource(row["id"], "")["connection_strings"]
        assert json.loads(row["connection_strings__misc"]) == strings["misc"]
        assert "connection_strings__direct" in row


def test_a_part_of_a_column_can_be_deselected(sandbox: Sandbox) -> None:
    catalog = catalog_of("deployment_details")
    for entry in catalog["streams"]:
        for metadata in entry["metadata"]:
            if metadata["breadcrumb"][-1:] == ["direct"]:
                metadata["metadata"]["selected"] = False
    config = config_for(sandbox, include_connection_strings=True)
    rows = sync(config, catalog=catalog).rows["deployment_details"]
    assert all("direct" not in row["connection_strings"] for row in rows)
    assert all("cli" in row["connection_strings"] for row in rows)
