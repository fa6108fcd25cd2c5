"""A catalog chooses streams and columns; it changes nothing else that goes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.tap_runs import Message, Output, catalog_of, config_for, discover, sync

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_compose.sandbox.server import Sandbox

Catalog = dict[str, Any]
Entry = dict[str, Any]


def _as_discovered(_catalog: Catalog) -> None:
    pass


def _without_replication(catalog: Catalog) -> None:
    """As Meltano and hand-edited catalogs have it: nothing says how a stream is replicated."""
    for entry in catalog["streams"]:
        entry.pop("replication_method", None)
        entry.pop("replication_key", None)
        for metadata in entry["metadata"]:
            for name in ("replication-key", "forced-replication-method", "valid-replication-keys"):
                metadata["metadata"].pop(name, None)


def _comparable(output: Output) -> list[Message]:
    """The messages of a run, without what differs from run to run."""
    changing = {"time_extracted", "version"}
    messages = [
        {name: value for name, value in message.items() if name not in changing}
        for message in output.messages
    ]
    for each in messages:
        each.get("record", {}).pop("read_at", None)
    return messages


@pytest.mark.parametrize("edit", [_as_discovered, _without_replication])
def test_a_run_with_a_catalog_sends_the_same_messages(
    edit: Callable[[Catalog], None], sandbox: Sandbox
) -> None:
    catalog = discover()
    edit(catalog)
    # One at a time: in which order windows of the audit log come back decides where a STATE is.
    config = config_for(sandbox, emit_activate_version_messages=True, max_concurrency=1)
    without, with_catalog = sync(config), sync(config, catalog=catalog)
    assert _comparable(with_catalog) == _comparable(without)
    incremental = {"audit_events": ["created_at"], "deployment_recipes": ["updated_at"]}
    bookmarks = {
        each["stream"]: each.get("bookmark_properties") for each in without.of_type("SCHEMA")
    }
    assert bookmarks == {name: incremental.get(name) for name in bookmarks}
    assert len(without.of_type("ACTIVATE_VERSION")) > len(incremental)


def test_a_catalog_that_selects_nothing_is_refused(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.log.clear()
    output = sync(config_for(sandbox), streams=[])
    assert (output.status, output.stdout, sandbox.log.paths) == (1, b"", [])
    assert caplog.messages[-1] == (
        "the catalog selects no stream: nothing to sync; "
        'set "selected": true in the metadata of the streams that you want'
    )


def test_a_shard_with_nothing_to_do_ends_well(sandbox: Sandbox) -> None:
    output = sync(config_for(sandbox, deployment_shard="2/2"), streams=["accounts"])
    assert (output.status, output.rows) == (0, {})


def _edited(edit: Callable[[Entry], Any], *streams: str) -> dict[str, Any]:
    catalog = catalog_of(*streams)
    for entry in catalog["streams"]:
        if entry["tap_stream_id"] in streams:
            edit(entry)
    return catalog


def _ref(entry: Entry) -> None:
    columns = entry["schema"]["properties"]
    entry["schema"]["properties"] = {name: {"$ref": "#/definitions/x"} for name in columns}


@pytest.mark.parametrize(
    "edit",
    [
        lambda entry: entry.update(stream="another"),
        lambda entry: entry.update(stream=None),
        lambda entry: entry.update(key_properties=["name"]),
        lambda entry: entry["schema"].update(properties={}),
        lambda entry: entry.update(schema={}),
        lambda entry: entry.update(schema={"$ref": "#/definitions/x"}),
        _ref,
        lambda entry: entry.update(metadata=[]),
    ],
    ids=["stream", "null", "keys", "no properties", "no schema", "a $ref", "$refs", "no metadata"],
)
def test_a_catalog_that_says_little_or_too_much_changes_nothing(
    edit: Callable[[Entry], Any], sandbox: Sandbox
) -> None:
    streams = ("audit_events", "deployments", "teams")
    usual = sync(config_for(sandbox), catalog=catalog_of(*streams))
    output = sync(config_for(sandbox), catalog=_edited(edit, *streams))
    assert output.status == 0
    assert output.rows == usual.rows
    assert output.of_type("SCHEMA") == usual.of_type("SCHEMA")


def _without_keys(entry: Entry) -> None:
    for key in ("id", "created_at"):
        entry["schema"]["properties"].pop(key, None)


def _deselected(entry: Entry) -> None:
    columns = ("id", "created_at", "name")
    entry["metadata"] = [
        {"breadcrumb": [], "metadata": {"selected": True}},
        *(
            {
                "breadcrumb": ["properties", each],
                "metadata": {"inclusion": "available", "selected": False},
            }
            for each in columns
        ),
    ]


def _unsupported(entry: Entry) -> None:
    for metadata in entry["metadata"]:
        if metadata["breadcrumb"]:
            metadata["metadata"]["inclusion"] = "unsupported"


@pytest.mark.parametrize("edit", [_without_keys, _deselected, _unsupported])
def test_keys_go_out_whatever_a_catalog_says(
    edit: Callable[[Entry], Any], sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    output = sync(config_for(sandbox), catalog=_edited(edit, "audit_events", "teams"))
    assert output.status == 0
    schemas = {each["stream"]: each["schema"]["properties"] for each in output.of_type("SCHEMA")}
    for stream, keys in {"audit_events": {"id", "created_at"}, "teams": {"id"}}.items():
        assert keys <= schemas[stream].keys()
        assert output.rows[stream]
        assert all(row.keys() == schemas[stream].keys() for row in output.rows[stream])
        assert all(row["id"] for row in output.rows[stream])
    left_out = [each for each in caplog.messages if "the catalog leaves out" in each]
    assert left_out == [
        f"{stream}: the catalog leaves out the key {keys}"
        for stream, keys in (("audit_events", "created_at, id"), ("teams", "id"))
        if edit is _without_keys
    ]
