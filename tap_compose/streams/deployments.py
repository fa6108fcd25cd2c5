"""The deployments and their parts."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from typing_extensions import override

from tap_compose.api import hal
from tap_compose.streams import columns as col
from tap_compose.streams.base import DeploymentStream, ListStream

if TYPE_CHECKING:
    from tap_compose.rows import Row


SUMMARY_COLUMNS = (
    col.key("id", "Deployment id."),
    col.text("name", "Deployment name."),
    col.text("type", "Database type, such as postgresql."),
    col.text("notes", "Notes by users."),
    col.text("customer_billing_code", "Billing code that the account assigned."),
    col.time("created_at", "When provisioning began."),
    col.text("compose_web_ui_url", "Link to the Compose console."),
)
"""What deployments and deployment_details have in common."""


_web_ui_url = partial(hal.link, name="compose_web_ui")


def _linked_cluster(deployment: dict[str, Any]) -> str | None:
    """Return the id at the end of the link to the cluster: its only place before September 2017."""
    address = hal.link(deployment, "cluster")
    return address.rstrip("/").rpartition("/")[2] if address else None


class Deployments(ListStream):
    """All deployments; deployment_ids and deployment_shard do not filter them."""

    name = "deployments"
    extracted: ClassVar = {**ListStream.extracted, "compose_web_ui_url": _web_ui_url}
    schema = col.schema(*SUMMARY_COLUMNS)


class DeploymentDetails(DeploymentStream):
    """Deployments with all columns, including those of the detail endpoint only."""

    name = "deployment_details"
    path = "/deployments/{}"
    envelope = ()
    id_column = "id"
    extracted: ClassVar = {"compose_web_ui_url": _web_ui_url, "cluster_id": _linked_cluster}
    schema = col.schema(
        *SUMMARY_COLUMNS,
        col.text("account_id", "Account that owns the deployment."),
        col.text("cluster_id", "Cluster that it runs on."),
        col.text("version", "Database version."),
        col.text("ca_certificate_base64", "CA certificate, base64; null for Let's Encrypt."),
        col.text("provision_recipe_id", "Recipe that provisioned it."),
        col.record(
            "connection_strings",
            "URLs and commands with live passwords; null unless include_connection_strings is set. "
            "Credentials.",
            col.texts("health", "For health checks."),
            col.texts("ssh", "For SSH tunnels."),
            col.texts("admin", "For the admin interface."),
            col.texts("ssh_admin", "For administration over SSH."),
            col.texts("cli", "Shell commands that open a console."),
            col.texts("direct", "For applications."),
            col.free_forms("maps", "Internal to public addresses; Scylla only."),
            col.free_form("misc", "For single tools, by name."),
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
    envelope_optional = True
    primary_keys = ("deployment_id", "name")
    schema = col.schema(
        col.DEPLOYMENT_ID,
        col.key("name", "Addon name."),
        col.boolean("is_active", "Whether it is installed."),
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
    derived: ClassVar = {"id": _digest}
    schema = col.schema(
        col.key(
            "id", "Hex SHA-256 of the compact JSON of deployment_id, capsule_id, name, message."
        ),
        col.DEPLOYMENT_ID,
        col.text("capsule_id", "Capsule that it concerns, if any."),
        col.text("name", "Alert name."),
        col.text("message", "Text of the alert."),
        col.text("status", "healthy, warning, critical, unknown or waiting."),
        col.text("summary", "Health of the deployment."),
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
    schema = col.schema(
        col.DEPLOYMENT_ID,
        col.text("summary", "healthy, warning, critical, unknown or waiting."),
        col.integer("alert_count", "Number of current alerts."),
    )

    @classmethod
    @override
    def unwrap(cls, content: Any) -> list[Any]:
        alerts = _alerts_of(content)
        owners = [each.get("deployment_id") for each in alerts if isinstance(each, dict)]
        # Only compared: an alert of another deployment does not make the rest unreadable.
        owner = owners[0] if owners and owners.count(owners[0]) == len(owners) else ""
        summary = content.get("summary")
        return [{"deployment_id": owner, "summary": summary, "alert_count": len(alerts)}]


class DeploymentBackups(DeploymentStream):
    """Backups of each deployment, without download links."""

    name = "deployment_backups"
    extracted: ClassVar = {"id": lambda backup: backup.get("_id")}
    schema = col.schema(
        col.key("id", "Backup id."),
        col.DEPLOYMENT_ID,
        col.text("name", "Backup name, which contains its start time."),
        col.text("type", "daily, weekly, monthly or on_demand."),
        col.text("status", "running, complete or failed."),
        col.boolean("is_downloadable", "Whether it can be downloaded."),
        col.boolean("is_restorable", "Whether it can be restored into a new deployment."),
        col.time("created_at", "Completion time; null while it runs."),
    )


class DeploymentLogfiles(DeploymentStream):
    """Log files of each deployment, without download links."""

    name = "deployment_logfiles"
    envelope = ("logfiles", "logfile")
    extracted: ClassVar = {"date": lambda logfile: logfile.get("created_at")}
    schema = col.schema(
        col.key("id", "Log file id."),
        col.DEPLOYMENT_ID,
        col.text("capsule_id", "Capsule that wrote it."),
        col.text("name", "Log file name, which contains its time."),
        col.text("region", "Region of its storage."),
        col.text("status", "State of the file, such as complete."),
        col.integer("file_size", "Size in bytes."),
        col.time("date", "Capture time, or created_at if the API has none."),
        col.time("created_at", "Creation time."),
    )


class DeploymentPortals(DeploymentStream):
    """Portals, the access points of each deployment."""

    name = "deployment_portals"
    schema = col.schema(
        col.key("id", "Portal id."),
        col.DEPLOYMENT_ID,
        col.text("name", "Portal name."),
        col.text("type", "Kind of portal, such as haproxy, ssl, mongodb or rethink."),
        col.text("internal_ip", "Address inside the cluster. Infrastructure."),
        col.text("zone", "Zone of the portal."),
        col.text("hostname", "Host name. Infrastructure."),
        col.boolean("ssl_enabled", "Whether it uses TLS; set for Redis only."),
    )


class DeploymentPortalUsers(DeploymentStream):
    """Users of each deployment's portals."""

    name = "deployment_portal_users"
    primary_keys = ("deployment_id", "type", "name")
    schema = col.schema(
        col.DEPLOYMENT_ID,
        col.key("type", "Kind of portal: ssh or haproxy."),
        col.key("name", "Portal user name. May be personal."),
        col.text("id", "Portal user id, if any."),
    )


