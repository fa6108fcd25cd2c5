"""The recipes of a deployment: everything that was done to it."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from random import Random
from typing import TYPE_CHECKING

from tap_compose.sandbox.data import NOW, Body, address_of, formatted, listed, made_id, user_id
from tap_compose.sandbox.history import (
    FAILED_BACKUP,
    OVERDUE_BACKUP,
    OVERDUE_DAYS,
    Deployment,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_DETAILS = {
    "complete": "All operations have completed successfully!",
    "running": "\tRunning create_capsule on host-1",
    "waiting": "Waiting for another recipe of this deployment",
    "failed": "A capsule did not respond",
}


def provision_recipe_id(deployment: Deployment) -> str:
    """Return the id of the recipe that provisioned a deployment: the oldest, if it is kept."""
    return made_id(Random(f"provision {deployment.id}"))


def recipes(deployment: Deployment, random: Random) -> Body:
    """Return the body of a deployment's recipes, the newest first."""
    numbers = count()
    seconds = random.randrange(30, 300)

    def recipe(parent_id: str | None, step: Step, parts: int) -> Body:
        number = next(numbers)
        is_first = step is steps[0] and parent_id is None
        recipe_id = provision_recipe_id(deployment) if is_first else made_id(random)
        done = min(step.at + timedelta(seconds=seconds + number % 97), NOW)
        if deployment.has_finished and step is steps[-1]:
            done = NOW
        by = step.person
        total = number % 7 + 1
        body: Body = {
            "id": recipe_id,
            "account_id": deployment.account_id,
            "parent_id": parent_id,
            "template": "Recipes::Deployment::Run",
            "status": step.status,
            "status_detail": _DETAILS[step.status],
            "created_at": formatted(step.at, number),
            "updated_at": formatted(done, number + 1),
            "deployment_id": deployment.id,
            "name": step.recipe,
            # Scheduled backups have nobody who started them.
            "source": None if by is None else "customer_api",
            "source_user": None if by is None else user_id(by),
            "source_reason": None,
            "source_ip": None if by is None else address_of(by),
        }
        if not deployment.quirks.here(number, every=4):
            body["operations_total"] = total
            body["operations_complete"] = total if step.status == "complete" else total - 1
        # A part names its parent, or leaves that to where it stands.
        inside = None if deployment.quirks.here(number, every=2) else recipe_id
        names = ("Creating capsules", "Updating haproxy portals")
        body["_embedded"] = {
            "recipes": [
                recipe(
                    inside,
                    step._replace(at=step.at + timedelta(seconds=each), recipe=names[each]),
                    parts // 2,
                )
                for each in range(parts)
            ]
        }
        return body

    steps = _steps(deployment)
    found = [
        recipe(None, step, 0 if place % 3 else 2) for place, step in enumerate(reversed(steps))
    ]
    if len(found) > 1 and deployment.has_quirk(every=2):  # a child that stands at the top too
        found += found[0]["_embedded"]["recipes"][:1]
    return listed("recipes", found)


def _steps(deployment: Deployment) -> list[Step]:
    """The steps that have a recipe, and backups in between: as many as there are to be."""
    steps = [each for each in deployment.steps if each.recipe]
    wanted = deployment.recipes
    if wanted <= len(steps):
        return [*steps[:1], *steps[len(steps) - wanted + 1 :]] if wanted else []
    made, number = deployment.created_at, wanted - len(steps)
    last = NOW - timedelta(days=OVERDUE_DAYS if deployment.index == OVERDUE_BACKUP else 0)
    for place in range(number):
        day = made + (last - made) * ((place + 1) / number)
        at = deployment.backup_time(day)
        if not made < at < NOW:  # on the first day
            at = day - (day - made) / 2
        is_failed = place % 9 == 5 and place < number - 3
        if deployment.index == FAILED_BACKUP and place == number - 1:
            is_failed = True
        status = "failed" if is_failed else "complete"
        steps.append(Step(at.replace(microsecond=0), "backup", "Backup", None, 0, status))
    return sorted(steps, key=lambda each: each.at)


def all_of(body: Body) -> Iterator[Body]:
    """Return the recipes in a body, or in a recipe, with all that they are made of."""
    for each in body["_embedded"]["recipes"]:
        yield each
        yield from all_of(each)
