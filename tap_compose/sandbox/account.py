"""The account that the sandbox serves: made up, plausible, and the same for the same seed.

Everything is held as it goes over the wire, in every spelling that the contract knows: three
spellings of a time, both envelopes of addons and logfiles, ``_id``, nulls and absent fields,
numbers as text, times past the year 9999, sub-recipes inside recipes.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from itertools import count
from random import Random
from typing import Any

Body = dict[str, Any]

NOW = datetime(2018, 6, 1, 12, 0, 0, tzinfo=timezone.utc)
"""The account's present: nothing in it is later, but for times that mean "still current"."""

OPENED = datetime(2015, 3, 2, 9, 0, 0, tzinfo=timezone.utc)

_TYPES = (
    ("postgresql", "PostgreSQL", ("9.4.10", "9.5.10", "9.6.6")),
    ("elastic_search", "Elasticsearch", ("1.7.5", "2.4.0", "5.6.3")),
    ("redis", "Redis", ("3.2.11", "4.0.8")),
    ("mongodb", "MongoDB", ("3.2.18", "3.4.10")),
    ("rabbitmq", "RabbitMQ", ("3.6.14",)),
    ("mysql", "MySQL", ("5.7.20",)),
    ("etcd", "etcd", ("2.3.8", "3.2.10")),
    ("rethink", "RethinkDB", ("2.3.6",)),
    ("scylla", "ScyllaDB", ("2.0.2",)),
    ("janusgraph", "JanusGraph", ("0.1.1",)),
    ("disque", "Disque", ("1.0-rc1",)),
)
_PEOPLE = (
    ("Ada Byron", "ada"),
    ("Edgar Codd", "edgar"),
    ("Grace Murray", "grace"),
    ("Jim Gray", "jim"),
    ("Barbara Huberman", "barbara"),
    ("Michael Stone", "michael"),
    ("Ivy Ooi", "ivy"),
)
_PURPOSES = ("orders", "search", "sessions", "catalogue", "queue", "billing", "config", "events")
_EVENTS = (
    "deployment.backup",
    "deployment.backup_on_demand",
    "deployment.scale.members",
    "deployment.version.update",
    "deployment.apply_configuration",
    "deployment.capsule.destroy",
    "deployment.add.haproxy",
    "user.login",
    "account.user.invited",
)
_DATACENTERS = (
    ("aws", "us-east-1"),
    ("aws", "eu-west-1"),
    ("gce", "us-central1"),
    ("softlayer", "ams-3"),
)


def spelled(moment: datetime, spelling: int) -> str:
    """Write a time in one of the three spellings of the contract's section 1.

    Args:
        moment: An aware datetime.
        spelling: Chooses the spelling; any number.

    Returns:
        The text; without a fraction only where that loses nothing.
    """
    utc = moment.astimezone(timezone.utc).replace(tzinfo=None)
    if spelling % 3 == 1 and not utc.microsecond:
        return f"{utc.isoformat()}Z"
    if spelling % 3 == 2:
        return f"{(utc - timedelta(hours=5)).isoformat(timespec='milliseconds')}-05:00"
    return f"{utc.isoformat(timespec='milliseconds')}Z"


@dataclass(frozen=True)
class Size:
    """How much there is in an account.

    Attributes:
        deployments: How many deployments.
        events: How many audit events.
        recipes: How many recipes at the top level of each deployment.
        seed: Decides everything else.
    """

    deployments: int = 20
    events: int = 5000
    recipes: int = 30
    seed: int = 1


