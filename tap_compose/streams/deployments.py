"""The deployments and their parts."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from typing_extensions import override

from tap_compose.api import hal
from tap_compose.streams.base import DeploymentStream, ListStream
from tap_compose.streams.columns import (
    DEPLOYMENT_ID,
    boolean,
    free_form,
    free_forms,
    integer,
    key,
    record,
    records,
    schema,
    text,
    texts,
    time,
)

if TYPE_CHECKING:
    from singer_sdk import typing as th

    from tap_compose.rows.reader import Row


def summary_columns() -> list[th.Property[Any]]:
    """Return the columns that deployments and deployment_details have in common."""
    return [
        key("id", "The deployment's id."),
        text("name", "The deployment's name."),
        text("type", "Type of its database, such as postgresql."),
        text("notes", "Notes of the users on it."),
        text("customer_billing_code", "Billing code that the account assigned to it."),
        time("created_at", "When its provisioning began."),
        text("compose_web_ui_url", "URL of the deployment in the Compose console."),
    ]


def _web_ui_url(deployment: dict[str, Any]) -> str | None:
    return hal.link(deployment, "compose_web_ui")


def _linked_cluster(deployment: dict[str, Any]) -> str | None:
    """Return the id at the end of the link to the cluster: its only place before September 2017."""
    address = hal.link(deployment, "cluster")
    return address.rstrip("/").rpartition("/")[2] if address else None


class Deployments(ListStream):
    """All deployments of the account, regardless of deployment_ids and deployment_shard."""

    name = "deployments"
    path = "/deployments"
    envelope = ("deployments",)
    primary_keys = ("id",)
    is_lenient = True
    extracted: ClassVar = {"compose_web_ui_url": _web_ui_url}
    schema = schema(*summary_columns())


class DeploymentDetails(DeploymentStream):
    """The details of a deployment: the columns of deployments, and more."""

    name = "deployment_details"
    path = "/deployments/{}"
    injected_columns = ("id",)
    is_lenient = True
    extracted: ClassVar = {"compose_web_ui_url": _web_ui_url, "cluster_id": _linked_cluster}
    primary_keys = ("id",)
    schema = schema(
        *summary_columns(),
        text("account_id", "The account that the deployment belongs to."),
        text("cluster_id", "The cluster that it runs on."),
        text("version", "Version of its database."),
        text(
            "ca_certificate_base64",
            "CA certificate in base64; null with Let's Encrypt.",
        ),
        text("provision_recipe_id", "The recipe that provisioned it."),
        record(
            "connection_strings",
            "How to connect to it. Contains live passwords, so it is null unless "
            "include_connection_strings is set. Credentials.",
            texts("health", "For health checks."),
            texts("ssh", "For SSH tunnels."),
            texts("admin", "For the administration UI."),
            texts("ssh_admin", "For administration over SSH."),
            texts("cli", "Shell commands that open a console."),
            texts("direct", "For applications."),
            free_forms("maps", "Maps from internal to public address; for Scylla only."),
            free_form("misc", "For specific tools, by tool."),
        ),
    )

    @override
    def columns_of(self, deployment_id: str) -> dict[str, Any]:
        if self.run.settings.include_connection_strings:
            return {"id": deployment_id}
        return {"id": deployment_id, "connection_strings": None}


class DeploymentAddons(DeploymentStream):
    """The addons that a deployment can have."""

    name = "deployment_addons"
    path = "/deployments/{}/addons"
    envelope = ("addons",)
    envelope_optional = True
    primary_keys = ("deployment_id", "name")
    schema = schema(
        DEPLOYMENT_ID,
        key("name", "The addon's name."),
        boolean("is_active", "Whether the deployment has it."),
    )


def _alerts_of(body: Any) -> list[Any]:
    """Return the alerts of a body; a body with a summary may leave out an empty list."""
    if isinstance(body, dict) and "_embedded" not in body and isinstance(body.get("summary"), str):
        return []
    return hal.embedded(body, "alerts")


def _digest(alert: Row) -> str:
    parts = [alert[name] for name in ("deployment_id", "capsule_id", "name", "message")]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


class DeploymentAlerts(DeploymentStream):
    """The current alerts of a deployment; a healthy one has none."""

    name = "deployment_alerts"
    path = "/deployments/{}/alerts"
    is_lenient = True
    derived: ClassVar = {"id": _digest}
    primary_keys = ("id",)
    schema = schema(
        key(
            "id",
            "SHA-256, in hex, of the compact JSON array of deployment_id, capsule_id, name and "
            "message: the API gives alerts no id.",
        ),
        DEPLOYMENT_ID,
        text("capsule_id", "The capsule that it concerns; null if it concerns the deployment."),
        text("name", "The alert's name."),
        text("message", "What is wrong, as text."),
        text("status", "healthy, warning, critical, unknown or waiting."),
        text("summary", "Overall status of the deployment."),
    )

    @classmethod
    @override
    def unwrap(cls, content: Any) -> list[Any]:
        summary = {"summary": content.get("summary")} if isinstance(content, dict) else {}
        alerts = _alerts_of(content)
        return [{**each, **summary} if isinstance(each, dict) else each for each in alerts]


class DeploymentHealth(DeploymentStream):
    """One row per deployment; from the same response as deployment_alerts."""

    name = "deployment_health"
    path = "/deployments/{}/alerts"
    is_lenient = True
    primary_keys = ("deployment_id",)
    schema = schema(
        DEPLOYMENT_ID,
        text("summary", "Overall status: healthy, warning, critical, unknown or waiting."),
        integer("alert_count", "Number of current alerts."),
    )

    @classmethod
    @override
    def unwrap(cls, content: Any) -> list[Any]:
        alerts = _alerts_of(content)
        owner = next((each.get("deployment_id") for each in alerts if isinstance(each, dict)), None)
        return [
            {
                "deployment_id": owner,  # only compared
                "summary": content.get("summary"),
                "alert_count": len(alerts),
            }
        ]


class DeploymentBackups(DeploymentStream):
    """The backups of a deployment, without download links: those need no login."""

    name = "deployment_backups"
    path = "/deployments/{}/backups"
    envelope = ("backups",)
    primary_keys = ("id",)
    aliases: ClassVar = {"id": ("_id",)}
    schema = schema(
        key("id", "The backup's id."),
        DEPLOYMENT_ID,
        text("name", "The backup's name, which contains its start time."),
        text("type", "daily, weekly, monthly or on_demand."),
        text("status", "running, complete or failed."),
        boolean("is_downloadable", "Whether it can be downloaded."),
        boolean("is_restorable", "Whether a new deployment can be restored from it."),
        time("created_at", "When it was completed; null while it runs."),
    )


class DeploymentLogfiles(DeploymentStream):
    """The log files of a deployment, without download links: those need no login."""

    name = "deployment_logfiles"
    path = "/deployments/{}/logfiles"
    envelope = ("logfiles", "logfile")
    primary_keys = ("id",)
    is_lenient = True
    aliases: ClassVar = {"date": ("created_at",)}
    schema = schema(
        key("id", "The log file's id."),
        DEPLOYMENT_ID,
        text("capsule_id", "The capsule that wrote it."),
        text("name", "The log file's name, which contains its time."),
        text("region", "Where it is stored."),
        text("status", "Whether it is complete."),
        integer("file_size", "Its size in bytes."),
        time("date", "When it was captured; created_at if the API gives no date."),
        time("created_at", "When it was created."),
    )


class DeploymentPortals(DeploymentStream):
    """The portals of a deployment, through which clients connect."""

    name = "deployment_portals"
    path = "/deployments/{}/portals"
    envelope = ("portals",)
    primary_keys = ("id",)
    schema = schema(
        key("id", "The portal's id."),
        DEPLOYMENT_ID,
        text("name", "The portal's name."),
        text("type", "Kind of portal, such as haproxy, ssl, mongodb or rethink."),
        text("internal_ip", "Its address inside the cluster. Infrastructure."),
        text("zone", "The zone that it runs in."),
        text("hostname", "Its host name. Infrastructure."),
        boolean("ssl_enabled", "Whether it uses TLS; only known for Redis."),
    )


class DeploymentPortalUsers(DeploymentStream):
    """The users of a deployment's portals."""

    name = "deployment_portal_users"
    path = "/deployments/{}/portal_users"
    envelope = ("portal_users",)
    primary_keys = ("deployment_id", "type", "name")
    schema = schema(
        DEPLOYMENT_ID,
        key("type", "Kind of portal that the user is for, ssh or haproxy."),
        key("name", "The portal user's name. May be personal."),
        text("id", "The portal user's id, if there is one."),
    )


