"""Bookmarks: up to which time an incremental stream is complete, kept in the state."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tap_compose.times import canonical_time, moved

if TYPE_CHECKING:
    import logging
    from collections.abc import Collection


class Bookmark:
    """The bookmark in one entry of the state.

    Args:
        state: The entry: a stream's, or that of one of its partitions.
        key: The stream's replication key.
    """

    def __init__(self, state: dict[str, Any], key: str) -> None:
        self._state = state
        self._key = key

    @property
    def time(self) -> str | None:
        """The canonical time of the newest row that was written; None before the first."""
        value = self._state.get("replication_key_value")
        return canonical_time(value) if value else None

    def read(
        self, label: str, now: str, logger: logging.Logger | logging.LoggerAdapter[Any]
    ) -> str | None:
        """Return the bookmark; warn if it is in the future.

        Args:
            label: Name of the bookmark in log lines.
            now: The start of the run, a canonical time.
            logger: Logs the warnings.
        """
        time = self.time
        if time is not None and time > now:
            logger.warning(
                "the bookmark of %s is in the future (%s): until then only newer rows are fetched; "
                "to fetch all, start without this state",
                label,
                time,
            )
        return time

    def move(self, newest: str) -> bool:
        """Move the bookmark to the newest row that was written; never back.

        Args:
            newest: The canonical time, or an empty text if there was no row.

        Returns:
            Whether it moved.
        """
        if newest <= (self.time or ""):
            return False
        self._state["replication_key"] = self._key
        self._state["replication_key_value"] = newest
        return True

    def resume_time(self, lookback_seconds: float) -> str | None:
        """Return the time from which on a run fetches; None for all times.

        Args:
            lookback_seconds: How far before the bookmark.
        """
        time = self.time
        return None if time is None else moved(time, -timedelta(seconds=lookback_seconds))


class DeploymentBookmarks:
    """One bookmark for each deployment.

    Args:
        state: The stream's entry in the state.
        key: The stream's replication key.
    """

    def __init__(self, state: dict[str, Any], key: str) -> None:
        self._key = key
        self._partitions: list[dict[str, Any]] = state.setdefault("partitions", [])
        # Found once: the SDK searches all partitions whenever one is wanted.
        self._by_id = {each["context"].get("deployment_id"): each for each in self._partitions}

    def prune(self, existing: Collection[str]) -> None:
        """Drop the bookmarks of deployments that no longer exist.

        Args:
            existing: All deployments of the account.
        """
        self._by_id = {each: state for each, state in self._by_id.items() if each in existing}
        self._partitions[:] = self._by_id.values()

    def of(self, deployment_id: str) -> Bookmark:
        """Return the bookmark of a deployment, which may be empty."""
        return Bookmark(self._by_id.get(deployment_id, {}), self._key)

    def move(self, deployment_id: str, newest: str) -> None:
        """Move the bookmark of a deployment; never back.

        Args:
            deployment_id: The deployment.
            newest: The canonical time of the newest row that was written, or an empty text.
        """
        state = self._by_id.get(deployment_id)
        if state is None:
            state = {"context": {"deployment_id": deployment_id}}
        if Bookmark(state, self._key).move(newest) and deployment_id not in self._by_id:
            self._by_id[deployment_id] = state
            self._partitions.append(state)
