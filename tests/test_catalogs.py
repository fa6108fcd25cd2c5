"""A catalog chooses streams and columns; it changes nothing else that goes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.tap_runs import Message, Output, config_for, discover, sync

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_compose.sandbox.server import Sandbox

Catalog = dict[str, Any]


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
    return [
        {name: value for name, value in message.items() if name not in changing}
        for message in output.messages
    ]


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