class DeploymentRoles(DeploymentStream):
    """The roles on a deployment, each with its users."""

    name = "deployment_roles"
    path = "/deployments/{}/roles"
    envelope = ("roles",)
    primary_keys = ("deployment_id", "name")
    schema = schema(
        DEPLOYMENT_ID,
        key("name", "The role: developer, manager or admin."),
        records(
            "users",
            "The users who have it.",
            text("id", "The user's id."),
            text("name", "The user's name. Personal."),
        ),
    )


class DeploymentScalings(DeploymentStream):
    """The size of a deployment, in units of memory and storage."""

    name = "deployment_scalings"
    path = "/deployments/{}/scalings"
    primary_keys = ("deployment_id",)
    schema = schema(
        DEPLOYMENT_ID,
        integer("allocated_units", "Units that it has."),
        integer("used_units", "Units that it uses."),
        integer("starting_units", "Minimum units for its type of database."),
        integer("minimum_units", "Minimum units that it can be scaled to."),
        integer("memory_per_unit_in_mb", "Memory of one unit in megabytes."),
        integer("storage_per_unit_in_mb", "Storage of one unit in megabytes."),
        integer("unit_size_in_mb", "Size of one unit in megabytes of what unit_type names."),
        text("unit_type", "What a unit measures: memory or data."),
    )


