"""Bodies as they were recorded: every value in them comes out of the tap.

They are written down from docs/compose-api.md, not taken from the sandbox, so that the two
are wrong in different ways, if at all. Values are shortened, names and ids made up.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bodies import listed, sync_bodies

if TYPE_CHECKING:
    from tests.support.tap_runs import Output

ACCOUNT = "52a50cb96230650018000000"
CLUSTER = "5854a61cc1bf550011000002"
DEPLOYMENT = "5854b2a6c0d2a20011000001"
RECIPE = "59d79a2a5c5b7a0019000039"
API = "https://api.compose.io/2016-07"
HERE = f"/deployments/{DEPLOYMENT}"

PERSON = {"id": "58b7e1f3a1b2c30010000002", "name": "Ada Byron"}
SUMMARY = {
    "id": DEPLOYMENT,
    "name": "prod-postgresql",
    "type": "postgresql",
    "notes": "Owned by the platform team.",
    "customer_billing_code": "CC-1001",
    "created_at": "2017-01-05T15:23:46.853-05:00",
    "_links": {
        "compose_web_ui": {
            "href": "https://app.compose.io/northwind/deployments/prod{?embed}",
            "templated": True,
        },
        "cluster": {"href": f"{API}/clusters/{CLUSTER}{{?embed}}", "templated": True},
    },
}


def _recipe(recipe_id: str, parent_id: str | None, *parts: Any) -> dict[str, Any]:
    return {
        "id": recipe_id,
        "account_id": ACCOUNT,
        "parent_id": parent_id,
        "template": "Recipes::Deployment::Run",
        "status": "running",
        "status_detail": "\tRunning create_capsule on aws",
        "created_at": "2017-10-06T15:07:02Z",
        "updated_at": "2017-10-06T15:07:10Z",
        "operations_complete": 0,
        "operations_total": 3,
        "deployment_id": DEPLOYMENT,
        "name": "Creating haproxy portal",
        "source": "customer_api",
        "source_user": PERSON["id"],
        "source_reason": "requested",
        "source_ip": "203.0.113.117",
        "_embedded": {"recipes": list(parts)},
    }


BODIES: dict[str, Any] = {
    "/accounts": listed("accounts", {"id": ACCOUNT, "name": "Northwind", "slug": "northwind"}),
    f"/accounts/{ACCOUNT}/users": listed("users", PERSON),
    "/user": PERSON,
    "/teams": listed("teams", {"id": "t", "name": "Platform", "users": [PERSON]}),
    "/audit_events": listed(
        "audit_events",
        {
            "id": "59d79a2a5c5b7a0019000001",
            "account_id": ACCOUNT,
            "deployment_id": DEPLOYMENT,
            "cluster_id": CLUSTER,
            "user_id": PERSON["id"],
            "email": "ada@northwind.example",
            "event": "deployment.scale.members",
            "ip": "203.0.113.5",
            "user_agent": "Go-http-client/1.1",
            "created_at": "2016-12-16T15:00:14.922Z",
            "data": {"units": "2", "memory": "2 GB", "storage": "4 GB", "deployment": "prod"},
            "_links": {"self": {"href": f"{API}/audit_events/1{{?embed}}", "templated": True}},
        },
    ),
    "/billables": listed(
        "billables",
        {
            "id": "b",
            "account_id": ACCOUNT,
            "amount": "18.50",
            "start_at": "2017-08-30T12:46:29Z",
            "end_at": "9999-12-31T23:59:59Z",
            "description": "2 data units",
            "identifier": "prod",
            "resource_identifier": "haproxy",
            "sku": "pg-unit",
            "units": 2,
            "replaces_id": "a",
        },
    ),
    "/clusters": listed(
        "clusters",
        {
            "id": CLUSTER,
            "account_id": ACCOUNT,
            "account_slug": "northwind",
            "name": "gds-eu-west1-c00",
            "type": "private",
            "provider": "gcp",
            "region": "europe-west1",
            "subdomain": "c00",
            "multitenant": False,
            "created_at": "2017-08-30T12:46:29Z",
            "tags": ["eu"],
        },
    ),
    "/databases": listed(
        "applications",
        {
            "type": "elastic_search",
            "status": "stable",
            "display_name": "Elasticsearch",
            "_embedded": {
                "versions": [
                    {
                        "application": "elastic_search",
                        "status": "deprecated",
                        "preferred": False,
                        "version": "2.4.0",
                    }
                ]
            },
        },
    ),
    "/datacenters": listed(
        "datacenters", {"region": "us-east-1", "provider": "aws", "slug": "aws:us-east-1"}
    ),
    "/deployments": listed("deployments", SUMMARY),
    HERE: {
        **SUMMARY,
        "account_id": ACCOUNT,
        "cluster_id": "",  # before September 2017 the link alone had it
        "version": "9.6.3",
        "ca_certificate_base64": "LS0tLS1CRUdJTg==",
        "provision_recipe_id": RECIPE,
        "connection_strings": {
            "cli": ["psql -h portal.example"],
            "direct": ["postgres://admin:made-up@portal.example:15227/compose"],
            "health": "http://portal.example/health",
            "ssh": "",
            "admin": ["https://portal.example/admin"],
            "ssh_admin": ["ssh portal.example"],
            "maps": [{"10.0.24.69:9042": "portal.3.example:15227"}],
            "misc": {"cli_readonly": ["redis-cli"], "direct_readonly": [], "ssh_cli": []},
        },
    },
    f"{HERE}/addons": {"addons": [{"name": "new_relic", "is_active": True}]},
    f"{HERE}/alerts": listed(
        "alerts",
        {
            "capsule_id": "c",
            "deployment_id": DEPLOYMENT,
            "name": "disk",
            "message": "Disk is 91% full.",
            "status": "warning",
        },
        summary="warning",
    ),
    f"{HERE}/backups": listed(
        "backups",
        {
            "id": "k",
            "deployment_id": DEPLOYMENT,
            "name": "prod_2017-10-06_15-07_utc_daily",
            "type": "daily",
            "status": "complete",
            "is_downloadable": True,
            "is_restorable": False,
            "created_at": "2017-10-06T15:07:10Z",
            "_links": {"self": {"href": f"deployments/{DEPLOYMENT}/backups/k{{?embed}}"}},
        },
    ),
    f"{HERE}/logfiles": listed(
        "logfiles",
        {
            "id": "l",
            "deployment_id": DEPLOYMENT,
            "capsule_id": "c",
            "name": "2017-10-06.log.gz",
            "region": "us-east-1",
            "status": "complete",
            "file_size": "1048576",
            "date": "2017-10-06T00:00:00Z",
            "created_at": "2017-10-07T00:05:00Z",
        },
    ),
    f"{HERE}/portals": listed(
        "portals",
        {
            "id": "p",
            "name": "haproxy0",
            "type": "haproxy",
            "internal_ip": "10.0.24.69",
            "zone": "us-east-1a",
            "hostname": "portal.example",
            "ssl_enabled": True,
        },
    ),
    f"{HERE}/portal_users": listed("portal_users", {"id": "u", "name": "ada", "type": "ssh"}),
    f"{HERE}/recipes": listed("recipes", _recipe(RECIPE, "r0", _recipe("r1", RECIPE))),
    f"{HERE}/roles": listed("roles", {"name": "admin", "users": [PERSON]}),
    f"{HERE}/team_roles": listed(
        "team_roles",
        {"name": "manager", "teams": [{"id": "t", "name": "Platform", "users": [PERSON]}]},
    ),
    f"{HERE}/scalings": {
        "allocated_units": 1,
        "used_units": 1,
        "starting_units": 1,
        "minimum_units": 1,
        "unit_size_in_mb": 1024,
        "memory_per_unit_in_mb": 102,
        "storage_per_unit_in_mb": 1024,
        "unit_type": "data",
    },
    f"{HERE}/versions": listed(
        "transitions",
        {
            "application": "postgresql",
            "method": "in_place",
            "from_version": "9.6.3",
            "to_version": "9.6.5",
        },
    ),
    f"{HERE}/whitelist": listed(
        "whitelist", {"id": "w", "description": "Office", "ip": "203.0.113.0/24"}
    ),
}

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
    assert row["cluster_id"] == CLUSTER


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
