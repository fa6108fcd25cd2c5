"""Clusters, database types and datacenters."""

from __future__ import annotations

from typing import Any, ClassVar

from typing_extensions import override

from tap_compose.api import hal
from tap_compose.api.errors import UnreadableBodyError
from tap_compose.streams.base import AccountStream
from tap_compose.streams.columns import boolean, key, records, schema, text, texts, time

PREFERRED = "Whether new deployments should take it; true for several versions of a type."


class Clusters(AccountStream):
    """Clusters that the token's user can deploy to."""

    name = "clusters"
    schema = schema(
        key("id", "Cluster id."),
        text("account_id", "Account that owns the cluster."),
        text("account_slug", "Short name of that account."),
        text("name", "Cluster name."),
        text("type", "Kind of cluster, such as enterprise or multitenant."),
        boolean("multitenant", "Whether other accounts share the cluster."),
        text("provider", "Cloud provider, such as aws, gcp or softlayer."),
        text("region", "Region of the provider."),
        text("subdomain", "Subdomain of the cluster's hosts."),
        time("created_at", "Creation time."),
        texts("tags", "User-defined tags, used in provisioning."),
    )


class Databases(AccountStream):
    """Database types on offer, with their versions."""

    name = "databases"
    envelope = ("applications",)
    extracted: ClassVar = {"versions": lambda application: hal.parts(application, ("versions",))}
    primary_keys = ("type",)
    schema = schema(
        key("type", "Database type, such as postgresql."),
        text("status", "Highest stability of its versions: stable, beta, alpha or deprecated."),
        text("display_name", "Display name."),
        records(
            "versions",
            "Versions on offer.",
            text("application", "Database type."),
            text("status", "Stability, as in database_versions."),
            text("version", "Version number."),
            boolean("preferred", PREFERRED),
        ),
    )


class DatabaseVersions(AccountStream):
    """Database versions on offer, one row each; same request as databases."""

    name = "database_versions"
    path = "/databases"
    envelope = ("applications",)
    primary_keys = ("application", "version")
    schema = schema(
        key("application", "Database type, such as postgresql."),
        key("version", "Version number."),
        text("status", "Stability: stable, beta, alpha or deprecated."),
        boolean("preferred", PREFERRED),
    )

    @classmethod
    @override
    def unwrap(cls, content: Any) -> list[Any]:
        rows: list[Any] = []
        for application in hal.embedded(content, *cls.envelope):
            versions = hal.parts(application, ("versions",))
            if versions is None:
                raise UnreadableBodyError("an application without a list of versions")
            for version in versions:
                if isinstance(version, dict) and version.get("application") is None:
                    version["application"] = application.get("type")
                rows.append(version)
        return rows


class Datacenters(AccountStream):
    """Datacenters of the platform."""

    name = "datacenters"
    primary_keys = ("slug",)
    schema = schema(
        text("region", "Region of the provider."),
        text("provider", "Cloud provider, such as aws, gcp or softlayer."),
        key("slug", "Short name, such as aws:us-east-1."),
    )