class DeploymentTeamRoles(DeploymentStream):
    """The roles on a deployment, each with its teams."""

    name = "deployment_team_roles"
    path = "/deployments/{}/team_roles"
    envelope = ("team_roles",)
    primary_keys = ("deployment_id", "name")
    schema = schema(
        DEPLOYMENT_ID,
        key("name", "The role: developer, manager or admin."),
        records(
            "teams",
            "The teams that have it.",
            text("id", "The team's id."),
            text("name", "The team's name."),
            records(
                "users",
                "The members of the team, if the API returns them.",
                text("id", "The user's id."),
                text("name", "The user's name. Personal."),
            ),
        ),
    )


class DeploymentVersions(DeploymentStream):
    """The versions that a deployment can be upgraded to."""

    name = "deployment_versions"
    path = "/deployments/{}/versions"
    envelope = ("transitions",)
    primary_keys = ("deployment_id", "application", "from_version", "to_version", "method")
    schema = schema(
        DEPLOYMENT_ID,
        key("application", "Type of database."),
        key("from_version", "Its current version."),
        key("to_version", "A version that it can be upgraded to."),
        key("method", "How it is upgraded: in_place or restore."),
    )


class DeploymentWhitelist(DeploymentStream):
    """The addresses that may connect to a deployment."""

    name = "deployment_whitelist"
    path = "/deployments/{}/whitelist"
    envelope = ("whitelist",)
    primary_keys = ("deployment_id", "id")
    schema = schema(
        DEPLOYMENT_ID,
        key("id", "The entry's id."),
        text("description", "What the entry is for."),
        text("ip", "The address or network, as CIDR. Infrastructure."),
    )
