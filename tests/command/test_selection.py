"""The catalog's selection decides which requests are made."""

from __future__ import annotations

import pytest

from tap_compose.sandbox.made_up_account import Size
from tap_compose.sandbox.server import Sandbox
from tap_compose.settings import Shard
from tests.support.contract import FIELDS
from tests.support.tap_runs import catalog_of, config_for, sync
from tools.documents import requests_of

LISTS = {"/accounts", "/databases", "/deployments"}


def _needed(stream: str, sandbox: Sandbox) -> dict[str, int]:
    """The requests that a stream needs, worked out from docs/compose-api.md, Read endpoints."""
    account = sandbox.account
    if stream == "account_users":
        return {"/accounts": 1, **{f"/accounts/{each}/users": 1 for each in account.ids}}
    if stream == "database_versions":
        return {"/databases": 1}
    if not stream.startswith("deployment_"):
        return {f"/{stream}": 1}
    name = stream.removeprefix("deployment_").replace("health", "alerts")
    suffix = "" if name == "details" else f"/{name}"
    calls = {f"/deployments/{each}{suffix}": 1 for each in account.deployment_ids}
    if name in {"roles", "team_roles"}:  # the sandbox answers 401 for one, so the token is probed
        calls["/accounts"] = 1
    return {"/deployments": 1, **calls}


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


@pytest.mark.parametrize(
    ("streams", "path"),
    [
        (["databases", "database_versions"], "/databases"),
        (["accounts", "account_users"], "/accounts"),
        (["deployments", "deployment_addons"], "/deployments"),
    ],
)
def test_a_list_that_two_streams_need_is_asked_for_once(
    streams: list[str], path: str, sandbox: Sandbox
) -> None:
    sandbox.log.clear()
    output = sync(config_for(sandbox), streams=streams)
    assert output.rows.keys() == set(streams)
    assert sandbox.log.counts[path] == 1


def test_alerts_and_health_share_one_request_per_deployment(sandbox: Sandbox) -> None:
    sandbox.log.clear()
    output = sync(config_for(sandbox), streams=["deployment_alerts", "deployment_health"])
    assert output.rows.keys() == {"deployment_alerts", "deployment_health"}
    alerts = {each: n for each, n in sandbox.log.counts.items() if each.endswith("/alerts")}
    assert len(alerts) == len(sandbox.account.deployment_ids)
    assert set(alerts.values()) == {1}


def test_a_run_over_everything_asks_for_nothing_twice(sandbox: Sandbox) -> None:
    sandbox.log.clear()
    sync(config_for(sandbox))
    counts = sandbox.log.counts
    del counts["/audit_events"]
    del counts["/accounts"]  # asked for again to tell a refusal from a dead token
    assert set(counts.values()) == {1}
    assert not [each for each in counts if "/backups/" in each or "/logfiles/" in each]


def test_deselected_properties_are_left_out_and_keys_stay(sandbox: Sandbox) -> None:
    catalog = catalog_of("accounts", "teams")
    for entry in catalog["streams"]:
        for metadata in entry["metadata"]:
            if metadata["breadcrumb"] and metadata["breadcrumb"][-1] in {"name", "id"}:
                metadata["metadata"]["selected"] = False
    output = sync(config_for(sandbox), catalog=catalog)
    assert [set(row) for row in output.rows["accounts"]] == [{"id", "slug"}] * 2
    schema = next(each for each in output.of_type("SCHEMA") if each["stream"] == "accounts")
    assert set(schema["schema"]["properties"]) == {"id", "slug"}


@pytest.mark.parametrize("method", ["INCREMENTAL", "LOG_BASED"])
def test_a_full_table_stream_stays_one(
    method: str, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = catalog_of("clusters")
    entry = next(each for each in catalog["streams"] if each["tap_stream_id"] == "clusters")
    entry |= {"replication_method": method, "replication_key": "created_at"}
    output = sync(config_for(sandbox), catalog=catalog)
    assert len(output.rows["clusters"]) == 2
    assert output.bookmarks == {"clusters": {}}
    assert f"clusters cannot replicate by {method}, as the catalog says" in caplog.text


def test_an_incremental_stream_can_be_read_in_full(sandbox: Sandbox) -> None:
    catalog = catalog_of("audit_events", "deployment_recipes")
    for entry in catalog["streams"]:
        if "replication_key" in entry:
            entry["replication_method"] = "FULL_TABLE"
    state = {
        "bookmarks": {
            "audit_events": {
                "replication_key": "created_at",
                "replication_key_value": "2018-05-01T00:00:00.000Z",
            }
        }
    }
    output = sync(config_for(sandbox), catalog=catalog, state=state)
    assert len(output.rows["audit_events"]) == 1500
    assert output.bookmarks["audit_events"] == state["bookmarks"]["audit_events"]


def test_a_catalog_without_keys_or_schema_keeps_the_keys(sandbox: Sandbox) -> None:
    catalog = catalog_of("accounts")
    for entry in catalog["streams"]:
        del entry["key_properties"]
        for metadata in entry["metadata"]:
            metadata["metadata"].pop("table-key-properties", None)
    output = sync(config_for(sandbox), catalog=catalog)
    assert output.of_type("SCHEMA")[0]["key_properties"] == ["id"]


def test_a_run_logs_nothing_about_deselected_streams(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert sync(config_for(sandbox), streams=["teams", "user"]).rows.keys() == {"teams", "user"}
    names = {each.name.rpartition(".")[2] for each in caplog.records if "Beginning" in each.message}
    assert names == {"teams", "user"}
    assert "deselected" not in caplog.text
    assert "deployment_roles" not in caplog.text


def test_an_unknown_stream_in_the_catalog_is_named(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = catalog_of("accounts")
    catalog["streams"].append({**catalog["streams"][0], "tap_stream_id": "invoices"})
    output = sync(config_for(sandbox), catalog=catalog)
    assert output.status == 0
    assert output.rows.keys() == {"accounts"}
    assert "unknown stream invoices in the catalog is ignored" in caplog.text


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
    streams = ["deployment_health", "accounts"]
    shards = [
        sync(config_for(sandbox, deployment_shard=f"{part}/3"), streams=streams)
        for part in (1, 2, 3)
    ]
    ids = [row["deployment_id"] for each in shards for row in each.rows["deployment_health"]]
    assert len(ids) == len(set(ids)) == 11
    assert all(len(each.rows["deployment_health"]) >= 1 for each in shards)
    assert [len(each.rows.get("accounts", [])) for each in shards] == [2, 0, 0]


def test_deployments_stay_in_their_shards_when_others_come_and_go() -> None:
    parts = []
    for deployments in (20, 12):
        with Sandbox(Size(deployments=deployments, events=0, seed=7)) as sandbox:
            parts.append(
                {
                    row["deployment_id"]: part
                    for part in (1, 2, 3)
                    for row in sync(
                        config_for(sandbox, deployment_shard=f"{part}/3"),
                        streams=["deployment_scalings"],
                    ).rows["deployment_scalings"]
                }
            )
    many, few = parts
    assert len(few) == 11  # one is being deprovisioned
    assert few.items() <= many.items()


def test_the_shards_of_known_deployments() -> None:
    """Another way to split would read everybody's deployments anew."""
    known = {"5854b2a6c0d2a20011000001": 2, "5854b2a6c0d2a20011000002": 7}
    for deployment_id, part in known.items():
        assert [each for each in range(1, 9) if Shard(each, 8).holds(deployment_id)] == [part]
