"""Single objects of the lists, each at a separate path, and download links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_compose.sandbox.quirks import Quirks
from tap_compose.sandbox.recipes import all_of

if TYPE_CHECKING:
    from tap_compose.sandbox.account import Account
    from tap_compose.sandbox.data import Body


class SingleObjects:
    """Finds single objects of an account; each method returns None if there is no such object.

    Args:
        account: The account.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._recipes: dict[str, str] | None = None

    def team(self, team_id: str) -> Body | None:
        """Find a team."""
        return _with_id(self._account.account_level["/teams"], "teams", team_id)

    def cluster(self, cluster_id: str) -> Body | None:
        """Find a cluster."""
        return _with_id(self._account.account_level["/clusters"], "clusters", cluster_id)

    def audit_event(self, event_id: str) -> Body | None:
        """Find an audit event."""
        events = self._account.events
        try:
            return events.event_at(events.index_of(event_id))
        except ValueError:
            return None

    def recipe(self, recipe_id: str) -> Body | None:
        """Find a recipe, at any depth."""
        if self._recipes is None:
            self._recipes = {
                recipe["id"]: deployment_id
                for deployment_id in self._account.deployment_ids
                if deployment_id != self._account.leaving
                for recipe in all_of(self._account.resource(deployment_id, "recipes"))
            }
        if recipe_id not in self._recipes:
            return None
        body = self._account.resource(self._recipes[recipe_id], "recipes")
        return next(each for each in all_of(body) if each["id"] == recipe_id)

    def download(self, deployment_id: str, name: str, item_id: str) -> Body | None:
        """Find a backup or a log file, with the link that downloads it without a login.

        Args:
            deployment_id: The deployment.
            name: ``backups`` or ``logfiles``.
            item_id: The id of the backup or log file.

        Returns:
            The object; a backup that cannot be downloaded has no link.
        """
        (envelope,) = self._account.resource(deployment_id, name)["_embedded"].values()
        for each in envelope:
            if item_id == (each.get("id") or each.get("_id")):
                link = f"https://downloads.compose.example/{name}/{item_id}?signature=made-up"
                return (
                    {**each, "download_link": link} if each.get("is_downloadable", True) else each
                )
        return None

    @property
    def clusters_are_refused(self) -> bool:
        """Whether the token's role may not read a single cluster."""
        return self._account.quirks is Quirks.ALL


def _with_id(body: Body, envelope: str, item_id: str) -> Body | None:
    return next((each for each in body["_embedded"][envelope] if each["id"] == item_id), None)
