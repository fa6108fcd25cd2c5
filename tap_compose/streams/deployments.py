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

    from tap_compose.rows import Row


def summary_columns() -> list[th.Property[Any]]:
    """Return the columns that deployments and deployment_details have in common."""
    return [
        key("id", "Deployment id."),
        text("name", "Deployment name."),
        text("type", "Database type, such as postgresql."),
        text("notes", "Notes by users."),
        text("customer_billing_code", "Billing code that the account assigned."),
        time("created_at", "When provisioning began."),
        text("compose_web_ui_url", "Link to the Compose console."),
    ]


def _web_ui_url(deployment: dict[str, Any]) -> str | None:
    return hal.link(deployment, "compose_web_ui")


def _linked_cluster(deployment: dict[str, Any]) -> str | None:
    """Return the id at the end of the link to the cluster: its only place before September 2017."""
    address = hal.link(deployment, "cluster")
    return address.rstrip("/").rpartition("/")[2] if address else None


class Deployments(ListStream):
    """All deployments; deployment_ids and deployment_shard do not filter them."""

    name = "deployments"
    path = "/deployments"
    envelope = ("deployments",)
    primary_keys = ("id",)
    extracted: ClassVar = {"compose_web_ui_url": _web_ui_url}
    schema = schema(*summary_columns())


class DeploymentDetails(DeploymentStream):
    """Deployments with all columns, including those of the detail endpoint only."""

    name = "deployment_details"
    path = "/deployments/{}"
    id_column = "id"
    injected_columns = ("id",)
    extracted: ClassVar = {"compose_web_ui_url": _web_ui_url, "cluster_id": _linked_cluster}
    primary_keys = ("id",)
    schema = schema(
        *summary_columns(),
        text("account_id", "Account that owns the deployment."),
        text("cluster_id", "Cluster that it runs on."),
        text("version", "Database version."),
        text(
            "ca_certificate_base64",
            "CA certificate, base64; null for Let's Encrypt.",
        ),
        text("provision_recipe_id", "Recipe that provisioned it."),
        record(
            "connection_strings",
            "URLs and commands with live passwords; null unless include_connection_strings is set. "
            "Credentials.",
            texts("health", "For health checks."),
            texts("ssh", "For SSH tunnels."),
            texts("admin", "For the admin interface."),
            texts("ssh_admin", "For administration over SSH."),
            texts("cli", "Shell commands that open a console."),
            texts("direct", "For applications."),
            free_forms("maps", "Internal to public addresses; Scylla only."),
            free_form("misc", "For single tools, by name."),
        ),
    )

    @override
    def columns_of(self, item_id: str) -> dict[str, Any]:
        if self.run.settings.include_connection_strings:
            return {"id": item_id}
        return {"id": item_id, "connection_strings": None}


