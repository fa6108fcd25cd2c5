"""The bodies of a deployment's endpoints."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tap_compose.sandbox.data import (
    DATACENTERS,
    NOW,
    Body,
    Deployment,
    formatted,
    link,
    listed,
    made_id,
)
from tap_compose.sandbox.details import details
from tap_compose.sandbox.recipes import recipes

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


def _addons(deployment: Deployment, random: Random) -> Body:
    addons = [
        {"name": name, "is_active": random.random() < 0.5}
        for name in ("papertrail", "new_relic", "kibana")[: 1 + deployment.index % 3]
    ]
    return {"addons": addons} if deployment.has_quirk(every=2) else listed("addons", addons)


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
                "name": "recipe",
                "status": "waiting",
            },
        ]
        if deployment.quirks.here(1, every=2):
            del alerts[1]["name"]
    return {"summary": summary, "_embedded": {"alerts": alerts}}


def _backups(deployment: Deployment, random: Random) -> Body:
    backups: list[Body] = []
    kept = [
        *(("daily", age) for age in range(7)),
        *(("weekly", 7 * age) for age in range(4)),
        *(("monthly", 30 * age) for age in range(3)),
        ("on_demand", 0),
    ]
    for number, (kind, days) in enumerate(kept):
        moment = NOW - timedelta(days=days, seconds=random.randrange(3600))
        is_running = kind == "on_demand" and deployment.index == 0
        backup_id = made_id(random)
        backups.append(
            {
                "_id" if deployment.has_quirk(every=5) else "id": backup_id,
                "deployment_id": deployment.id,
                "name": f"{deployment.name}_{moment:%Y-%m-%d_%H-%M-%S}",
                "type": kind,
                "status": "running" if is_running else "complete",
                "is_downloadable": not is_running and deployment.database.can_download,
                "is_restorable": not is_running and deployment.database.can_restore,
                "created_at": None if is_running else formatted(moment, number),
                "_links": {"self": link(f"deployments/{deployment.id}/backups/{backup_id}")},
            }
        )
    return listed("backups", backups)


def _logfiles(deployment: Deployment, random: Random) -> Body:
    logfiles: list[Body] = []
    for number in range(4):
        moment = NOW - timedelta(days=number, hours=3)
        size = random.randrange(1 << 20, 1 << 34)
        logfile: Body = {
            "id": made_id(random),
            "deployment_id": deployment.id,
            "capsule_id": made_id(random),
            "name": f"capsule-{moment:%Y-%m-%d}.log.gz",
            "region": DATACENTERS[deployment.index % len(DATACENTERS)][1],
            "status": "complete" if number else "writing",
            "file_size": str(size) if deployment.has_quirk(every=2) else size,
            "date": formatted(moment, number),
            "created_at": formatted(moment + timedelta(minutes=number + 1), number + 1),
        }
        if deployment.has_quirk(every=3):
            del logfile["date" if number % 2 else "created_at"]
        logfiles.append(logfile)
    return listed("logfile" if deployment.has_quirk(every=2) else "logfiles", logfiles)


def _portals(deployment: Deployment, random: Random) -> Body:
    kind = deployment.database.type
    portals: list[Body] = []
    for number in range(2):
        portal: Body = {
            "id": made_id(random),
            "name": f"haproxy{number}",
            "type": kind
            if kind in {"mongodb", "rethink"}
            else "haproxy"
            if number == 0 or kind == "redis"
            else "ssl",
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
    if not deployment.has_quirk(every=2):
        for user in users:
            user["id"] = made_id(random)
    return listed("portal_users", users)


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
    if not deployment.has_quirk(every=2):
        team["users"] = deployment.people[:3]
    return listed(
        "team_roles",
        [{"name": "developer", "teams": [team]}, {"name": "admin", "teams": []}],
    )


def _scalings(deployment: Deployment, random: Random) -> Body:
    database = deployment.database
    starting = database.starting_units
    used = random.randrange(1, 12)
    memory, storage = (256, 256) if database.unit_type == "memory" else (102, 1024)
    body: Body = {
        "allocated_units": max(used, starting) + random.randrange(4),
        "used_units": used,
        "starting_units": starting,
        # In the reference it is the greater of used and starting units, but it need not be.
        "minimum_units": starting if deployment.index % 3 == 0 else max(used, starting),
        "memory_per_unit_in_mb": memory,
        "storage_per_unit_in_mb": storage,
        "unit_size_in_mb": memory if database.unit_type == "memory" else storage,
        "unit_type": database.unit_type,
    }
    if deployment.has_quirk(every=4):  # as in old responses
        body = dict(list(body.items())[:4])
    return body


def _versions(deployment: Deployment, random: Random) -> Body:
    database = deployment.database
    later = database.versions[database.versions.index(deployment.version) + 1 :]
    return listed(
        "transitions",
        [
            {
                "application": database.type,
                "method": method,
                "from_version": deployment.version,
                "to_version": version,
            }
            for version in later
            for method in ("in_place", "restore")
        ],
    )


def _whitelist(deployment: Deployment, random: Random) -> Body:
    last = 1 + deployment.index % 3
    is_open = deployment.index % 7 == 3
    return listed(
        "whitelist",
        [
            {
                "id": made_id(random),
                "description": random.choice((None, "office", "build machines")),
                "ip": "0.0.0.0/0" if is_open and each == last else f"203.0.113.{each}/32",
            }
            for each in range(1, last + 1)
        ],
    )


RESOURCES: dict[str, Callable[[Deployment, Random], Body]] = {
    "": details,
    "addons": _addons,
    "alerts": _alerts,
    "backups": _backups,
    "logfiles": _logfiles,
    "portals": _portals,
    "portal_users": _portal_users,
    "recipes": recipes,
    "roles": _roles,
    "team_roles": _team_roles,
    "scalings": _scalings,
    "versions": _versions,
    "whitelist": _whitelist,
}
"""The function that makes each body, by the last part of the path; empty for the details, where
the account adds the entry in the list of deployments."""
