"""What a catalog, deployment_ids and deployment_shard choose; nothing else changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tap_compose.settings import Shard
from tests.support.contract import FIELDS, PATHS
from tests.support.tap_runs import Message, Output, catalog_of, config_for, discover, sync
from tools.documents import requests_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_compose.sandbox.server import Sandbox

Catalog = dict[str, Any]
Entry = dict[str, Any]


def _needed(stream: str, sandbox: Sandbox) -> dict[str, int]:
    """How often a stream requests each path."""
    account, path = sandbox.account, PATHS[stream]
    if ":account" in path:
        return {"/accounts": 1, **{path.replace(":account", each): 1 for each in account.ids}}
    if ":deployment" not in path:
        return {path: 1}
    needed = {path.replace(":deployment", each): 1 for each in account.deployment_ids}
    if path.endswith("roles"):  # the sandbox answers 401 for one, so the token is probed
        needed["/accounts"] = 1
    return {"/deployments": 1, **needed}


@pytest.mark.parametrize("stream", sorted(FIELDS))
def test_one_stream_makes_only_the_requests_that_it_needs(stream: str, sandbox: Sandbox) -> None:
    sandbox.log.clear()
    output = sync(config_for(sandbox, max_concurrency=1), streams=[stream])
    assert output.rows.keys() == {stream}
    assert [each["stream"] for each in output.of_type("SCHEMA")] == [stream]
    counts = dict(sandbox.log.counts)
    if stream == "audit_events":
        pages = counts.pop("/audit_events")
        assert 15 <= pages <= 35  # the events come in bursts
        assert counts == {}
    else:
        assert counts == _needed(stream, sandbox)
    ids = sandbox.account.deployment_ids
    cost = requests_of(stream)
    assert ("per deployment" in cost) == (sum(counts.values()) > len(ids))
    assert ("per deployment" in cost) == stream.startswith("deployment_")


def test_a_run_over_everything_asks_for_nothing_twice(sandbox: Sandbox) -> None:
    sandbox.log.clear()
    sync(config_for(sandbox))
    counts = sandbox.log.counts
    del counts["/audit_events"]
    del counts["/accounts"]  # asked for again to tell a refusal from a dead token
    assert set(counts.values()) == {1}
    assert not [each for each in counts if "/backups/" in each or "/logfiles/" in each]


def test_a_full_table_stream_stays_one(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    catalog = catalog_of("clusters")
    entry = next(each for each in catalog["streams"] if each["tap_stream_id"] == "clusters")
    entry |= {"replication_method": "INCREMENTAL", "replication_key": "created_at"}
    output = sync(config_for(sandbox), catalog=catalog)
    assert len(output.rows["clusters"]) == 2
    assert output.bookmarks == {"clusters": {}}
    assert "clusters cannot replicate by INCREMENTAL, as the catalog says" in caplog.text


def test_an_incremental_stream_can_be_read_in_full(sandbox: Sandbox) -> None:
    catalog = catalog_of("audit_events", "deployment_recipes")
    for entry in catalog["streams"]:
        if "replication_key" in entry:
            entry["replication_method"] = "FULL_TABLE"
    value = "2018-05-01T00:00:00.000Z"
    bookmark = {"replication_key": "created_at", "replication_key_value": value}
    state = {"bookmarks": {"audit_events": bookmark}}
    output = sync(config_for(sandbox), catalog=catalog, state=state)
    assert len(output.rows["audit_events"]) == 1500
    assert output.bookmarks["audit_events"] == bookmark


def test_chosen_deployments(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    chosen = sandbox.account.deployment_ids[2:4]
    output = sync(
        config_for(sandbox, deployment_ids=[*chosen, "no-such-id"]),
        streams=["deployments", "deployment_scalings"],
    )
    assert [row["deployment_id"] for row in output.rows["deployment_scalings"]] == chosen
    assert len(output.rows["deployments"]) == 12
    assert "skipped: deployment_ids: the account has no deployment no-such-id" in caplog.text
    assert output.status == 0


def test_shards_are_disjoint_and_together_whole(sandbox: Sandbox) -> None:
    streams = ["deployment_health", "accounts", "coverage"]
    shards = [
        sync(config_for(sandbox, deployment_shard=f"{part}/3"), streams=streams)
        for part in (1, 2, 3)
    ]
    assert [each.status for each in shards] == [0, 0, 0]
    ids = [row["deployment_id"] for each in shards for row in each.rows["deployment_health"]]
    assert len(ids) == len(set(ids)) == 11
    assert all(len(each.rows["deployment_health"]) >= 1 for each in shards)
    assert [len(each.rows.get("accounts", [])) for each in shards] == [2, 0, 0]
    covered = [row["deployment_id"] for each in shards for row in each.coverage]
    assert sorted(covered) == sorted(["", *sandbox.account.deployment_ids])
    nothing = sync(config_for(sandbox, deployment_shard="2/2"), streams=["accounts"])
    assert (nothing.status, nothing.rows) == (0, {})


def test_the_shards_of_known_deployments() -> None:
    """Another way to split would read everybody's deployments anew."""
    known = {"5854b2a6c0d2a20011000001": 2, "5854b2a6c0d2a20011000002": 7}
    for deployment_id, part in known.items():
        assert [each for each in range(1, 9) if Shard(each, 8).holds(deployment_id)] == [part]


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


@pytest.mark.parametrize("edit", [lambda _: None, _without_replication], ids=["whole", "part"])
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


def _edited(edit: Callable[[Entry], Any], *streams: str) -> dict[str, Any]:
    catalog = catalog_of(*streams)
    for entry in catalog["streams"]:
        if entry["tap_stream_id"] in streams:
            edit(entry)
    return catalog


@pytest.mark.parametrize(
    "edit",
    [
        lambda entry: entry.update(stream="another"),
        lambda entry: entry.update(key_properties=["name"]),
        lambda entry: entry.update(schema={}),
        lambda entry: entry.update(metadata=[]),
    ],
    ids=["stream", "keys", "no schema", "no metadata"],
)
def test_a_catalog_that_says_little_or_too_much_changes_nothing(
    edit: Callable[[Entry], Any], sandbox: Sandbox, whole: Output
) -> None:
    streams = ("audit_events", "deployments", "teams")
    output = sync(config_for(sandbox), catalog=_edited(edit, *streams))
    assert output.status == 0
    assert output.rows == {each: whole.rows[each] for each in streams}
    schemas = [each for each in whole.of_type("SCHEMA") if each["stream"] in streams]
    assert output.of_type("SCHEMA") == schemas


def _without_keys(entry: Entry) -> None:
    for key in ("id", "created_at"):
        entry["schema"]["properties"].pop(key, None)


def _deselected(entry: Entry) -> None:
    entry["metadata"] = [{"breadcrumb": [], "metadata": {"selected": True}}]
    for each in ("id", "created_at", "name"):
        metadata = {"inclusion": "available", "selected": False}
        entry["metadata"].append({"breadcrumb": ["properties", each], "metadata": metadata})


@pytest.mark.parametrize("edit", [_without_keys, _deselected])
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