class DeploymentAddons(DeploymentStream):
    """Addons on offer for each deployment."""

    name = "deployment_addons"
    path = "/deployments/{}/addons"
    envelope = ("addons",)
    envelope_optional = True
    primary_keys = ("deployment_id", "name")
    schema = schema(
        DEPLOYMENT_ID,
        key("name", "Addon name."),
        boolean("is_active", "Whether it is installed."),
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
    """Current alerts of each deployment; none if it is healthy."""

    name = "deployment_alerts"
    path = "/deployments/{}/alerts"
    derived: ClassVar = {"id": _digest}
    primary_keys = ("id",)
    schema = schema(
        key(
            "id",
            "SHA-256 in hex of the compact JSON array of deployment_id, capsule_id, name and "
            "message; the API has no id.",
        ),
        DEPLOYMENT_ID,
        text("capsule_id", "Capsule that it concerns, if any."),
        text("name", "Alert name."),
        text("message", "Text of the alert."),
        text("status", "healthy, warning, critical, unknown or waiting."),
        text("summary", "Health of the deployment."),
    )

    @classmethod
    @override
    def unwrap(cls, content: Any) -> list[Any]:
        alerts = _alerts_of(content)
        if "summary" in content:
            for alert in alerts:
                if isinstance(alert, dict):
                    alert["summary"] = content["summary"]
        return alerts


class DeploymentHealth(DeploymentStream):
    """Health of each deployment; same request as deployment_alerts."""

    name = "deployment_health"
    path = "/deployments/{}/alerts"
    primary_keys = ("deployment_id",)
    schema = schema(
        DEPLOYMENT_ID,
        text("summary", "healthy, warning, critical, unknown or waiting."),
        integer("alert_count", "Number of current alerts."),
    )

    @classmethod
    @override
    def unwrap(cls, content: Any) -> list[Any]:
        alerts = _alerts_of(content)
        owners = [each.get("deployment_id") for each in alerts if isinstance(each, dict)]
        return [
            {
                # Only compared: an alert of another deployment does not make the rest unreadable.
                "deployment_id": owners[0] if owners and owners == owners[:1] * len(owners) else "",
                "summary": content.get("summary"),
                "alert_count": len(alerts),
            }
        ]


class DeploymentBackups(DeploymentStream):
    """Backups of each deployment, without download links."""

    name = "deployment_backups"
    path = "/deployments/{}/backups"
    envelope = ("backups",)
    primary_keys = ("id",)
    aliases: ClassVar = {"id": ("_id",)}
    schema = schema(
        key("id", "Backup id."),
        DEPLOYMENT_ID,
        text("name", "Backup name, which contains its start time."),
        text("type", "daily, weekly, monthly or on_demand."),
        text("status", "running, complete or failed."),
        boolean("is_downloadable", "Whether it can be downloaded."),
        boolean("is_restorable", "Whether it can be restored into a new deployment."),
        time("created_at", "Completion time; null while it runs."),
    )


class DeploymentLogfiles(DeploymentStream):
    """Log files of each deployment, without download links."""

    name = "deployment_logfiles"
    path = "/deployments/{}/logfiles"
    envelope = ("logfiles", "logfile")
    primary_keys = ("id",)
    aliases: ClassVar = {"date": ("created_at",)}
    schema = schema(
        key("id", "Log file id."),
        DEPLOYMENT_ID,
        text("capsule_id", "Capsule that wrote it."),
        text("name", "Log file name, which contains its time."),
        text("region", "Region of its storage."),
        text("status", "State of the file, such as complete."),
        integer("file_size", "Size in bytes."),
        time("date", "Capture time, or created_at if the API has none."),
        time("created_at", "Creation time."),
    )


class DeploymentPortals(DeploymentStream):
    """Portals, the access points of each deployment."""

    name = "deployment_portals"
    path = "/deployments/{}/portals"
    envelope = ("portals",)
    primary_keys = ("id",)
    schema = schema(
        key("id", "Portal id."),
        DEPLOYMENT_ID,
        text("name", "Portal name."),
        text("type", "Kind of portal, such as haproxy, ssl, mongodb or rethink."),
        text("internal_ip", "Address inside the cluster. Infrastructure."),
        text("zone", "Zone of the portal."),
        text("hostname", "Host name. Infrastructure."),
        boolean("ssl_enabled", "Whether it uses TLS; set for Redis only."),
    )


class DeploymentPortalUsers(DeploymentStream):
    """Users of each deployment's portals."""

    name = "deployment_portal_users"
    path = "/deployments/{}/portal_users"
    envelope = ("portal_users",)
    primary_keys = ("deployment_id", "type", "name")
    schema = schema(
        DEPLOYMENT_ID,
        key("type", "Kind of portal: ssh or haproxy."),
        key("name", "Portal user name. May be personal."),
        text("id", "Portal user id, if any."),
    )


class DeploymentRoles(DeploymentStream):
    """Users who have each role on a deployment."""

    name = "deployment_roles"
    path = "/deployments/{}/roles"
    envelope = ("roles",)
    primary_keys = ("deployment_id", "name")
    schema = schema(
        DEPLOYMENT_ID,
        key("name", "developer, manager or admin."),
        records(
            "users",
            "Users who have the role.",
            text("id", "User id."),
            text("name", "User name. Personal."),
        ),
    )


class DeploymentScalings(DeploymentStream):
    """Size of each deployment, in units of memory and storage."""

    name = "deployment_scalings"
    path = "/deployments/{}/scalings"
    primary_keys = ("deployment_id",)
    schema = schema(
        DEPLOYMENT_ID,
        integer("allocated_units", "Units allocated."),
        integer("used_units", "Units used."),
        integer("starting_units", "Minimum for its database type."),
        integer("minimum_units", "Minimum it can be scaled to."),
        integer("memory_per_unit_in_mb", "Memory per unit in megabytes."),
        integer("storage_per_unit_in_mb", "Storage per unit in megabytes."),
        integer("unit_size_in_mb", "Size of one unit_type unit in megabytes."),
        text("unit_type", "memory or data."),
    )


class DeploymentTeamRoles(DeploymentStream):
    """Teams that have each role on a deployment."""

    name = "deployment_team_roles"
    path = "/deployments/{}/team_roles"
    envelope = ("team_roles",)
    primary_keys = ("deployment_id", "name")
    schema = schema(
        DEPLOYMENT_ID,
        key("name", "developer, manager or admin."),
        records(
            "teams",
            "Teams that have the role.",
            text("id", "Team id."),
            text("name", "Team name."),
            records(
                "users",
                "Members, if the API returns them.",
                text("id", "User id."),
                text("name", "User name. Personal."),
            ),
        ),
    )


class DeploymentVersions(DeploymentStream):
    """Versions that each deployment can be upgraded to."""

    name = "deployment_versions"
    path = "/deployments/{}/versions"
    envelope = ("transitions",)
    primary_keys = ("deployment_id", "application", "from_version", "to_version", "method")
    schema = schema(
        DEPLOYMENT_ID,
        key("application", "Database type."),
        key("from_version", "Current version."),
        key("to_version", "Version it can be upgraded to."),
        key("method", "in_place or restore."),
    )


class DeploymentWhitelist(DeploymentStream):
    """IP addresses that may connect to each deployment; if it has none, every address may."""

    name = "deployment_whitelist"
    path = "/deployments/{}/whitelist"
    envelope = ("whitelist",)
    primary_keys = ("deployment_id", "id")
    schema = schema(
        DEPLOYMENT_ID,
        key("id", "Entry id."),
        text("description", "Description of the entry."),
        text("ip", "Address or network in CIDR form. Infrastructure."),
    )
