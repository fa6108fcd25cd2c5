"""The deployments and what each of them is made of."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from typing_extensions import override

from tap_compose.api import hal
from tap_compose.api.errors import ApiError
from tap_compose.records import OddError, Record
from tap_compose.streams.base import AccountStream, DeploymentStream
from tap_compose.streams.columns import (
    boolean,
    free_form,
    integer,
    key,
    record,
    records,
    schema,
    text,
    texts,
    time,
)
from tap_compose.times import time_text, time_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from singer_sdk import typing as th

    from tap_compose.rows import Row

DEPLOYMENT_ID = key("deployment_id", "The deployment that the row belongs to.")


def summary_columns() -> list[th.Property[Any]]:
    """The columns that the list of deployments and the details of one have in common."""
    return [
        key("id", "The deployment's id."),
        text("name", "The deployment's name."),
        text("type", "Type of its database, such as postgresql."),
        text("notes", "Notes that people keep on it."),
        text("customer_billing_code", "The account's own code for passing on costs."),
        time("created_at", "When its provisioning began."),
        text("compose_web_ui_url", "Where it is administered in the Compose console."),
    ]


class Deployments(AccountStream):
    """All deployments of the account, whatever deployment_ids and deployment_shard say."""

    name = "deployments"
    path = "/deployments"
    envelope = ("deployments",)
    shared = True
    primary_keys = ("id",)
    schema = schema(*summary_columns())

    @override
    def row(self, item: Any, given: Mapping[str, Any]) -> Row:
        return super().row(item, _with_web_ui(item, given))


class DeploymentDetails(DeploymentStream):
    """What only the detail call of a deployment says."""

    name = "deployment_details"
    path = "/deployments/{}"
    primary_keys = ("id",)
    schema = schema(
        *summary_columns(),
        text("account_id", "The account that the deployment belongs to."),
        text("cluster_id", "The cluster that it runs on."),
        text("version", "Version of its database."),
        text(
            "ca_certificate_base64",
            "Certificate of its authority, base64; null with Let's Encrypt.",
        ),
        text("provision_recipe_id", "The recipe that provisioned it."),
        record(
            "connection_strings",
            "How to connect to it. These hold live passwords: null unless "
            "include_connection_strings is set. Credentials.",
            texts("health", "For asking after its health."),
            texts("ssh", "For SSH tunnels."),
            texts("admin", "For the administration front end."),
            texts("ssh_admin", "For administration by SSH."),
            texts("cli", "Shell commands that open a console."),
            texts("direct", "For applications."),
            texts("maps", "Address translation maps of Scylla."),
            free_form("misc", "For particular tools, by tool."),
        ),
    )

    @override
    def deployment_rows(self, items: list[Any], deployment_id: str) -> Iterator[Row | Record]:
        yield from self.rows(items, {"id": deployment_id})

    @override
    def row(self, item: Any, given: Mapping[str, Any]) -> Row:
        if isinstance(item, dict) and not self.run.settings.include_connection_strings:
            item.pop("connection_strings", None)
        return super().row(item, _with_web_ui(item, given))


class DeploymentAddons(DeploymentStream):
    """The addons that a deployment can have."""

    name = "deployment_addons"
    path = "/deployments/{}/addons"
    envelope = ("addons",)
    also_bare = True
    primary_keys = ("deployment_id", "name")
    schema = schema(
        DEPLOYMENT_ID,
        key("name", "The addon's name."),
        boolean("is_active", "Whether the deployment has it."),
    )


class DeploymentAlerts(DeploymentStream):
    """The alerts that are raised on a deployment now; a healthy one has none."""

    name = "deployment_alerts"
    path = "/deployments/{}/alerts"
    envelope = ("alerts",)
    shared = True
    primary_keys = ("id",)
    schema = schema(
        key(
            "id",
            "SHA-256, in hex, of the compact JSON array of deployment_id, capsule_id, name and "
            "message: the API gives alerts no id.",
        ),
        DEPLOYMENT_ID,
        text("capsule_id", "The capsule that it concerns; null for the deployment as a whole."),
        text("name", "The alert's name."),
        text("message", "What is the matter, in words."),
        text("status", "healthy, warning, critical, unknown or waiting."),
        text("summary", "State of the deployment as a whole."),
    )

    @override
    def items(self, body: bytes) -> list[Any]:
        content = hal.decode(body)
        alerts = hal.embedded(content, *self.envelope)
        return [{"summary": content.get("summary")}, *alerts]

    @override
    def deployment_rows(self, items: list[Any], deployment_id: str) -> Iterator[Row | Record]:
        summary, *alerts = items
        yield from self.rows(alerts, {"deployment_id": deployment_id, **summary})

    @override
    def row(self, item: Any, given: Mapping[str, Any]) -> Row:
        row = super().row(item, {**given, "id": "-"})
        parts = [row[name] for name in ("deployment_id", "capsule_id", "name", "message")]
        row["id"] = hashlib.sha256(msgspec.json.encode(parts)).hexdigest()
        return row


class DeploymentHealth(DeploymentStream):
    """One row per deployment, healthy ones too; the same answer as deployment_alerts."""

    name = "deployment_health"
    path = "/deployments/{}/alerts"
    shared = True
    primary_keys = ("deployment_id",)
    schema = schema(
        DEPLOYMENT_ID,
        text("summary", "State of the deployment: healthy, warning, critical, unknown, waiting."),
        integer("alert_count", "How many alerts are raised on it."),
    )

    @override
    def items(self, body: bytes) -> list[Any]:
        content = hal.decode(body)
        alerts = hal.embedded(content, "alerts")
        return [{"summary": content.get("summary"), "alert_count": len(alerts)}]


class DeploymentBackups(DeploymentStream):
    """The backups of a deployment, without download links: those need no login."""

    name = "deployment_backups"
    path = "/deployments/{}/backups"
    envelope = ("backups",)
    primary_keys = ("id",)
    also: ClassVar = {"id": ("_id",)}
    schema = schema(
        key("id", "The backup's id."),
        DEPLOYMENT_ID,
        text("name", "The backup's name, which holds the time it was begun."),
        text("type", "daily, weekly, monthly or on_demand."),
        text("status", "Whether it is finished: running, complete or failed."),
        boolean("is_downloadable", "Whether it can be downloaded."),
        boolean("is_restorable", "Whether a new deployment can be made from it."),
        time("created_at", "When it was completed; null while it runs."),
    )


class DeploymentLogfiles(DeploymentStream):
    """The log files of a deployment, without download links: those need no login."""

    name = "deployment_logfiles"
    path = "/deployments/{}/logfiles"
    envelope = ("logfiles", "logfile")
    primary_keys = ("id",)
    also: ClassVar = {"date": ("created_at",)}
    schema = schema(
        key("id", "The log file's id."),
        DEPLOYMENT_ID,
        text("capsule_id", "The capsule that wrote it."),
        text("name", "The log file's name, which holds its time."),
        text("region", "Where it is kept."),
        text("status", "Whether it is written to its end."),
        integer("file_size", "Its size in bytes."),
        time("date", "When it was captured."),
    )


class DeploymentPortals(DeploymentStream):
    """The portals through which a deployment is reached."""

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
        text("zone", "Where it is."),
        text("hostname", "Its host name. Infrastructure."),
        boolean("ssl_enabled", "Whether it speaks TLS; known for Redis only."),
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
        text("id", "The portal user's id, where there is one."),
    )


class DeploymentRecipes(DeploymentStream):
    """Everything that was ever done to a deployment, sub-recipes as rows of their own."""

    name = "deployment_recipes"
    path = "/deployments/{}/recipes"
    envelope = ("recipes",)
    primary_keys = ("id",)
    replication_key = "updated_at"
    nested = True
    also: ClassVar = {"status_detail": ("status_details",)}
    schema = schema(
        key("id", "The recipe's id."),
        text("account_id", "The account on whose behalf it runs."),
        DEPLOYMENT_ID,
        text("parent_id", "The recipe that this one is a part of; null for a whole one."),
        text("name", "What it does, in words."),
        text("template", "What it does, as Compose calls it."),
        text("status", "running, waiting, complete or failed."),
        text("status_detail", "How far it is, in words."),
        text("source", "What asked for it, such as customer_api."),
        text("source_user", "The user who asked for it. Personal."),
        text("source_reason", "Why it was asked for."),
        text("source_ip", "Where it was asked for. Personal."),
        time("created_at", "When it was created."),
        time("updated_at", "When it last changed."),
        integer("operations_complete", "How many of its steps are done."),
        integer("operations_total", "How many steps it has."),
    )

    @cached_property
    def _bookmarks(self) -> dict[str, dict[str, Any]]:
        """The state of each deployment, by its id; found once, not once per record."""
        if self.stream_state.pop("replication_key_value", None):
            # It would lose the older recipes of a deployment that becomes readable later.
            self.logger.warning("a bookmark for all of %s at once is not used", self.name)
            self.stream_state.pop("replication_key", None)
        partitions = self.stream_state.setdefault("partitions", [])
        known = self.run.all_deployment_ids
        if not isinstance(known, ApiError):  # what is gone needs no bookmark
            alive = set(known)
            partitions[:] = [
                each for each in partitions if each["context"].get("deployment_id") in alive
            ]
        return {each["context"]["deployment_id"]: each for each in partitions}

    @override
    def items(self, body: bytes) -> list[Any]:
        if self.reader is not None:
            try:
                return _with_parts(self.reader.read(body), self.reader.parts)
            except OddError:
                pass
        return _with_parts(self.objects(body), _parts_of)

    @override
    def deployment_rows(self, items: list[Any], deployment_id: str) -> Iterator[Row | Record]:
        is_incremental = self.replication_method == "INCREMENTAL"
        since = self._since(deployment_id) if is_incremental else self.run.settings.start_date
        newest = ""
        for row in self.rows(items, {"deployment_id": deployment_id}):
            updated_at = row["updated_at"]
            if updated_at is None or since is None or updated_at >= since:
                yield row
            newest = max(newest, updated_at or "")
        if is_incremental:
            self._move_bookmark(deployment_id, newest)

    @override
    def rows(self, items: Iterable[Any], given: Mapping[str, Any]) -> Iterator[Row | Record]:
        """Of two copies the later one counts, and what is known of its parent stays."""
        found: dict[str, Row | Record] = {}
        for row in self.made_rows(items, given):
            other = found.get(row["id"])
            if other is not None:
                row["parent_id"] = other["parent_id"] = other["parent_id"] or row["parent_id"]
                if (row["updated_at"] or "") <= (other["updated_at"] or ""):
                    continue
            found[row["id"]] = row
        yield from found.values()

    def _since(self, deployment_id: str) -> str | None:
        """The time from which on a deployment's recipes are wanted; None for all of them."""
        start_date = self.run.settings.start_date
        state = self._bookmarks.get(deployment_id, {})
        bookmark = self.bookmark_in(state, f"{self.name} of deployment {deployment_id}")
        if bookmark is None:
            return start_date
        lookback = timedelta(seconds=self.run.settings.lookback_seconds)
        since = time_text(time_value(bookmark) - lookback)
        return max(since, start_date or since)

    def _move_bookmark(self, deployment_id: str, newest: str) -> None:
        newest = min(newest, self.run.started)
        state = self._bookmarks.get(deployment_id)
        if state is None:
            state = {"context": {"deployment_id": deployment_id}}
        if self.move_bookmark(state, newest) and deployment_id not in self._bookmarks:
            self._bookmarks[deployment_id] = state
            self.stream_state["partitions"].append(state)


