"""The account that the sandbox serves: made up, plausible, and the same for the same seed.

Everything is held as it goes over the wire, in every spelling that the API is known to use: three
spellings of a time, both envelopes of addons and logfiles, ``_id``, nulls and absent fields,
numbers as text, times past the year 9999, sub-recipes inside recipes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from random import Random

from tap_compose.sandbox.data import (
    DATACENTERS,
    OPENED,
    PEOPLE,
    PURPOSES,
    TYPES,
    Body,
    formatted,
    links,
    listed,
    made_id,
)
from tap_compose.sandbox.deployments import RESOURCES, Deployment
from tap_compose.sandbox.events import EventLog


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


class Account:
    """An account of the sandbox, as its endpoints tell it.

    Args:
        size: How much there is in it.
    """

    def __init__(self, size: Size | None = None) -> None:
        self.size = size or Size()
        random = Random(f"{self.size.seed}/ids")
        self.id = made_id(random)
        self.deployment_ids = [made_id(random) for _ in range(self.size.deployments)]
        self.events = EventLog(
            self.id, self.deployment_ids, events=self.size.events, seed=self.size.seed
        )

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
            for number, (name, _) in enumerate(PEOPLE, start=1)
        ]
        users[-1]["name"] = None
        return users

    @cached_property
    def account_level(self) -> dict[str, Body]:
        """The bodies of the account-level endpoints, by path; audit_events has its own."""
        return {
            "/accounts": listed(
                "accounts", [{"id": self.id, "name": "Northwind", "slug": "northwind"}]
            ),
            f"/accounts/{self.id}/users": listed("users", self.people),
            "/user": {"id": self.people[0]["id"], **links("self", "/user")},
            "/teams": listed(
                "teams",
                [
                    {"id": f"{9001:024x}", "name": "Platform", "users": self.people[:3]},
                    {"id": f"{9002:024x}", "name": "Analytics", "users": []},
                ],
            ),
            "/billables": listed("billables", self.billables()),
            "/clusters": listed("clusters", self._clusters()),
            "/databases": listed("applications", _databases()),
            "/datacenters": listed(
                "datacenters",
                [
                    {"region": region, "provider": provider, "slug": f"{provider}:{region}"}
                    for provider, region in DATACENTERS
                ],
            ),
            "/deployments": listed("deployments", [self.summary(i) for i in self.deployment_ids]),
        }

    def summary(self, deployment_id: str) -> Body:
        """An entry of the list of deployments."""
        place = self.deployment_ids.index(deployment_id)
        random = self._random(f"deployment {deployment_id}")
        kind, _, _ = TYPES[place % len(TYPES)]
        summary: Body = {
            "id": deployment_id,
            "name": f"{PURPOSES[place % len(PURPOSES)]}-{kind.replace('_', '-')}-{place}",
            "type": kind,
            "created_at": formatted(
                OPENED + timedelta(minutes=random.randrange(60, 500_000)), random.randrange(3)
            ),
            "notes": random.choice((None, "", "Owned by the platform team.\nAsk before scaling.")),
            **links("compose_web_ui", f"/northwind/deployments/{place}"),
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
        deployment = Deployment(
            id=deployment_id,
            index=self.deployment_ids.index(deployment_id),
            summary=self.summary(deployment_id),
            is_ill=deployment_id == self.ill,
            recipes=self.size.recipes,
            account_id=self.id,
            people=self.people,
        )
        return RESOURCES[name](deployment, self._random(f"{name} of {deployment_id}"))

    def billables(self) -> list[Body]:
        """The billable items of the account."""
        random = self._random("billables")
        billables: list[Body] = []
        for place, deployment_id in enumerate(self.deployment_ids):
            start = OPENED + timedelta(days=random.randrange(400))
            amount = f"{random.randrange(1, 90_000) / 100:.2f}"
            ends = (
                "9999-12-31T23:59:59.999Z",
                "12017-01-01T00:00:00Z",
                formatted(start + timedelta(days=90), place),
            )
            billables.append(
                {
                    "id": made_id(random),
                    "account_id": self.id,
                    "amount": amount if place % 2 else json.loads(amount),
                    "start_at": formatted(start, place),
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
            provider, region = DATACENTERS[number]
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
                "created_at": formatted(OPENED + timedelta(days=number), number),
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
        for kind, name, versions in TYPES
    ]
