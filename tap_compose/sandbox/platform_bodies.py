"""What the platform offers: databases, datacenters and clusters."""

from __future__ import annotations

from datetime import timedelta

from tap_compose.sandbox.data import DATABASES, DATACENTERS, OPENED, Body, formatted


def databases() -> list[Body]:
    """Return the types of database, each with its versions."""
    return [
        {
            "type": each.type,
            "status": "stable" if "stable" in each.versions.values() else "beta",
            "display_name": each.name,
            "_embedded": {
                "versions": [
                    {
                        "application": each.type,
                        "status": status,
                        "preferred": version in each.preferred,
                        "version": version,
                    }
                    for version, status in each.versions.items()
                ]
            },
        }
        for each in DATABASES
    ]


def datacenters() -> list[Body]:
    """Return the datacenters."""
    return [
        {"region": region, "provider": provider, "slug": f"{provider}:{region}"}
        for provider, region in DATACENTERS
    ]


def clusters(accounts: list[Body]) -> list[Body]:
    """Return the clusters of the accounts: a private one and one that others share.

    Args:
        accounts: The accounts, as in the list of them.

    Returns:
        Two clusters, or one for each account if there are more.
    """
    found: list[Body] = []
    for number in range(max(2, len(accounts))):
        account = accounts[number % len(accounts)]
        provider, region = DATACENTERS[number % len(DATACENTERS)]
        cluster: Body = {
            "id": f"{700 + number:024x}",
            "account_id": account["id"],
            "account_slug": account["slug"],
            "name": f"{account['slug']}-{region}-c{number:02d}",
            "type": "enterprise" if number == 0 else "multitenant",
            "multitenant": number > 0,
            "provider": provider,
            "region": region,
            "subdomain": f"{account['slug']}.{number}.example",
            "created_at": formatted(OPENED + timedelta(days=number), number),
        }
        if number == 0:
            cluster["tags"] = ["production", "europe"]
        found.append(cluster)
    return found