class EventLog:
    """The audit events, oldest first; written out when asked for, since there may be millions.

    Args:
        size: How many events, and the seed.
        account_id: The account.
        deployment_ids: The deployments that events may concern.
    """

    def __init__(self, size: Size, account_id: str, deployment_ids: list[str]) -> None:
        self._prefix = f"{Random(f'{size.seed}/events').getrandbits(32):08x}"
        self._account_id = account_id
        self._deployment_ids = deployment_ids or [None]  # type: ignore[list-item]
        self.times = event_times(Random(f"{size.seed}/event times"), size.events)
        self._written: dict[int, bytes] = {}

    def __len__(self) -> int:
        """Count the events."""
        return len(self.times)

    def add(self, moment: datetime) -> str:
        """Let something happen after all that has happened.

        Args:
            moment: When; no earlier than the newest event.

        Returns:
            The new event's id.
        """
        self.times.append(int(moment.timestamp() * 1000))
        return self.id_at(len(self.times) - 1)

    def id_at(self, index: int) -> str:
        """The id of an event by its place from the oldest on."""
        return f"{self._prefix}{index:016x}"

    def event_at(self, index: int) -> Body:
        """Write an event as it goes over the wire.

        Args:
            index: Its place from the oldest on.

        Returns:
            The event.
        """
        moment = datetime.fromtimestamp(self.times[index] / 1000, timezone.utc)
        what = _EVENTS[index * 7 % len(_EVENTS)]
        _, user = _PEOPLE[index % len(_PEOPLE)]
        event: Body = {
            "id": self.id_at(index),
            "account_id": self._account_id,
            "created_at": spelled(moment, index),
            "event": what,
            "data": {},
        }
        if index % 5:
            event["user_id"] = f"{index % len(_PEOPLE) + 1:024x}"
            event["email"] = f"{user}@northwind.example"
            event["ip"] = f"198.51.100.{index % 250 + 1}"
            event["user_agent"] = "Mozilla/5.0 (X11; Linux x86_64)"
        elif index % 2:  # done by the platform; sometimes null, sometimes absent
            event |= {"user_id": None, "email": None, "ip": None, "user_agent": None}
        if what.startswith("deployment."):
            place = index % len(self._deployment_ids)
            event["deployment_id"] = self._deployment_ids[place]
            event["cluster_id"] = None
            event["data"] = {
                "units": str(index % 9 + 1),
                "memory": f"{index % 9 + 1} GB",
                "deployment": f"prod-{place}",
            }
        return event

    def page(
        self,
        *,
        limit: int,
        cursor: str | None,
        newer_than: datetime | None,
        older_than: datetime | None,
        inclusive: bool,
    ) -> bytes:
        """Answer a request for events, newest first (contract, section 3).

        Args:
            limit: How many at most.
            cursor: The id of the last event of the page before.
            newer_than: The lower bound.
            older_than: The upper bound.
            inclusive: Whether an event at a bound's instant is inside it.

        Returns:
            The body.
        """
        low, high = 0, len(self.times)
        if newer_than is not None:
            at = newer_than.timestamp() * 1000
            low = (bisect_left if inclusive else bisect_right)(self.times, at)
        if older_than is not None:
            at = older_than.timestamp() * 1000
            high = (bisect_right if inclusive else bisect_left)(self.times, at)
        if cursor is not None:
            high = min(high, int(cursor[8:], 16))
        events = map(self._json_at, range(high - 1, max(low, high - limit) - 1, -1))
        return b'{"_embedded": {"audit_events": [%s]}}' % b", ".join(events)

    def _json_at(self, index: int) -> bytes:
        """Write an event, once: a benchmark asks for the same ones many times."""
        written = self._written.get(index)
        if written is None:
            written = self._written[index] = json.dumps(self.event_at(index)).encode()
        return written


def event_times(random: Random, events: int) -> list[int]:
    """Milliseconds: a steady trickle, quiet months, and bursts within a second or an instant."""
    first, last = int(OPENED.timestamp() * 1000), int(NOW.timestamp() * 1000) - 60_000
    quiet = int(datetime(2016, 8, 1, tzinfo=timezone.utc).timestamp() * 1000)
    month = 30 * 24 * 3600 * 1000
    times: list[int] = []
    while len(times) < events:
        at = random.randrange(first, last)
        if quiet <= at < quiet + 4 * month:
            continue
        burst = min(random.choice((1, 1, 1, 1, 1, 1, 1, 1, 1, 40)), events - len(times))
        spread = random.choice((0, 999, 60_000))
        times += [at] if burst == 1 else [at + random.randint(0, spread) for _ in range(burst)]
    times.sort()
    return times


