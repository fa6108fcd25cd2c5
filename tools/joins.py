"""Which columns of the streams refer to each other, for the list of docs/streams.md."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from tap_compose.streams import STREAMS


class Join(NamedTuple):
    """Columns of a stream that hold a key of another.

    Attributes:
        stream: The stream that refers to the other.
        columns: Its columns.
        other: The other stream.
        keys: The columns of the other stream.
    """

    stream: str
    columns: tuple[str, ...]
    other: str
    keys: tuple[str, ...] = ("id",)


_KEYS: dict[str, tuple[str, ...]] = {each.name: each.primary_keys for each in cast("Any", STREAMS)}

_OF_DEPLOYMENTS = [
    each for each in _KEYS if each.startswith("deployment_") and each != "deployment_details"
]

JOINS: tuple[Join, ...] = (
    *(Join(each, ("deployment_id",), "deployments") for each in _OF_DEPLOYMENTS),
    Join("audit_events", ("deployment_id",), "deployments"),
    Join("billables", ("identifier",), "deployments"),
    Join("coverage", ("deployment_id",), "deployments"),
    Join("deployment_details", ("id",), "deployments"),
    *(
        Join(each, ("account_id",), "accounts")
        for each in (
            *("account_users", "audit_events", "billables", "clusters", "deployment_details"),
            "deployment_recipes",
        )
    ),
    Join("user", ("id",), "account_users"),
    Join("teams", ("users[].id",), "account_users"),
    Join("audit_events", ("user_id",), "account_users"),
    Join("deployment_recipes", ("source_user",), "account_users"),
    Join("deployment_roles", ("users[].id",), "account_users"),
    Join("deployment_team_roles", ("teams[].users[].id",), "account_users"),
    Join("deployment_team_roles", ("teams[].id",), "teams"),
    Join("audit_events", ("cluster_id",), "clusters"),
    Join("deployment_details", ("cluster_id",), "clusters"),
    Join("clusters", ("provider", "region"), "datacenters", ("provider", "region")),
    Join("deployments", ("type",), "databases", ("type",)),
    Join("database_versions", ("application",), "databases", ("type",)),
    Join(
        "deployment_details", ("type", "version"), "database_versions", ("application", "version")
    ),
    Join(
        "deployment_versions",
        ("application", "to_version"),
        "database_versions",
        ("application", "version"),
    ),
    Join("deployment_details", ("provision_recipe_id",), "deployment_recipes"),
    Join("deployment_recipes", ("parent_id",), "deployment_recipes"),
    Join("billables", ("replaces_id",), "billables", ("identifier",)),
)


def lines() -> list[str]:
    """Return the lines of the list of joins: a key, and the columns that refer to it."""
    found: dict[str, dict[str, list[str]]] = {}
    for stream, columns, other, keys in JOINS:
        key = ", ".join(f"`{other}.{each}`" for each in keys)
        names = ", ".join(f"`{each}`" for each in columns)
        found.setdefault(key, {}).setdefault(names, []).append(stream)
    return [
        f"- {key}: {'; '.join(f'{names} of ' + ', '.join(those) for names, those in each.items())}"
        for key, each in found.items()
    ]
