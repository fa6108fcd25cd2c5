"""The recipes of the deployments: everything that was done to them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from singer_sdk.singerlib.catalog import REPLICATION_INCREMENTAL
from typing_extensions import override

from tap_compose.api.errors import ApiError
from tap_compose.run import DEPLOYMENTS
from tap_compose.streams.base import DeploymentStream
from tap_compose.streams.bookmarks import DeploymentBookmarks
from tap_compose.streams.columns import DEPLOYMENT_ID, integer, key, schema, text, time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_compose.rows import Row, RowBatch


class DeploymentRecipes(DeploymentStream):
    """Recipes: all operations on each deployment; sub-recipes are separate rows."""

    name = "deployment_recipes"
    replication_key = "updated_at"
    parent_column = "parent_id"
    extracted: ClassVar = {"status_detail": lambda recipe: recipe.pop("status_details", None)}
    schema = schema(
        key("id", "Recipe id."),
        text("account_id", "Account that it runs for."),
        DEPLOYMENT_ID,
        text("parent_id", "Parent of a sub-recipe; null for a top-level recipe."),
        text("name", "Operation, such as Creating haproxy portal."),
        text("template", "Operation code, such as Recipes::Deployment::Run."),
        text("status", "running, waiting, complete or failed."),
        text("status_detail", "Progress, as text."),
        text("source", "Origin of the request, such as customer_api."),
        text("source_user", "User who requested it. Personal."),
        text("source_reason", "Reason of the request."),
        text("source_ip", "Source IP address of the request. Personal."),
        time("created_at", "Creation time."),
        time("updated_at", "Time of the last change."),
        integer("operations_complete", "Steps done."),
        integer("operations_total", "Steps in total."),
    )

    @override
    def begin(self) -> None:
        existing = self.run.all_ids_of(DEPLOYMENTS)
        if not isinstance(existing, ApiError) and self.run.lists_are_complete:
            self._bookmarks.prune(set(existing))

    @cached_property
    def _bookmarks(self) -> DeploymentBookmarks:
        return DeploymentBookmarks(self.stream_state, self.replication_key)

    @override
    def rows_of(self, batch: RowBatch, item_id: str | None) -> Iterator[list[Row]]:
        deployment_id = str(item_id)
        is_incremental = self.replication_method == REPLICATION_INCREMENTAL
        since = self._since(deployment_id) if is_incremental else self.run.settings.start_date or ""
        rows = latest_copies(batch.rows)
        times = [row["updated_at"] for row in rows]
        yield [row for row, time in zip(rows, times, strict=True) if not time or time >= since]
        if is_incremental:
            newest = max((time for time in times if time), default="")
            self._bookmarks.move(deployment_id, min(newest, self.run.started))

    def _since(self, deployment_id: str) -> str:
        """Return the time from which to write a deployment's recipes; empty for all of them."""
        bookmark = self._bookmarks.of(deployment_id)
        bookmark.read(f"{self.name} of deployment {deployment_id}", self.run.started, self.logger)
        resumed = bookmark.resume_time(self.run.settings.lookback_seconds) or ""
        return max(self.run.settings.start_date or "", resumed)


def latest_copies(rows: list[Row]) -> list[Row]:
    """Keep the latest copy of each recipe, with the parent that any copy has.

    Args:
        rows: The recipes of a deployment.

    Returns:
        One row for each id, in the order of their first copies.
    """
    if len({row["id"] for row in rows}) == len(rows):
        return rows
    found: dict[str, Row] = {}
    for row in rows:
        other = found.get(row["id"])
        if other is not None:
            row["parent_id"] = other["parent_id"] = other["parent_id"] or row["parent_id"]
            if (row["updated_at"] or "") <= (other["updated_at"] or ""):
                continue
        found[row["id"]] = row
    return list(found.values())
