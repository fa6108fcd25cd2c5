"""The recipes of a deployment: everything that was done to it."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from random import Random
from typing import TYPE_CHECKING

from tap_compose.sandbox.data import NOW, Body, Deployment, formatted, listed, made_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime


def provision_recipe_id(deployment: Deployment) -> str:
    """Return the id of the recipe that provisioned a deployment: the oldest, if it is kept."""
    return made_id(Random(f"provision {deployment.id}"))


def recipes(deployment: Deployment, random: Random) -> Body:
    """Return the body of a deployment's recipes, the newest first."""
    numbers = count()

    def recipe(
        parent_id: str | None, moment: datetime, parts: int, *, is_first: bool = False
    ) -> Body:
        number = next(numbers)
        recipe_id = provision_recipe_id(deployment) if is_first else made_id(random)
        done = moment + timedelta(seconds=random.randrange(1, 900))
        body: Body = {
            "id": recipe_id,
            "account_id": deployment.account_id,
            "parent_id": parent_id,
            "template": "Recipes::Deployment::Run",
            "status": _status(deployment, number),
            "status_detail": f"\tRunning step {number} on {deployment.index}",
            "created_at": formatted(moment, number),
            "updated_at": formatted(done, number + 1),
            "deployment_id": deployment.id,
            "name": "Provisioning"
            if is_first
            else random.choice(("Creating haproxy portal", "Backup", "Scaling up")),
            "source": "customer_api",
            "source_user": deployment.people[number % len(deployment.people)]["id"],
            "source_reason": None,
            "source_ip": f"198.51.100.{number % 250 + 1}",
        }
        if not deployment.quirks.here(number, every=4):
            body["operations_total"] = number % 7 + 1
            body["operations_complete"] = number % 7 + (body["status"] == "complete")
        # A part names its parent, or leaves that to where it stands.
        inside = None if deployment.quirks.here(number, every=2) else recipe_id
        body["_embedded"] = {
            "recipes": [
                recipe(inside, moment + timedelta(seconds=each), parts // 2)
                for each in range(parts)
            ]
        }
        return body

    found = [
        recipe(
            None,
            NOW - timedelta(hours=7 * (each + 1), seconds=deployment.index),
            0 if each % 3 else 2,
            is_first=each == deployment.recipes - 1,
        )
        for each in range(deployment.recipes)
    ]
    if len(found) > 1 and deployment.has_quirk(every=2):  # a child that stands at the top too
        found += found[0]["_embedded"]["recipes"][:1]
    return listed("recipes", found)


def all_of(body: Body) -> Iterator[Body]:
    """Return the recipes in a body, or in a recipe, with all that they are made of."""
    for each in body["_embedded"]["recipes"]:
        yield each
        yield from all_of(each)


def _status(deployment: Deployment, number: int) -> str:
    if number == 0:  # the newest is not over yet everywhere
        return ("running", "waiting", "complete")[min(deployment.index, 2)]
    return "complete" if number % 11 else "failed"