class DeploymentRoles(DeploymentStream):
    """Users who have each role on a deployment."""

    name = "deployment_roles"
    primary_keys = ("deployment_id", "name")
    schema = col.schema(
        col.DEPLOYMENT_ID,
        col.key("name", "developer, manager or admin."),
        col.records("users", "Users who have the role.", *col.USER),
    )


class DeploymentScalings(DeploymentStream):
    """Size of each deployment, in units of memory and storage."""

    name = "deployment_scalings"
    envelope = ()
    primary_keys = ("deployment_id",)
    schema = col.schema(
        col.DEPLOYMENT_ID,
        col.integer("allocated_units", "Units allocated."),
        col.integer("used_units", "Units used."),
        col.integer("starting_units", "Minimum for its database type."),
        col.integer("minimum_units", "Minimum it can be scaled to."),
        col.integer("memory_per_unit_in_mb", "Memory per unit in megabytes."),
        col.integer("storage_per_unit_in_mb", "Storage per unit in megabytes."),
        col.integer("unit_size_in_mb", "Size of one unit_type unit in megabytes."),
        col.text("unit_type", "memory or data."),
    )


class DeploymentTeamRoles(DeploymentStream):
    """Teams that have each role on a deployment."""

    name = "deployment_team_roles"
    primary_keys = ("deployment_id", "name")
    schema = col.schema(
        col.DEPLOYMENT_ID,
        col.key("name", "developer, manager or admin."),
        col.records(
            "teams",
            "Teams that have the role.",
            col.text("id", "Team id."),
            col.text("name", "Team name."),
            col.records("users", "Members, if the API returns them.", *col.USER),
        ),
    )


class DeploymentVersions(DeploymentStream):
    """Versions that each deployment can be upgraded to."""

    name = "deployment_versions"
    envelope = ("transitions",)
    primary_keys = ("deployment_id", "application", "from_version", "to_version", "method")
    schema = col.schema(
        col.DEPLOYMENT_ID,
        col.key("application", "Database type."),
        col.key("from_version", "Current version."),
        col.key("to_version", "Version it can be upgraded to."),
        col.key("method", "in_place or restore."),
    )


class DeploymentWhitelist(DeploymentStream):
    """IP addresses that may connect to each deployment; if it has none, every address may."""

    name = "deployment_whitelist"
    primary_keys = ("deployment_id", "id")
    schema = col.schema(
        col.DEPLOYMENT_ID,
        col.key("id", "Entry id."),
        col.text("description", "Description of the entry."),
        col.text("ip", "Address or network in CIDR form. Infrastructure."),
    )
