"""What all streams of one run share: settings, client, report, and the lists asked for once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from tap_compose.api import hal
from tap_compose.api.client import Call, Client
from tap_compose.api.errors import ApiError
from tap_compose.report import Gap, Kind, Report
from tap_compose.settings import Settings
from tap_compose.times import time_text

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger("tap-compose")


@dataclass(eq=False)
class Run:
    """One run of the tap.

    Attributes:
        config: The settings as the user gave them; read when something is first wanted, since
            discovery works without any.
        report: What was and what could not be done.
        lists_are_whole: Whether every account and deployment in the lists had an id.
        started: When the run began, as a canonical time: no bookmark is ever later.
    """

    config: Mapping[str, Any]
    report: Report = field(default_factory=Report)
    lists_are_whole: bool = True
    started: str = field(default_factory=lambda: time_text(datetime.now(timezone.utc)))

    @cached_property
    def settings(self) -> Settings:
        """The settings, checked; raises ``SettingsError``."""
        return Settings.from_config(self.config)

    @cached_property
    def client(self) -> Client:
        """The one client of the run."""
        return Client(
            self.settings.api_url,
            self.settings.api_token,
            user_agent=self.settings.user_agent,
            timeout=self.settings.request_timeout,
            max_retries=self.settings.max_retries,
            max_concurrency=self.settings.max_concurrency,
        )

    def close(self) -> None:
        """Ask the API for nothing more."""
        if "client" in self.__dict__:
            self.client.close()
            self.report.requests = self.client.requests_sent

    @property
    def includes_account_level(self) -> bool:
        """Whether this run takes the account-level streams: of several shards the first does."""
        shard = self.settings.deployment_shard
        return shard is None or shard.part == 1

    @cached_property
    def account_ids(self) -> list[str] | ApiError:
        """The ids of the accounts, or why they cannot be listed."""
        return self._ids("/accounts", "accounts")

    @cached_property
    def all_deployment_ids(self) -> list[str] | ApiError:
        """The ids of all deployments of the account, or why they cannot be listed."""
        return self._ids("/deployments", "deployments")

    @cached_property
    def deployment_ids(self) -> list[str] | ApiError:
        """The ids of the deployments that this run takes, or why they cannot be listed."""
        ids = self.all_deployment_ids
        if isinstance(ids, ApiError):
            return ids
        chosen = self.settings.deployment_ids
        if chosen is not None:
            for unknown in sorted(set(chosen) - set(ids)):
                reason = f"deployment_ids names {unknown}, which the account does not have"
                self.report.add(Gap(Kind.SKIPPED, None, reason))
            ids = [each for each in ids if each in set(chosen)]
        shard = self.settings.deployment_shard
        return [each for each in ids if shard.holds(each)] if shard else ids

    def _ids(self, path: str, name: str) -> list[str] | ApiError:
        try:
            items = self.client.get(Call(path, partial(_embedded, name), shared=True))
        except ApiError as error:
            return error
        ids = [item.get("id") if isinstance(item, dict) else None for item in items]
        known = [each for each in ids if isinstance(each, str) and each]
        self.lists_are_whole &= len(known) == len(ids)
        return list(dict.fromkeys(known))


def _embedded(name: str, body: bytes) -> list[Any]:
    return hal.embedded(hal.decode(body), name)