class Account:
    """An account of the sandbox, as its endpoints tell it.

    Args:
        size: How much there is in it.
    """

    def __init__(self, size: Size | None = None) -> None:
        self.size = size or Size()
        random = Random(f"{self.size.seed}/ids")
        self.id = f"{random.getrandbits(96):024x}"
        self.deployment_ids = [
            f"{random.getrandbits(96):024x}" for _ in range(self.size.deployments)
        ]
        self.events = EventLog(self.size, self.id, self.deployment_ids)

    def _random(self, purpose: str) -> Random:
        return Random(f"{self.size.seed}/{purpose}")

    @property
    def leaving(self) -> str | None:
        """The deployment that is being deprovisioned: still listed, hardly readable."""
        return self.deployment_ids[-1] if len(self.deployment_ids) > 2 else None

    @property
    def ill(self) -> str | None:
        """The deployment on which alerts are raised."""
        return self.deployment_ids[1] if len(self.deployment_ids) > 1 else None

    @cached_property
    def people(self) -> list[Body]:
        """The account's users; one of them keeps the name to themselves."""
        users: list[Body] = [
            {"id": f"{number:024x}", "name": name}
            for number, (name, _) in enumerate(_PEOPLE, start=1)
        ]
        users[-1]["name"] = None
        return users

    @cached_property
    def account_level(self) -> dict[str, Body]:
        """The bodies of the account-level endpoints, by path; audit_events has its own."""
        return {
            "/accounts": _listed(
                "accounts", [{"id": self.id, "name": "Northwind", "slug": "northwind"}]
            ),
            f"/accounts/{self.id}/users": _listed("users", self.people),
            "/user": {"id": self.people[0]["id"], **_links("self", "/user")},
            "/teams": _listed(
                "teams",
                [
                    {"id": f"{9001:024x}", "name": "Platform", "users": self.people[:3]},
                    {"id": f"{9002:024x}", "name": "Analytics", "users": []},
                ],
            ),
            "/billables": _listed("billables", self._billables()),
            "/clusters": _listed("clusters", self._clusters()),
            "/databases": _listed("applications", _databases()),
            "/datacenters": _listed(
                "datacenters",
                [
                    {"region": region, "provider": provider, "slug": f"{provider}:{region}"}
                    for provider, region in _DATACENTERS
                ],
            ),
            "/deployments": _listed("deployments", [self.summary(i) for i in self.deployment_ids]),
        }

    def summary(self, deployment_id: str) -> Body:
        """An entry of the list of deployments."""
        place = self.deployment_ids.index(deployment_id)
        random = self._random(f"deployment {deployment_id}")
        kind, _, _ = _TYPES[place % len(_TYPES)]
        summary: Body = {
            "id": deployment_id,
            "name": f"{_PURPOSES[place % len(_PURPOSES)]}-{kind.replace('_', '-')}-{place}",
            "type": kind,
            "created_at": spelled(
                OPENED + timedelta(minutes=random.randrange(60, 500_000)), random.randrange(3)
            ),
            "notes": random.choice((None, "", "Owned by the platform team.\nAsk before scaling.")),
            **_links("compose_web_ui", f"/northwind/deployments/{place}"),
        }
        if place % 3:
            summary["customer_billing_code"] = random.choice((None, "CC-1001", "CC-2040"))
        return summary

    def resource(self, deployment_id: str, name: str) -> Body:
        """The body of one of a deployment's endpoints.

        Args:
            deployment_id: The deployment.
            name: The last part of the path; empty for the details.

        Returns:
            The body.
        """
        place = self.deployment_ids.index(deployment_id)
        random = self._random(f"{name} of {deployment_id}")
        make = getattr(self, f"_{name or 'details'}")
        body: Body = make(deployment_id, place, random)
        return body

    def _details(self, deployment_id: str, place: int, random: Random) -> Body:
        kind, _, versions = _TYPES[place % len(_TYPES)]
        password = f"sandbox-password-{random.getrandbits(48):012x}"
        host = f"portal{place}.northwind.example:{10_000 + place}"
        direct: Any = [f"{kind}://admin:{password}@{host}/compose"]
        links = {
            name: {"href": f"https://sandbox/deployments/{deployment_id}/{name}{{?embed}}"}
            for name in ("scalings", "backups", "alerts", "cluster", "portal_users")
        }
        summary = self.summary(deployment_id)
        summary["_links"] |= links
        return {
            **summary,
            "account_id": self.id,
            "cluster_id": f"{700 + place % 2:024x}",
            "version": versions[-1],
            "ca_certificate_base64": None if place % 2 else "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t",
            "provision_recipe_id": f"{random.getrandbits(96):024x}",
            "connection_strings": {
                "health": [],
                "ssh": [],
                "admin": f"https://admin:{password}@admin.{host}" if place % 4 == 3 else [],
                "ssh_admin": [],
                "cli": [f"client --host {host} --user admin --password {password}"],
                "direct": direct[0] if place % 4 == 3 else direct,
                "maps": [],
                "misc": {"jdbc": [f"jdbc:{kind}://{host}?password={password}"]} if place else {},
            },
        }

    def _addons(self, deployment_id: str, place: int, random: Random) -> Body:
        addons = [
            {"name": name, "is_active": random.random() < 0.5}
            for name in ("papertrail", "new_relic", "kibana")[: 1 + place % 3]
        ]
        return {"addons": addons} if place % 2 else _listed("addons", addons)

    def _alerts(self, deployment_id: str, place: int, random: Random) -> Body:
        alerts: list[Body] = []
        summary = "healthy"
        if deployment_id == self.ill:
            capsule = f"{random.getrandbits(96):024x}"
            summary = "critical"
            alerts = [
                {
                    "capsule_id": capsule,
                    "deployment_id": deployment_id,
                    "message": "Disk is 97% full",
                    "name": "disk",
                    "status": "critical",
                },
                {
                    "capsule_id": None,
                    "deployment_id": deployment_id,
                    "message": "A recipe is waiting",
                    "status": "waiting",
                },
            ]
        return {"summary": summary, "_embedded": {"alerts": alerts}}

    def _backups(self, deployment_id: str, place: int, random: Random) -> Body:
        backups: list[Body] = []
        for number, kind in enumerate(
            ["daily"] * 7 + ["weekly"] * 4 + ["monthly"] * 3 + ["on_demand"]
        ):
            days = {"daily": number, "weekly": 7 * number, "monthly": 30 * number}.get(kind, 0)
            moment = NOW - timedelta(days=days, seconds=random.randrange(3600))
            is_running = kind == "on_demand" and place == 0
            backup_id = f"{random.getrandbits(96):024x}"
            backups.append(
                {
                    "_id" if place % 5 == 4 else "id": backup_id,
                    "deployment_id": deployment_id,
                    "name": f"{self.summary(deployment_id)['name']}_{moment:%Y-%m-%d_%H-%M-%S}",
                    "type": kind,
                    "status": "running" if is_running else "complete",
                    "is_downloadable": not is_running and place % 3 != 1,
                    "is_restorable": not is_running,
                    "created_at": None if is_running else spelled(moment, number),
                    **_links("self", f"/deployments/{deployment_id}/backups/{backup_id}"),
                }
            )
        return _listed("backups", backups)

    def _logfiles(self, deployment_id: str, place: int, random: Random) -> Body:
        logfiles: list[Body] = []
        for number in range(4):
            moment = NOW - timedelta(days=number, hours=3)
            size = random.randrange(1 << 20, 1 << 34)
            logfiles.append(
                {
                    "id": f"{random.getrandbits(96):024x}",
                    "deployment_id": deployment_id,
                    "capsule_id": f"{random.getrandbits(96):024x}",
                    "name": f"capsule-{moment:%Y-%m-%d}.log.gz",
                    "region": _DATACENTERS[place % len(_DATACENTERS)][1],
                    "status": "complete" if number else "writing",
                    "file_size": str(size) if place % 2 else size,
                    "created_at" if place % 3 == 2 else "date": spelled(moment, number),
                }
            )
        return _listed("logfile" if place % 2 else "logfiles", logfiles)

    def _portals(self, deployment_id: str, place: int, random: Random) -> Body:
        kind = _TYPES[place % len(_TYPES)][0]
        portals: list[Body] = []
        for number in range(2):
            portal: Body = {
                "id": f"{random.getrandbits(96):024x}",
                "name": f"haproxy{number}",
                "type": "mongodb" if kind == "mongodb" else "haproxy",
                "internal_ip": f"10.0.{place % 250}.{number + 2}",
                "zone": "abc"[number],
                "hostname": f"portal{number}-{place}.northwind.example",
            }
            if kind == "redis":
                portal["ssl_enabled"] = number == 0
            portals.append(portal)
        return _listed("portals", portals)

    def _portal_users(self, deployment_id: str, place: int, random: Random) -> Body:
        users: list[Body] = [
            {"name": "deploy", "type": "ssh"},
            {"name": "deploy", "type": "haproxy"},
        ]
        if place % 2:
            for user in users:
                user["id"] = f"{random.getrandbits(96):024x}"
        return _listed("portal_users", users)

    def _recipes(self, deployment_id: str, place: int, random: Random) -> Body:
        numbers = count()

        def recipe(parent_id: str | None, moment: datetime, parts: int) -> Body:
            number = next(numbers)
            recipe_id = f"{random.getrandbits(96):024x}"
            done = moment + timedelta(seconds=random.randrange(1, 900))
            body: Body = {
                "id": recipe_id,
                "account_id": self.id,
                "parent_id": parent_id,
                "template": f"Recipes::Deployment::{random.choice(('Run', 'Backup', 'Scale'))}",
                "status": "complete" if number % 11 else "failed",
                "status_detail": f"\tRunning step {number} on {place}",
                "created_at": spelled(moment, number),
                "updated_at": spelled(done, number + 1),
                "deployment_id": deployment_id,
                "name": random.choice(("Creating haproxy portal", "Backup", "Scaling up")),
                "source": "customer_api",
                "source_user": self.people[number % len(self.people)]["id"],
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
            recipe(None, NOW - timedelta(hours=7 * (each + 1), seconds=place), 2 * (each % 3 == 0))
            for each in range(self.size.recipes)
        ]
        if len(recipes) > 1 and place % 2:  # a child that stands at the top level too
            recipes += recipes[0]["_embedded"]["recipes"][:1]
        return _listed("recipes", recipes)

    def _roles(self, deployment_id: str, place: int, random: Random) -> Body:
        return _listed(
            "roles",
            [
                {"name": "admin", "users": self.people[:1]},
                {"name": "manager", "users": random.sample(self.people, 2)},
                {"name": "developer", "users": []},
            ],
        )

    def _team_roles(self, deployment_id: str, place: int, random: Random) -> Body:
        team: Body = {"id": f"{9001:024x}", "name": "Platform"}
        if place % 2:
            team["users"] = self.people[:3]
        return _listed(
            "team_roles",
            [{"name": "developer", "teams": [team]}, {"name": "admin", "teams": []}],
        )

    def _scalings(self, deployment_id: str, place: int, random: Random) -> Body:
        used = random.randrange(1, 12)
        body: Body = {
            "allocated_units": used + random.randrange(4),
            "used_units": used,
            "starting_units": 1,
            "minimum_units": used,
        }
        if place % 4 != 3:  # absent on old answers
            body |= {
                "memory_per_unit_in_mb": 102,
                "storage_per_unit_in_mb": 1024,
                "unit_size_in_mb": 1024,
                "unit_type": "data",
            }
        return body

    def _versions(self, deployment_id: str, place: int, random: Random) -> Body:
        kind, _, versions = _TYPES[place % len(_TYPES)]
        return _listed(
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

    def _whitelist(self, deployment_id: str, place: int, random: Random) -> Body:
        return _listed(
            "whitelist",
            [
                {
                    "id": f"{random.getrandbits(96):024x}",
                    "description": random.choice((None, "office", "build machines")),
                    "ip": f"203.0.113.{each}/32",
                }
                for each in range(1, 2 + place % 3)
            ],
        )

    def _billables(self) -> list[Body]:
        random = self._random("billables")
        billables: list[Body] = []
        for place, deployment_id in enumerate(self.deployment_ids):
            start = OPENED + timedelta(days=random.randrange(400))
            amount = f"{random.randrange(1, 90_000) / 100:.2f}"
            ends = (
                "9999-12-31T23:59:59.999Z",
                "12017-01-01T00:00:00Z",
                spelled(start + timedelta(days=90), place),
            )
            billables.append(
                {
                    "id": f"{random.getrandbits(96):024x}",
                    "account_id": self.id,
                    "amount": amount if place % 2 else json.loads(amount),
                    "start_at": spelled(start, place),
                    "end_at": ends[place % 3],
                    "description": f"{place + 1} units of data",
                    "identifier": deployment_id,
                    "resource_identifier": f"capsule-{place}",
                    "sku": "com.compose.unit.data",
                    "units": str(place + 1) if place % 2 else place + 1,
                    "replaces_id": billables[-1]["id"] if place % 5 == 4 else None,
                }
            )
        return billables

    def _clusters(self) -> list[Body]:
        clusters: list[Body] = []
        for number in range(2):
            provider, region = _DATACENTERS[number]
            cluster: Body = {
                "id": f"{700 + number:024x}",
                "account_id": self.id,
                "account_slug": "northwind",
                "name": f"northwind-{region}-c{number:02d}",
                "type": "enterprise" if number == 0 else "multitenant",
                "multitenant": number == 1,
                "provider": provider,
                "region": region,
                "subdomain": f"northwind.{number}.example",
                "created_at": spelled(OPENED + timedelta(days=number), number),
            }
            if number == 0:
                cluster["tags"] = ["production", "europe"]
            clusters.append(cluster)
        return clusters


def _databases() -> list[Body]:
    return [
        {
            "type": kind,
            "status": "beta" if kind in {"scylla", "janusgraph", "disque"} else "stable",
            "display_name": name,
            "_embedded": {
                "versions": [
                    {
                        "application": kind,
                        "status": "stable" if version == versions[-1] else "deprecated",
                        "preferred": version == versions[-1],
                        "version": version,
                    }
                    for version in versions
                ]
            },
        }
        for kind, name, versions in _TYPES
    ]


def _listed(name: str, items: list[Body]) -> Body:
    return {"_embedded": {name: items}}


def _links(name: str, path: str) -> Body:
    href = f"https://app.compose.example{path}{{?embed}}"
    return {"_links": {name: {"href": href, "templated": True}}}
