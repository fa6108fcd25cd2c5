"""The data of the sandbox: made up, plausible, and the same for the same seed.

Bodies are as the API sends them, in every spelling that it is known to use: three spellings of a
time, nulls and absent fields, sub-recipes inside recipes. ``Quirks`` add rare shapes: both
envelopes of addons and logfiles, ``_id``, numbers as text, times past the year 9999.

Each body has a separate random generator. Draw new values last, or all later ones change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from random import Random

from tap_compose.sandbox.billing import billables
from tap_compose.sandbox.data import (
    API,
    DATABASES,
    OPENED,
    PEOPLE,
    PURPOSES,
    Body,
    Deployment,
    formatted,
    link,
    listed,
    made_id,
)
from tap_compose.sandbox.deployments import RESOURCES
from tap_compose.sandbox.events import EventLog
from tap_compose.sandbox.platform import clusters, databases, datacenters
from tap_compose.sandbox.quirks import Quirks


@dataclass(frozen=True)
class Size:
    """How much there is in an account.

    Attributes:
        deployments: How many deployments.
        events: How many audit events.
        recipes: How many recipes at the top level of each deployment.
        seed: Decides everything else.
        accounts: How many accounts the token belongs to; the deployments are spread over them.
        quirks: How many rare shapes there are.
    """

    deployments: int = 20
    events: int = 5000
    recipes: int = 30
    seed: int = 1
    accounts: int = 1
    quirks: Quirks = Quirks.SOME


class Account:
    """An account of the sandbox, or several with one token.

    Args:
        size: How much there is in it.
    """

    def __init__(self, size: Size | None = None) -> None:
        self.size = size or Size()
        self.quirks = self.size.quirks
        random = Random(f"{self.size.seed}/ids")
        first = made_id(random)
        self.deployment_ids = [made_id(random) for _ in range(self.size.deployments)]
        self.ids = [first, *(made_id(random) for _ in range(self.size.accounts - 1))]
        self.events = EventLog(
            self.id, self.deployments, events=self.size.events, seed=self.size.seed
        )

    def _random(self, purpose: str) -> Random:
        return Random(f"{self.size.seed}/{purpose}")

    @property
    def id(self) -> str:
        """The id of the first account, often the only one."""
        return self.ids[0]

    @property
    def leaving(self) -> str | None:
        """The deployment that is being deprovisioned: still listed, no longer readable."""
        has_one = len(self.deployment_ids) > 2 and self.quirks is not Quirks.NONE
        return self.deployment_ids[-1] if has_one else None

    @property
    def ill(self) -> str | None:
        """The deployment on which alerts are raised."""
        return self.deployment_ids[1] if len(self.deployment_ids) > 1 else None

    @property
    def deployments(self) -> list[Deployment]:
        """The data of the deployments."""
        return [self._deployment(place) for place in range(len(self.deployment_ids))]

    def _deployment(self, place: int) -> Deployment:
        kind = DATABASES[place % len(DATABASES)].type.replace("_", "-")
        cluster = self._clusters[place % len(self._clusters)]
        return Deployment(
            id=self.deployment_ids[place],
            index=place,
            name=f"{PURPOSES[place % len(PURPOSES)]}-{kind}-{place}",
            account_id=cluster["account_id"],
            cluster_id=cluster["id"],
            cluster_name=cluster["name"],
            people=self.people,
            recipes=self.size.recipes,
            quirks=self.quirks,
        )

    @cached_property
    def people(self) -> list[Body]:
        """The account's users; one of them may have no name."""
        return [
            {
                "id": f"{number + 1:024x}",
                "name": None if self.quirks.here(number, every=len(PEOPLE)) else name,
            }
            for number, (name, _) in enumerate(PEOPLE)
        ]

    @cached_property
    def _accounts(self) -> list[Body]:
        return [
            {
                "id": account_id,
                "name": f"Northwind {number}" if number > 1 else "Northwind",
                "slug": f"northwind-{number}" if number > 1 else "northwind",
            }
            for number, account_id in enumerate(self.ids, start=1)
        ]

    @cached_property
    def _clusters(self) -> list[Body]:
        return clusters(self._accounts)

    @cached_property
    def account_level(self) -> dict[str, Body]:
        """The bodies of the account-level endpoints by path, without audit_events."""
        user: Body = {**self.people[0], "_links": {"self": link(f"{API}/user")}}
        if self.quirks is Quirks.ALL:
            del user["name"]
        return {
            "/accounts": listed("accounts", self._accounts),
            **{
                f"/accounts/{account_id}/users": listed("users", self.people[number:])
                for number, account_id in enumerate(self.ids)
            },
            "/user": user,
            "/teams": listed(
                "teams",
                [
                    {"id": f"{9001:024x}", "name": "Platform", "users": self.people[:3]},
                    {"id": f"{9002:024x}", "name": "Analytics", "users": []},
                ],
            ),
            "/billables": listed("billables", self.billables()),
            "/clusters": listed("clusters", self._clusters),
            "/databases": listed("applications", databases()),
            "/datacenters": listed("datacenters", datacenters()),
            "/deployments": listed("deployments", [self.summary(i) for i in self.deployment_ids]),
        }

    def summary(self, deployment_id: str) -> Body:
        """An entry of the list of deployments."""
        deployment = self._deployment(self.deployment_ids.index(deployment_id))
        random = self._random(f"deployment {deployment_id}")
        opened = OPENED + timedelta(minutes=random.randrange(60, 500_000))
        web_ui = f"https://app.compose.example/northwind/deployments/{deployment.index}"
        summary: Body = {
            "id": deployment_id,
            "name": deployment.name,
            "type": deployment.database.type,
            "created_at": formatted(opened, random.randrange(3)),
            "notes": random.choice((None, "Owned by the platform team.\nAsk before scaling.")),
            "customer_billing_code": random.choice((None, "CC-1001", "CC-2040")),
            "_links": {"compose_web_ui": link(web_ui)},
        }
        if deployment.has_quirk(every=3):
            summary["notes"] = ""
            del summary["customer_billing_code"]
        return summary

    def resource(self, deployment_id: str, name: str) -> Body:
        """The body of one of a deployment's endpoints.

        Args:
            deployment_id: The deployment.
            name: The last part of the path; empty for the details.

        Returns:
            The body.
        """
        deployment = self._deployment(self.deployment_ids.index(deployment_id))
        deployment = replace(deployment, is_ill=deployment_id == self.ill)
        body = RESOURCES[name](deployment, self._random(f"{name} of {deployment_id}"))
        if not name:
            summary = self.summary(deployment_id)
            body = {**summary, **body, "_links": summary["_links"] | body["_links"]}
        return body

    def billables(self) -> list[Body]:
        """The billable items of the account."""
        return billables(self.deployments, self._random("billables"))
