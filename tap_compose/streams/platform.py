"""Clusters, database types and datacenters."""

from __future__ import annotations

from typing import Any, ClassVar

from typing_extensions import override

from tap_compose.api import hal
from tap_compose.streams.base import AccountStream
from tap_compose.streams.columns import boolean, key, records, schema, text, texts, time


class Clusters(AccountStream):
    """The clusters that the token's user may deploy to."""

    name = "clusters"
    path = "/clusters"
    envelope = ("clusters",)
    primary_keys = ("id",)
    schema = schema(
        key("id", "The cluster's id."),
        text("account_id", "The account that the cluster belongs to."),
        text("account_slug", "Short name of the account."),
        text("name", "The cluster's name."),
        text("type", "Kind of cluster, such as enterprise or multitenant."),
        boolean("multitenant", "Whether other accounts share the cluster."),
        text("provider", "Cloud provider, such as aws, gcp or softlayer."),
        text("region", "The provider's region."),
        text("subdomain", "Subdomain of the cluster's hosts."),
        time("created_at", "When the cluster was created."),
        texts("tags", "User-defined tags, which provisioning can require."),
    )


class Databases(AccountStream):
    """The available database types, each with its versions."""

    name = "databases"
    path = "/databases"
    envelope = ("applications",)
    is_lenient = True
    extracted: ClassVar = {"versions": lambda application: hal.parts(application, "versions")}
    primary_keys = ("type",)
    schema = schema(
        key("type", "Type of database, such as postgresql."),
        text("status", "Highest stability of its versions: stable, beta, alpha or deprecated."),
        text("display_name", "Its display name."),
        records(
            "versions",
            "The known versions.",
            text("application", "Type of database of the version."),
            text("status", "Stability of the version."),
            text("version", "The version."),
            boolean("preferred", "Whether new deployments should take this version."),
        ),
    )


class DatabaseVersions(AccountStream):
    """The available database versions, one row each; from the same response as databases."""

    name = "database_versions"
    path = "/databases"
    is_lenient = True
    primary_keys = ("application", "version")
    schema = schema(
        key("application", "Type of database, such as postgresql."),
        key("version", "The version."),
        text("status", "Stability of the version: stable, beta, alpha or deprecated."),
        boolean("preferred", "Whether new deployments should take this version."),
    )

    @classmethod
    @override
    def unwrap(cls, content: Any) -> list[Any]:
        rows: list[Any] = []
        for application in hal.embedded(content, "applications"):
            for version in hal.parts(application, "versions") or []:
                if isinstance(version, dict) and version.get("application") is None:
                    version["application"] = application.get("type")
                rows.append(version)
        return rows


class Datacenters(AccountStream):
    """The datacenters of the platform."""

    name = "datacenters"
    path = "/datacenters"
    envelope = ("datacenters",)
    primary_keys = ("slug",)
    schema = schema(
        text("region", "The provider's region."),
        text("provider", "Cloud provider, such as aws, gcp or softlayer."),
        key("slug", "Short name, such as aws:us-east-1."),
    )
