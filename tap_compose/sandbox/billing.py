"""The billable items of an account."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from tap_compose.sandbox.data import OPENED, Body, Deployment, formatted, made_id

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random


def billables(deployments: Iterable[Deployment], random: Random) -> list[Body]:
    """Return a billable item for each deployment."""
    items: list[Body] = []
    for place, deployment in enumerate(deployments):
        start = OPENED + timedelta(days=random.randrange(400))
        amount = f"{random.randrange(1, 90_000) / 100:.2f}"
        is_odd = deployment.has_quirk(every=2)
        end = "12017-01-01T00:00:00Z" if is_odd else "9999-12-31T23:59:59.999Z"
        items.append(
            {
                "id": made_id(random),
                "account_id": deployment.account_id,
                "amount": amount if is_odd else json.loads(amount),
                "start_at": formatted(start, place),
                "end_at": end if place % 3 != 2 else formatted(start + timedelta(days=90), place),
                "description": f"{place + 1} units of {deployment.database.unit_type}",
                "identifier": deployment.id,
                "resource_identifier": f"capsule-{place}",
                "sku": f"com.compose.unit.{deployment.database.unit_type}",
                "units": str(place + 1) if is_odd else place + 1,
                "replaces_id": items[-1]["id"] if place % 5 == 4 else None,
            }
        )
    return items
