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

from tap_compose.sandbox.billable_bodies import billables
from tap_compose.sandbox.data import API, PEOPLE, Body, formatted, link, listed, made_id, user_id
from tap_compose.sandbox.deployment_bodies import RESOURCES
from tap_compose.sandbox.events import EventLog
from tap_compose.sandbox.history import NEW_CODE, NO_CODE, RESTORED, Deployment
from tap_compose.sandbox.platform_bodies import clusters, databases, datacenters
from tap_compose.sandbox.quirks import Quirks
from tap_compose.sandbox.recipe_bodies import all_of

_SHOP = {"orders", "catalogue", "queue", "shop", "recommendations"}
"""What the deployments of the billing code CC-1001 hold."""


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
        self._made: dict[str, Deployment] = {}
        self._recipes: dict[str, str] = {}

    @cached_property
    def events(self) -> EventLog:
        """The audit events."""
        found = [*self.deployments, *self.former_deployments]
        return EventLog(self.id, found, events=self.size.events, seed=self.size.seed)

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
        return [self._deployment(each) for each in self.deployment_ids]

    @property
    def former_deployments(self) -> list[Deployment]:
        """The data of the deployments that are no longer listed, but were billed: none or two."""
        if len(self.deployment_ids) <= RESTORED:
            return []
        copy = self._deployment(self.deployment_ids[RESTORED])
        start, end = copy.created_at - timedelta(days=300), copy.created_at + timedelta(days=14)
        trial = self._deployment(self.deployment_ids[2])
        begin = trial.created_at + timedelta(days=580)
        trial_id = made_id(self._random("trial"))
        return [
            replace(copy, id=copy.replaces or "", replaces=None, gone=("legacy-shop", start, end)),
            replace(trial, id=trial_id, gone=("trial-cache", begin, begin + timedelta(days=45))),
        ]

    def _deployment(self, deployment_id: str) -> Deployment:
        if deployment_id not in self._made:
            place = self.deployment_ids.index(deployment_id)
            cluster = self._clusters[place % len(self._clusters)]
            self._made[deployment_id] = Deployment(
                id=deployment_id,
                index=place,
                account_id=cluster["account_id"],
                cluster_id=cluster["id"],
                cluster_name=cluster["name"],
                people=self._users(self.ids.index(cluster["account_id"])),
                recipes=self.size.recipes,
                quirks=self.quirks,
                is_leaving=deployment_id == self.leaving,
                replaces=made_id(self._random("replaced")) if place == RESTORED else None,
            )
        return self._made[deployment_id]

    @cached_property
    def people(self) -> list[Body]:
        """The account's users; one of them may have no name."""
        return [
            {
                "id": user_id(number),
                "name": None if self.quirks.here(number + 1, every=len(PEOPLE)) else name,
            }
            for number, (name, _) in enumerate(PEOPLE)
        ]

    def _users(self, place: int) -> list[Body]:
        """The users of an account: in the second the last one is missing, in the third two."""
        return self.people[: len(self.people) - place % 3]

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
                f"/accounts/{account_id}/users": listed("users", self._users(number))
                for number, account_id in enumerate(self.ids)
            },
            "/user": user,
            "/teams": listed(
                "teams",
                [
                    {"id": f"{9001:024x}", "name": "Platform", "users": self.people[:3]},
                    {"id": f"{9002:024x}", "name": "Analytics", "users": self.people[4:5]},
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
        deployment = self._deployment(deployment_id)
        place = deployment.index
        notes = None if place % 2 else "Owned by the platform team.\nAsk before scaling."
        if place == NEW_CODE:
            notes = "Billing code CC-1001 until January 2018."
        web_ui = f"https://app.compose.example/northwind/deployments/{deployment.name}"
        summary: Body = {
            "id": deployment_id,
            "name": deployment.name,
            "type": deployment.database.type,
            "created_at": formatted(deployment.created_at, place),
            "notes": notes,
            "customer_billing_code": None
            if place in NO_CODE
            else ("CC-1001" if deployment.database.purpose in _SHOP else "CC-2040"),
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
        deployment = self._deployment(deployment_id)
        if deployment_id == self.ill:
            deployment = replace(deployment, is_ill=True)
        body = RESOURCES[name](deployment, self._random(f"{name} of {deployment_id}"))
        if not name:
            summary = self.summary(deployment_id)
            body = {**summary, **body, "_links": summary["_links"] | body["_links"]}
        return body

    @property
    def hides_clusters(self) -> bool:
        """Whether the token's role may not read a single cluster."""
        return self.quirks is Quirks.ALL

    def recipe(self, recipe_id: str) -> Body | None:
        """Return a recipe, at any depth; None if there is none."""
        if not self._recipes:
            self._recipes = {
                recipe["id"]: deployment_id
                for deployment_id in self.deployment_ids
                if deployment_id != self.leaving
                for recipe in all_of(self.resource(deployment_id, "recipes"))
            }
        if recipe_id not in self._recipes:
            return None
        body = self.resource(self._recipes[recipe_id], "recipes")
        return next(each for each in all_of(body) if each["id"] == recipe_id)

    def finish(self, deployment_id: str) -> None:
        """Let the recipe of a deployment that runs or waits be complete."""
        self._made[deployment_id] = replace(self._deployment(deployment_id), has_finished=True)

    def billables(self) -> list[Body]:
        """The billable items of the account."""
        return billables([*self.former_deployments, *self.deployments])
