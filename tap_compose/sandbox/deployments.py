"""The bodies of a deployment's endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

from tap_compose.sandbox.data import (
    DATACENTERS,
    NOW,
    TYPES,
    Body,
    formatted,
    links,
    listed,
    made_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from random import Random


@dataclass(frozen=True)
class Deployment:
    """What the bodies of a deployment are made from.

    Attributes:
        id: Its id.
        index: Its place in the list of deployments.
        summary: Its entry in that list.
        is_ill: Whether alerts are raised on it.
        recipes: How many recipes it has at the top level.
        account_id: The account that it belongs to.
        people: The users of that account.
    """

    id: str
    index: int
    summary: Body
    is_ill: bool
    recipes: int
    account_id: str
    people: list[Body]


def _details(deployment: Deployment, random: Random) -> Body:
    kind, _, versions = TYPES[deployment.index % len(TYPES)]
    password = f"sandbox-password-{random.getrandbits(48):012x}"
    host = f"portal{deployment.index}.northwind.example:{10_000 + deployment.index}"
    direct: Any = [f"{kind}://admin:{password}@{host}/compose"]
    hrefs = {
        name: {"href": f"https://sandbox/deployments/{deployment.id}/{name}{{?embed}}"}
        for name in ("scalings", "backups", "alerts", "cluster", "portal_users")
    }
    return {
        **deployment.summary,
        "_links": deployment.summary["_links"] | hrefs,
        "account_id": deployment.account_id,
        "cluster_id": f"{700 + deployment.index % 2:024x}",
        "version": versions[-1],
        "ca_certificate_base64": None
        if deployment.index % 2
        else "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t",
        "provision_recipe_id": made_id(random),
        "connection_strings": {
            "health": [],
            "ssh": [],
            "admin": f"https://admin:{password}@admin.{host}" if deployment.index % 4 == 3 else [],
            "ssh_admin": [],
            "cli": [f"client --host {host} --user admin --password {password}"],
            "direct": direct[0] if deployment.index % 4 == 3 else direct,
            "maps": [],
            "misc": {"jdbc": [f"jdbc:{kind}://{host}?password={password}"]}
            if deployment.index
            else {},
        },
    }


def _addons(deployment: Deployment, random: Random) -> Body:
    addons = [
        {"name": name, "is_active": random.random() < 0.5}
        for name in ("papertrail", "new_relic", "kibana")[: 1 + deployment.index % 3]
    ]
    return {"addons": addons} if deployment.index % 2 else listed("addons", addons)


def _alerts(deployment: Deployment, random: Random) -> Body:
    alerts: list[Body] = []
    summary = "healthy"
    if deployment.is_ill:
        capsule = made_id(random)
        summary = "critical"
        alerts = [
            {
                "capsule_id": capsule,
                "deployment_id": deployment.id,
                "message": "Disk is 97% full",
                "name": "disk",
                "status": "critical",
            },
            {
                "capsule_id": None,
                "deployment_id": deployment.id,
                "message": "A recipe is waiting",
                "status": "waiting",
            },
        ]
    return {"summary": summary, "_embedded": {"alerts": alerts}}


def _backups(deployment: Deployment, random: Random) -> Body:
    backups: list[Body] = []
    for number, kind in enumerate(["daily"] * 7 + ["weekly"] * 4 + ["monthly"] * 3 + ["on_demand"]):
        days = {"daily": number, "weekly": 7 * number, "monthly": 30 * number}.get(kind, 0)
        moment = NOW - timedelta(days=days, seconds=random.randrange(3600))
        is_running = kind == "on_demand" and deployment.index == 0
        backup_id = made_id(random)
        backups.append(
            {
                "_id" if deployment.index % 5 == 4 else "id": backup_id,
                "deployment_id": deployment.id,
                "name": f"{deployment.summary['name']}_{moment:%Y-%m-%d_%H-%M-%S}",
                "type": kind,
                "status": "running" if is_running else "complete",
                "is_downloadable": not is_running and deployment.index % 3 != 1,
                "is_restorable": not is_running,
                "created_at": None if is_running else formatted(moment, number),
                **links("self", f"/deployments/{deployment.id}/backups/{backup_id}"),
            }
        )
    return listed("backups", backups)


def _logfiles(deployment: Deployment, random: Random) -> Body:
    logfiles: list[Body] = []
    for number in range(4):
        moment = NOW - timedelta(days=number, hours=3)
        size = random.randrange(1 << 20, 1 << 34)
        logfiles.append(
            {
                "id": made_id(random),
                "deployment_id": deployment.id,
                "capsule_id": made_id(random),
                "name": f"capsule-{moment:%Y-%m-%d}.log.gz",
                "region": DATACENTERS[deployment.index % len(DATACENTERS)][1],
                "status": "complete" if number else "writing",
                "file_size": str(size) if deployment.index % 2 else size,
                "created_at" if deployment.index % 3 == 2 else "date": formatted(moment, number),
            }
        )
    return listed("logfile" if deployment.index % 2 else "logfiles", logfiles)


def _portals(deployment: Deployment, random: Random) -> Body:
    kind = TYPES[deployment.index % len(TYPES)][0]
    portals: list[Body] = []
    for number in range(2):
        portal: Body = {
            "id": made_id(random),
            "name": f"haproxy{number}",
            "type": "mongodb" if kind == "mongodb" else "haproxy",
            "internal_ip": f"10.0.{deployment.index % 250}.{number + 2}",
            "zone": "abc"[number],
            "hostname": f"portal{number}-{deployment.index}.northwind.example",
        }
        if kind == "redis":
            portal["ssl_enabled"] = number == 0
        portals.append(portal)
    return listed("portals", portals)


def _portal_users(deployment: Deployment, random: Random) -> Body:
    users: list[Body] = [
        {"name": "deploy", "type": "ssh"},
        {"name": "deploy", "type": "haproxy"},
    ]
    if deployment.index % 2:
        for user in users:
            user["id"] = made_id(random)
    return listed("portal_users", users)


def _recipes(deployment: Deployment, random: Random) -> Body:
    numbers = count()

    def recipe(parent_id: str | None, moment: datetime, parts: int) -> Body:
        number = next(numbers)
        recipe_id = made_id(random)
        done = moment + timedelta(seconds=random.randrange(1, 900))
        body: Body = {
            "id": recipe_id,
            "account_id": deployment.account_id,
            "parent_id": parent_id,
            "template": f"Recipes::Deployment::{random.choice(('Run', 'Backup', 'Scale'))}",
            "status": "complete" if number % 11 else "failed",
            "status_detail": f"\tRunning step {number} on {deployment.index}",
            "created_at": formatted(moment, number),
            "updated_at": formatted(done, number + 1),
            "deployment_id": deployment.id,
            "name": random.choice(("Creating haproxy portal", "Backup", "Scaling up")),
            "source": "customer_api",
            "source_user": deployment.people[number % len(deployment.people)]["id"],
            "source_reason": None,
            "source_ip": f"198.51.100.{number % 250 + 1}",
        }
        if number % 4:
            body["operations_complete"] = body["operations_total"] = number % 7 + 1
        # A part names its parent, or leaves that to where it stands.
        inside = recipe_id if number % 2 else None
        body["_embedded"] = {
            "recipes": [
                recipe(inside, moment + timedelta(seconds=each), parts // 2)
                for each in range(parts)
            ]
        }
        return body

    recipes = [
        recipe(
            None,
            NOW - timedelta(hours=7 * (each + 1), seconds=deployment.index),
            2 * (each % 3 == 0),
        )
        for each in range(deployment.recipes)
    ]
    if len(recipes) > 1 and deployment.index % 2:  # a child that stands at the top level too
        recipes += recipes[0]["_embedded"]["recipes"][:1]
    return listed("recipes", recipes)


def _roles(deployment: Deployment, random: Random) -> Body:
    return listed(
        "roles",
        [
            {"name": "admin", "users": deployment.people[:1]},
            {"name": "manager", "users": random.sample(deployment.people, 2)},
            {"name": "developer", "users": []},
        ],
    )


def _team_roles(deployment: Deployment, random: Random) -> Body:
    team: Body = {"id": f"{9001:024x}", "name": "Platform"}
    if deployment.index % 2:
        team["users"] = deployment.people[:3]
    return listed(
        "team_roles",
        [{"name": "developer", "teams": [team]}, {"name": "admin", "teams": []}],
    )


def _scalings(deployment: Deployment, random: Random) -> Body:
    used = random.randrange(1, 12)
    body: Body = {
        "allocated_units": used + random.randrange(4),
        "used_units": used,
        "starting_units": 1,
        "minimum_units": used,
    }
    if deployment.index % 4 != 3:  # absent on old answers
        body |= {
            "memory_per_unit_in_mb": 102,
            "storage_per_unit_in_mb": 1024,
            "unit_size_in_mb": 1024,
            "unit_type": "data",
        }
    return body


def _versions(deployment: Deployment, random: Random) -> Body:
    kind, _, versions = TYPES[deployment.index % len(TYPES)]
    return listed(
        "transitions",
        [
            {
                "application": kind,
                "method": method,
                "from_version": versions[0],
                "to_version": version,
            }
            for version in versions[1:]
            for method in ("in_place", "restore")
        ],
    )


def _whitelist(deployment: Deployment, random: Random) -> Body:
    return listed(
        "whitelist",
        [
            {
                "id": made_id(random),
                "description": random.choice((None, "office", "build machines")),
                "ip": f"203.0.113.{each}/32",
            }
            for each in range(1, 2 + deployment.index % 3)
        ],
    )


RESOURCES: dict[str, Callable[[Deployment, Random], Body]] = {
    "": _details,
    "addons": _addons,
    "alerts": _alerts,
    "backups": _backups,
    "logfiles": _logfiles,
    "portals": _portals,
    "portal_users": _portal_users,
    "recipes": _recipes,
    "roles": _roles,
    "team_roles": _team_roles,
    "scalings": _scalings,
    "versions": _versions,
    "whitelist": _whitelist,
}
"""The function that makes each body, by the last part of the path; empty for the details."""
