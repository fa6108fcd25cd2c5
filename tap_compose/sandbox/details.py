"""The body of a deployment's details."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_compose.sandbox.data import API, Body, Deployment, link
from tap_compose.sandbox.recipes import provision_recipe_id

if TYPE_CHECKING:
    from random import Random


def details(deployment: Deployment, random: Random) -> Body:
    """Return what the details have and the entry in the list of deployments lacks."""
    own = f"{API}/deployments/{deployment.id}"
    body: Body = {
        "account_id": deployment.account_id,
        "cluster_id": deployment.cluster_id,
        "version": deployment.version,
        "ca_certificate_base64": None  # as with Let's Encrypt
        if deployment.index % 2
        else "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t",
        "provision_recipe_id": provision_recipe_id(deployment),
        "connection_strings": _connection_strings(deployment, random),
        "_links": {
            **{name: link(f"{own}/{name}") for name in ("scalings", "backups", "alerts")},
            "cluster": link(f"{API}/clusters/{deployment.cluster_id}"),
            "portal_users": link(f"{own}/portal_users"),
        },
    }
    if deployment.has_quirk(every=3):  # as before 2017-09
        if deployment.index % 2:
            del body["cluster_id"]
        else:
            body["cluster_id"] = ""
    return body


def _connection_strings(deployment: Deployment, random: Random) -> Body:
    kind = deployment.database.type
    password = f"sandbox-password-{random.getrandbits(48):012x}"
    name = f"portal.{deployment.index}.northwind.example"
    host = f"{name}:{10_000 + deployment.index}"
    client = f"client --host {host} --user admin --password {password}"
    direct = f"{kind}://admin:{password}@{host}/compose"
    admin = f"https://admin:{password}@admin.{host}"
    strings: dict[str, Any] = {
        "health": [f"https://{host}/health"] if kind in {"elastic_search", "etcd"} else [],
        "ssh": [f"ssh -p 22 compose@{name}"] if kind in {"redis", "disque"} else [],
        "admin": [admin] if kind in {"mongodb", "rabbitmq", "rethink"} else [],
        "ssh_admin": [],
    }
    if deployment.has_quirk(every=4):  # as before 2017-11
        strings = {each: value[0] if value else "" for each, value in strings.items()}
    return {
        **strings,
        "cli": [client],
        "direct": [direct],
        "maps": [
            {f"10.0.{deployment.index % 250}.{node + 2}:9042": f"portal.{node}.example:15227"}
            for node in range(3)
        ]
        if kind == "scylla"
        else [],
        "misc": {
            "cli_readonly": [f"{client} --readonly"],
            "direct_readonly": [f"{direct}?readonly=true"],
            "ssh_cli": [f"ssh -p 22 compose@{name} {client}"],
        }
        if kind == "redis"
        else {},
    }
