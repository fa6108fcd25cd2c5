"""Where deployments can run, and as what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tap_compose.streams.base import AccountStream
from tap_compose.streams.columns import boolean, key, records, schema, text, texts, time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tap_compose.rows import Row


class Clusters(AccountStream):
    """The clusters that the token's user may deploy to."""

    name = "clusters"
    path = "/clusters"
    envelope = ("clusters",)
    primary_keys = ("id",)
    schema = schema(
        key("id", "The cluster's id."),
        text("account_id", "The account that the cluster belongs to."),
        text("account_slug", "Short name of that account."),
        text("name", "The cluster's name."),
        text("type", "Kind of cluster, such as enterprise or multitenant."),
        boolean("multitenant", "Whether other accounts share the cluster."),
        text("provider", "Cloud provider, such as aws, gcp or softlayer."),
        text("region", "The provider's region."),
        text("subdomain", "Subdomain of the cluster's hosts."),
        time("created_at", "When the cluster was created."),
        texts("tags", "User-defined tags, which provisioning can ask for."),
    )


class Databases(AccountStream):
    """The types of database on offer, each with its versions."""

    name = "databases"
    path = "/databases"
    envelope = ("applications",)
    shared = True
    primary_keys = ("type",)
    schema = schema(
        key("type", "Type of database, such as postgresql."),
        text("status", "Its highest stability: stable, beta, alpha or deprecated."),
        text("display_name", "Its name for people."),
        records(
            "versions",
            "The known versions.",
            text("application", "Type of database of the version."),
            text("status", "Stability of the version."),
            text("version", "The version."),
            boolean("preferred", "Whether new deployments should take this version."),
        ),
    )

    @override
    def row(self, item: Any, given: Mapping[str, Any]) -> Row:
        versions = versions_of(item)
        return super().row(item, given if versions is None else {**given, "versions": versions})


class DatabaseVersions(AccountStream):
    """The versions of the databases on offer, one row each; the same answer as databases."""

    name = "database_versions"
    path = "/databases"
    envelope = ("applications",)
    shared = True
    primary_keys = ("application", "version")
    schema = schema(
        key("application", "Type of database, such as postgresql."),
        key("version", "The version."),
        text("status", "Stability of the version: stable, beta, alpha or deprecated."),
        boolean("preferred", "Whether new deployments should take this version."),
    )

    @override
    def items(self, body: bytes) -> list[Any]:
        return list(self._versions(self.objects(body)))

    @staticmethod
    def _versions(applications: list[Any]) -> Iterator[Any]:
        for application in applications:
            for version in versions_of(application) or []:
                if isinstance(version, dict) and version.get("application") is None:
                    version["application"] = application.get("type")
                yield version


def versions_of(application: Any) -> list[Any] | None:
    """Take the versions out of an entry of ``/databases``.

    Args:
        application: The entry.

    Returns:
        The list in its ``_embedded``, or None if it has none.
    """
    nested = application.get("_embedded") if isinstance(application, dict) else None
    versions = nested.get("versions") if isinstance(nested, dict) else None
    return versions if isinstance(versions, list) else None


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