class DeploymentRoles(DeploymentStream):
    """Who may do what with a deployment, by role."""

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
    """How large a deployment is, in units of memory and storage."""

    name = "deployment_scalings"
    path = "/deployments/{}/scalings"
    primary_keys = ("deployment_id",)
    schema = schema(
        DEPLOYMENT_ID,
        integer("allocated_units", "Units that it has."),
        integer("used_units", "Units that it uses."),
        integer("starting_units", "Fewest units for its type of database."),
        integer("minimum_units", "Fewest units that it can be scaled to."),
        integer("memory_per_unit_in_mb", "Memory of one unit in megabytes."),
        integer("storage_per_unit_in_mb", "Storage of one unit in megabytes."),
        integer("unit_size_in_mb", "Size of one unit in megabytes, of what unit_type says."),
        text("unit_type", "What is counted in units: memory or data."),
    )


class DeploymentTeamRoles(DeploymentStream):
    """Which teams may do what with a deployment, by role."""

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
                "The members of the team, where the API names them.",
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
        key("from_version", "The version that it has."),
        key("to_version", "A version that it can go to."),
        key("method", "How: in_place or restore."),
    )


class DeploymentWhitelist(DeploymentStream):
    """The addresses that may reach a deployment."""

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


def _with_parts(recipes: list[Any], parts_of: Callable[[Any], list[Any]]) -> list[Any]:
    """Put the parts of each recipe behind it, with their parent's id if they have none."""
    flat: list[Any] = []
    pending = recipes[::-1]
    while pending:
        recipe = pending.pop()
        flat.append(recipe)
        parts = parts_of(recipe)
        for part in parts:
            if isinstance(part, (dict, Record)) and not _parent_of(part):
                part["parent_id"] = recipe["id"] if isinstance(recipe, Record) else recipe.get("id")
        pending += parts[::-1]
    return flat


def _parent_of(recipe: Any) -> Any:
    return recipe["parent_id"] if isinstance(recipe, Record) else recipe.get("parent_id")


def _parts_of(recipe: Any) -> list[Any]:
    nested = recipe.get("_embedded") if isinstance(recipe, dict) else None
    parts = nested.get("recipes") if isinstance(nested, dict) else None
    return parts if isinstance(parts, list) else []


def _with_web_ui(item: Any, given: Mapping[str, Any]) -> Mapping[str, Any]:
    url = hal.link(item, "compose_web_ui") if isinstance(item, dict) else None
    return {**given, "compose_web_ui_url": url}
