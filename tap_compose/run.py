"""What all streams of a run share: settings, client, report, and the lists with ids."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from tap_compose.api.client import Client, Request
from tap_compose.api.errors import ApiError
from tap_compose.api.transport import Transport
from tap_compose.report import Missing, Outcome, Report, listed, missing_rows, now
from tap_compose.settings import Settings
from tap_compose.times import time_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tap_compose.rows import RowBatch

DEPLOYMENTS = "/deployments"
"""The path of the list that deployment_ids and deployment_shard choose from."""

logger = logging.getLogger("tap-compose")


@dataclass(eq=False)
class Run:
    """One run of the tap.

    Attributes:
        config: The settings as the user gave them; checked at the first use, because discovery
            needs none.
        report: What it did so far.
        started: When the run began, as a canonical time: no bookmark is ever later.
        expected_reads: How often each path will be read, so that no body is kept longer than
            needed; unknown until the streams are selected.
        readers: What reads the body of each path: a stream.
        lists_are_complete: Whether the lists could be read, and every account and deployment in
            them had an id.
    """

    config: Mapping[str, Any]
    report: Report = field(default_factory=Report)
    started: str = field(default_factory=lambda: time_text(datetime.now(timezone.utc)))
    expected_reads: Counter[str] = field(default_factory=Counter)
    readers: dict[str, Callable[..., RowBatch]] = field(default_factory=dict)
    lists_are_complete: bool = True

    _ids: dict[str, list[str] | ApiError] = field(default_factory=dict)

    @cached_property
    def settings(self) -> Settings:
        """The settings, checked; raises ``SettingsError``."""
        return Settings.from_config(self.config)

    @cached_property
    def client(self) -> Client:
        """The one client of the run."""
        settings = self.settings
        transport = Transport(
            settings.api_url,
            settings.api_token,
            user_agent=settings.user_agent,
            timeout=settings.request_timeout,
            max_concurrency=settings.max_concurrency,
        )
        return Client(transport, settings.max_retries)

    def close(self) -> None:
        """Send no further request."""
        if "client" in vars(self):
            self.client.close()
            self.report.requests = self.client.requests_sent

    def ids_of(self, path: str) -> list[str] | ApiError:
        """Return the ids in a list that this run reads, or why they cannot be listed.

        Args:
            path: The path of the list, such as ``/deployments``.
        """
        return self._chosen_ids if path == DEPLOYMENTS else self.all_ids_of(path)

    def all_ids_of(self, path: str) -> list[str] | ApiError:
        """Return the ids in a list, whatever deployment_ids and deployment_shard are."""
        if path not in self._ids:
            self._ids[path] = self._fetch_ids(path)
        return self._ids[path]

    @cached_property
    def _chosen_ids(self) -> list[str] | ApiError:
        ids = self.all_ids_of(DEPLOYMENTS)
        if isinstance(ids, ApiError):
            return ids
        chosen, shard = self.settings.deployment_ids, self.settings.deployment_shard
        if chosen is not None:
            wanted = set(chosen)
            if unknown := sorted(wanted - set(ids)):
                reason = f"the account has no deployment {listed(unknown)}"
                missing = Missing(Outcome.SKIPPED, reason)
                self.report.note("deployment_ids", "", now(), missing=missing)
            ids = [each for each in ids if each in wanted]
        return [each for each in ids if shard.holds(each)] if shard else ids

    def _fetch_ids(self, path: str) -> list[str] | ApiError:
        read = partial(self.readers[path], injected={})
        request = Request(path, read, readers=self.expected_reads[path] or 1)
        _, batch = next(self.client.get_many([request]))
        if isinstance(batch, ApiError):
            self.lists_are_complete = False
            return batch
        if missing := missing_rows(batch.dropped):
            self.lists_are_complete = False
            self.report.note(path.rpartition("/")[2], "", now(), missing=missing)
        return list(dict.fromkeys(row["id"] for row in batch.rows))
