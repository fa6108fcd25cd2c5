"""The body of a deployment's details."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from tap_compose.sandbox.data import API, Body, link
from tap_compose.sandbox.recipe_bodies import provision_recipe_id

if TYPE_CHECKING:
    from random import Random

    from tap_compose.sandbox.history import Deployment

_CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBEDCBtgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlOb3J0aHdpbmQwHhcN
MTUwMzAyMDkwMDAwWhcNMzUwMzAyMDkwMDAwWjAUMRIwEAYDVQQDDAlOb3J0aHdp
bmQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARZXFpcQuaA1Kpnjx1l4wNR0Zoa
sqOl5JOHp8tx8Mvo8FU3VEvD9B+BqnQv3rEjfr0geBk5HxDqdEnvPhhuPPfBMAoG
CCqGSM49BAMCA0kAMEYCIQCTkqXApAoO+xgBM3ts254sJADeQPt5A3BQn5vXB21C
tAIhAK9Gc8B//3JAyeCEAD/StyaV7NdaGgtIYJCLjd22fx5N
-----END CERTIFICATE-----
"""
"""Of nobody: its key was thrown away."""

_DIRECT = {
    "postgresql": "postgres://{user}@{host}/compose",
    "redis": "rediss://{user}@{host}",
    "mongodb": "mongodb://{user}@{host},{other}/compose?ssl=true",
    "rabbitmq": "amqps://{user}@{host}/compose",
    "mysql": "mysql://{user}@{host}/compose",
    "rethink": "rethinkdb://{user}@{host}",
    "disque": "disque://{user}@{host}",
}
"""Known are those of PostgreSQL, Redis, MongoDB, and two of HTTPS for Elasticsearch."""


def details(deployment: Deployment, random: Random) -> Body:
    """Return what the details have and the entry in the list of deployments lacks."""
    own = f"{API}/deployments/{deployment.id}"
    body: Body = {
        "account_id": deployment.account_id,
        "cluster_id": deployment.cluster_id,
        "version": deployment.version,
        "ca_certificate_base64": None  # as with Let's Encrypt
        if deployment.index % 2
        else b64encode(_CERTIFICATE.encode()).decode(),
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
    user = f"admin:{password}"
    names = [f"portal{number}-{deployment.index}.northwind.example" for number in range(2)]
    host, other = (f"{name}:{10_000 + deployment.index}" for name in names)
    client = f"client --host {host} --user admin --password {password}"
    direct = [_DIRECT.get(kind, "https://{user}@{host}").format(user=user, host=host, other=other)]
    if kind == "elastic_search":
        direct.append(f"https://{user}@{other}")
    strings: dict[str, Any] = {
        "health": [f"https://{host}/health"] if kind in {"elastic_search", "etcd"} else [],
        "ssh": [f"ssh -p 22 compose@{names[0]}"] if kind in {"redis", "disque"} else [],
        "admin": [f"https://{user}@admin.{host}"]
        if kind in {"mongodb", "rabbitmq", "rethink"}
        else [],
        "ssh_admin": [],
    }
    if deployment.has_quirk(every=4):  # as before 2017-11
        strings = {each: value[0] if value else "" for each, value in strings.items()}
    return {
        **strings,
        "cli": [client],
        "direct": direct,
        "maps": [
            {f"10.0.{deployment.index % 250}.{node + 2}:9042": f"portal.{node}.example:15227"}
            for node in range(3)
        ]
        if kind == "scylla"
        else [],
        "misc": {
            "cli_readonly": [f"{client} --readonly"],
            "direct_readonly": [f"{direct[0]}?readonly=true"],
            "ssh_cli": [f"ssh -p 22 compose@{names[0]} {client}"],
        }
        if kind == "redis"
        else {},
    }
