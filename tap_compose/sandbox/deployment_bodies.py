"""The bodies of a deployment's endpoints."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tap_compose.sandbox import history
from tap_compose.sandbox.data import (
    DATACENTERS,
    FORMER,
    NOW,
    Body,
    formatted,
    link,
    listed,
    made_id,
)
from tap_compose.sandbox.detail_bodies import details
from tap_compose.sandbox.recipe_bodies import recipes

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tap_compose.sandbox.history import Deployment


def _addons(deployment: Deployment, random: Random) -> Body:
    first = "kibana" if deployment.database.type == "elastic_search" else "papertrail"
    addons = [
        {"name": name, "is_active": random.random() < 0.5 or name == "kibana"}
        for name in (first, "new_relic", "librato")[: 1 + deployment.index % 3]
    ]
    return {"addons": addons} if deployment.has_quirk(every=2) else listed("addons", addons)


def _alerts(deployment: Deployment, random: Random) -> Body:
    if not deployment.is_ill:
        return {"summary": "healthy", **listed("alerts", [])}
    raised = (
        (deployment.capsule(0), "Disk is 97% full", "disk", "critical"),
        (None, "A recipe is waiting", "recipe", "waiting"),
    )
    names = ("capsule_id", "message", "name", "status")
    alerts: list[Body] = [
        {"deployment_id": deployment.id, **dict(zip(names, each, strict=True))} for each in raised
    ]
    if deployment.quirks.here(1, every=2):
        del alerts[1]["name"]
    return {"summary": "critical", **listed("alerts", alerts)}


def _backups(deployment: Deployment, random: Random) -> Body:
    """The backups that the API keeps: 7 daily, 4 weekly, 3 monthly, 1 on demand."""
    index = deployment.index
    today = NOW.replace(hour=0, minute=0)
    if index == history.OVERDUE_BACKUP:
        today -= timedelta(days=history.OVERDUE_DAYS)
    sunday = today - timedelta(days=(today.weekday() + 1) % 7)
    firsts = [today.replace(day=1)]
    while len(firsts) < 3:
        firsts.append((firsts[-1] - timedelta(days=1)).replace(day=1))
    kept = [
        *(("daily", today - timedelta(days=age)) for age in range(7)),
        *(("weekly", sunday - timedelta(days=7 * age)) for age in range(4)),
        *(("monthly", first) for first in firsts),
    ]
    times = {"daily": 0, "weekly": 90, "monthly": 180}  # minutes after the daily one
    found = [
        (kind, deployment.backup_time(day) + timedelta(minutes=times[kind])) for kind, day in kept
    ]
    if deployment.on_demand_backup:
        found.append(("on_demand", deployment.on_demand_backup))
    backups: list[Body] = []
    uses = deployment.database.uses_of_backups
    for number, (kind, moment) in enumerate(found):
        if moment <= deployment.created_at:
            continue
        status = "complete"
        if index == history.RUNNING and kind == "on_demand" and not deployment.has_finished:
            status = "running"
        elif index == history.FAILED_BACKUP and number == 0:
            status = "failed"
        is_complete = status == "complete"
        backup_id = made_id(random)
        backups.append(
            {
                "_id" if deployment.has_quirk(every=5) else "id": backup_id,
                "deployment_id": deployment.id,
                "name": f"{deployment.name}_{moment:%Y-%m-%d_%H-%M-%S}",
                "type": kind,
                "status": status,
                "is_downloadable": is_complete and "download" in uses,
                "is_restorable": is_complete and "restore" in uses,
                "created_at": None if status == "running" else formatted(moment, number),
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
            "capsule_id": deployment.capsule(number),
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
        if kind == "redis":  # one in use is not encrypted
            portal["ssl_enabled"] = number == 0 or deployment.group > 0
        portals.append(portal)
    return listed("portals", portals)


def _portal_users(deployment: Deployment, random: Random) -> Body:
    users: list[Body] = [{"name": "deploy", "type": kind} for kind in ("ssh", "haproxy")]
    if not deployment.has_quirk(every=2):
        for user in users:
            user["id"] = made_id(random)
    return listed("portal_users", users)


def _roles(deployment: Deployment, random: Random) -> Body:
    people, index = deployment.people, deployment.index
    admins = [people[place] for place in dict.fromkeys((0, deployment.creator or 1))]
    if index == history.ONE_ADMIN:
        del admins[0]
    developers = [people[4 + index % (len(people) - 4)]] if deployment.group == 0 else people[4:6]
    if index == history.FORMER_USER:
        developers = [*developers, FORMER]
    return listed(
        "roles",
        [
            {"name": "admin", "users": admins},
            {"name": "manager", "users": [people[deployment.operator]]},
            {"name": "developer", "users": developers},
        ],
    )


def _team_roles(deployment: Deployment, random: Random) -> Body:
    team: Body = {"id": f"{9001:024x}", "name": "Platform"}
    if not deployment.has_quirk(every=2):
        team["users"] = deployment.people[:3]
    return listed(
        "team_roles", [{"name": "developer", "teams": [team]}, {"name": "admin", "teams": []}]
    )


def _scalings(deployment: Deployment, random: Random) -> Body:
    database, index = deployment.database, deployment.index
    starting = database.starting_units
    allocated = deployment.units_at(NOW)
    used = max(1, allocated * random.randrange(60, 90) // 100)
    if index in {history.FULL, history.OVERSIZED}:
        used = allocated if index == history.FULL else 1
    memory, storage = (256, 256) if database.unit_type == "memory" else (102, 1024)
    body: Body = {
        "allocated_units": allocated,
        "used_units": used,
        "starting_units": starting,
        # In the reference it is the greater of used and starting units, but it need not be.
        "minimum_units": starting if index % 3 == 0 else max(used, starting),
        "memory_per_unit_in_mb": memory,
        "storage_per_unit_in_mb": storage,
        "unit_size_in_mb": memory if database.unit_type == "memory" else storage,
        "unit_type": database.unit_type,
    }
    if deployment.has_quirk(every=4):  # as in old responses
        body = dict(list(body.items())[:4])
    return body


def _versions(deployment: Deployment, random: Random) -> Body:
    stable = deployment.database.stable
    is_stable = deployment.version in stable
    later = stable[stable.index(deployment.version) + 1 :] if is_stable else stable
    return listed(
        "transitions",
        [
            {
                "application": deployment.database.type,
                "method": method,
                "from_version": deployment.version,
                "to_version": version,
            }
            for version in later
            for method in ("in_place", "restore")
        ],
    )


def _whitelist(deployment: Deployment, random: Random) -> Body:
    index = deployment.index
    entries: list[tuple[str | None, str]] = [
        ("office", "203.0.113.17/32"),
        ("build machines", f"203.0.113.{64 + index % 8 * 8}/29"),
        (None, f"198.51.100.{index % 250 + 1}"),
    ]
    del entries[1 + index % 3 :]
    if index == history.OPEN:
        entries.append(("until the migration is over", "0.0.0.0/0"))
    elif index == history.WIDE:
        entries.append(("all sites", "203.0.0.0/16"))
    elif index == history.UNRESTRICTED:
        entries.clear()
    return listed(
        "whitelist",
        [{"id": made_id(random), "description": text, "ip": ip} for text, ip in entries],
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
