"""The billable items of an account."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from tap_compose.sandbox.data import NOW, Body, formatted, made_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from tap_compose.sandbox.history import Deployment

PORTAL_PRICE = 4.5
"""US dollars per month for an additional portal, a capsule of its own."""


def billables(deployments: Iterable[Deployment]) -> list[Body]:
    """Return the billable items of deployments and of their capsules."""
    return [each for deployment in deployments for each in _items(deployment)]


def _items(deployment: Deployment) -> Iterator[Body]:
    """One item for each size that a deployment has had, and those of its portals."""
    database = deployment.database
    if not database.price:
        return
    random = Random(f"billables of {deployment.id}")
    end = deployment.gone[2] if deployment.gone else None
    sizes: list[tuple[datetime, int]] = []
    for step in deployment.steps:
        if step.status == "complete" and (not sizes or step.units != sizes[-1][1]):
            sizes.append((step.at, step.units))
    replaced = deployment.replaces
    for place, (start, units) in enumerate(sizes):
        yield {
            **_item(deployment, random, units * database.price, units),
            **_period(deployment, start, sizes[place + 1][0] if sizes[place + 1 :] else end),
            "identifier": deployment.id,
            "description": f"{units} units of {database.unit_type}",
            "sku": f"com.compose.unit.{database.unit_type}",
            "replaces_id": replaced,
        }
        replaced = deployment.id  # by its next size
    if deployment.index % 4 == 2:  # has an additional portal, made again after half a year
        first = deployment.created_at + timedelta(days=10)
        second = first + timedelta(days=180)
        has_second = second < (end or NOW)
        for number, start in enumerate([first, second][: 1 + has_second]):
            yield {
                **_item(deployment, random, PORTAL_PRICE, 1),
                **_period(deployment, start, second if has_second and not number else end),
                "identifier": deployment.capsule(number),
                "description": "haproxy portal",
                "sku": "com.compose.capsule.haproxy",
                "replaces_id": deployment.capsule(0) if number else None,
            }


def _item(deployment: Deployment, random: Random, amount: float, units: int) -> Body:
    is_odd = deployment.has_quirk(every=2)
    return {
        "id": made_id(random),
        "account_id": deployment.account_id,
        "amount": f"{amount:.2f}" if is_odd else round(amount, 2),
        "resource_identifier": deployment.cluster_id,
        "units": str(units) if is_odd else units,
    }


def _period(deployment: Deployment, start: datetime, end: datetime | None) -> Body:
    never = "12017-01-01T00:00:00Z" if deployment.has_quirk(every=2) else "9999-12-31T23:59:59.999Z"
    return {
        "start_at": formatted(start, deployment.index),
        "end_at": formatted(end, deployment.index) if end else never,
    }
