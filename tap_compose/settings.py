"""The settings: what a user can set, and the checks of the values."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from singer_sdk import typing as th

from tap_compose import __version__
from tap_compose.api.client import PUBLIC_API
from tap_compose.api.transport import is_loopback
from tap_compose.times import canonical_time

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTINGS_SCHEMA: dict[str, Any] = th.PropertiesList(
    th.Property(
        "api_token",
        th.StringType,
        required=True,
        secret=True,
        title="API token",
        description=(
            "Bearer token for the Compose API. Ask whoever runs the server for one; "
            "compose-sandbox prints its own. It can read whatever the user who created it can read."
        ),
    ),
    th.Property(
        "api_url",
        th.StringType,
        default=f"https://{PUBLIC_API}/2016-07",
        title="API URL",
        description=(
            "Base URL of the API. Must be https, so that the token is encrypted, "
            "unless the host is this machine."
        ),
    ),
    th.Property(
        "start_date",
        th.DateTimeType,
        title="Start date",
        description=(
            "Fetch audit events and recipes from this time on: 2020-01-01 or "
            "2020-01-01T00:00:00Z. Each run starts from start_date or the bookmark, whichever is "
            "later. By default everything is fetched."
        ),
    ),
    th.Property(
        "end_date",
        th.DateTimeType,
        title="End date",
        description=(
            "Fetch audit events before this time only, for example to backfill year by year. "
            "Must be after start_date."
        ),
    ),
    th.Property(
        "deployment_ids",
        th.ArrayType(th.StringType),
        title="Deployment IDs",
        description=(
            "Fetch the per-deployment streams for these deployments only. "
            "The stream deployments always has all of them."
        ),
    ),
    th.Property(
        "deployment_shard",
        th.StringType,
        title="Deployment shard",
        description=(
            "Split the deployments among several runs: 2/8 is the second of eight shards. "
            "Account-level streams run in shard 1 only. Each shard needs a separate state."
        ),
    ),
    th.Property(
        "max_concurrency",
        th.IntegerType(minimum=1, maximum=64),
        default=8,
        title="Maximum concurrency",
        description="Maximum number of requests in flight, 1 to 64.",
    ),
    th.Property(
        "request_timeout",
        th.NumberType(exclusive_minimum=0),
        default=60,
        title="Request timeout",
        description="Seconds before a request times out.",
    ),
    th.Property(
        "max_retries",
        th.IntegerType(minimum=0, maximum=20),
        default=8,
        title="Maximum retries",
        description="Retries per request before it counts as failed, 0 to 20.",
    ),
    th.Property(
        "fail_on_skip",
        th.BooleanType,
        default=False,
        title="Fail on skip",
        description=(
            "Exit with status 1 even if resources were only skipped: the token may not read them, "
            "or they no longer exist."
        ),
    ),
    th.Property(
        "lookback_seconds",
        th.NumberType(minimum=0),
        default=60,
        title="Lookback",
        description="Seconds before the bookmark that an incremental run fetches again.",
    ),
    th.Property(
        "include_connection_strings",
        th.BooleanType,
        default=False,
        title="Include connection strings",
        description=(
            "Fill the column connection_strings of deployment_details. "
            "It contains live passwords, so it is null by default."
        ),
    ),
    th.Property(
        "emit_activate_version_messages",
        th.BooleanType,
        default=False,
        title="Emit ACTIVATE_VERSION messages",
        description=(
            "After a full-table stream was read completely, let the target delete rows that "
            "no longer exist."
        ),
    ),
    th.Property(
        "user_agent",
        th.StringType,
        title="User agent",
        description="Value of the User-Agent header. By default tap-compose and its version.",
    ),
).to_dict()
"""JSON Schema of the tap's settings; the SDK adds those of stream maps and flattening."""

_LONGEST_SPAN = 366 * 24 * 3600


class SettingsError(ValueError):
    """A setting or an input file that is not valid; the message is one line that names it."""


@dataclass(frozen=True)
class Shard:
    """One of several shards of the deployments.

    Attributes:
        part: The number of this shard, from 1.
        parts: How many shards there are.
    """

    part: int
    parts: int

    def holds(self, deployment_id: str) -> bool:
        """Return whether a deployment belongs to this shard.

        Args:
            deployment_id: The deployment's id.

        Returns:
            True for exactly one shard, which does not depend on the other deployments.
        """
        digest = hashlib.sha256(deployment_id.encode()).digest()
        return int.from_bytes(digest, "big") % self.parts == self.part - 1


@dataclass(frozen=True)
class Settings:
    """The checked settings of one run; ``SETTINGS_SCHEMA`` describes each of them.

    Attributes:
        start_date: Canonical time, or None.
        end_date: Canonical time, or None.
        deployment_ids: The chosen deployments, or None for all.
        request_timeout: Seconds.
        lookback_seconds: Seconds.
    """

    api_token: str
    api_url: str
    start_date: str | None
    end_date: str | None
    deployment_ids: tuple[str, ...] | None
    deployment_shard: Shard | None
    max_concurrency: int
    request_timeout: float
    max_retries: int
    fail_on_skip: bool
    lookback_seconds: float
    include_connection_strings: bool
    user_agent: str

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Return the settings of a config that fits ``SETTINGS_SCHEMA``.

        Args:
            config: The settings by name; None means the default.

        Returns:
            The settings.

        Raises:
            SettingsError: If a value is not valid.
        """
        values = {
            name: schema["default"]
            for name, schema in SETTINGS_SCHEMA["properties"].items()
            if "default" in schema
        } | {name: value for name, value in config.items() if value is not None}
        start_date, end_date = (
            _time(name, values.get(name)) for name in ("start_date", "end_date")
        )
        if start_date and end_date and end_date <= start_date:
            raise SettingsError(
                f"end_date must be after start_date: {end_date} is not after {start_date}"
            )
        for name in ("request_timeout", "lookback_seconds"):
            if not values[name] <= _LONGEST_SPAN:
                raise SettingsError(f"{name} must be at most {_LONGEST_SPAN}, a year")
        ids = values.get("deployment_ids")
        return cls(
            api_token=_token(values.get("api_token", "")),
            api_url=_url(values["api_url"]),
            start_date=start_date,
            end_date=end_date,
            deployment_ids=None if ids is None else tuple(dict.fromkeys(ids)),
            deployment_shard=_shard(values.get("deployment_shard")),
            max_concurrency=int(values["max_concurrency"]),
            request_timeout=float(values["request_timeout"]),
            max_retries=int(values["max_retries"]),
            fail_on_skip=values["fail_on_skip"],
            lookback_seconds=float(values["lookback_seconds"]),
            include_connection_strings=values["include_connection_strings"],
            user_agent=_user_agent(values.get("user_agent")),
        )


def _token(token: str) -> str:
    token = token.strip()
    if not token:
        raise SettingsError(
            "api_token is empty: ask whoever runs the server for one "
            "(compose-sandbox prints its own)"
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError("api_token has characters that no token has: copy it again")
    return token


def _url(url: str) -> str:
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        if "[" in parts.netloc:  # Python 3.10 takes anything between the brackets
            ipaddress.IPv6Address(host)
    except ValueError:
        host = ""
    if not (_is_host(host) and parts.scheme in {"http", "https"} and _is_uri(url)):
        raise SettingsError("api_url must be a URL such as http://127.0.0.1:8080/2016-07")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise SettingsError(
            "api_url must not have a user, password, query or fragment: set the token as api_token"
        )
    if parts.scheme == "http" and not is_loopback(host):
        raise SettingsError(
            f"api_url must start with https: http would send the token to {host} unencrypted"
        )
    return url


# The characters of RFC 3986; urlsplit takes any, and drops line breaks.
_is_uri = re.compile(r"(?:[\w.~:/?#@!$&'()*+,;=\[\]-]|%[\da-fA-F]{2})+", re.ASCII).fullmatch

_is_name = re.compile(r"(?=.{1,253}$)(?:(?!-)[\w-]{1,63}(?<!-)(?:\.|$))+", re.ASCII).fullmatch


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _is_name(host) is not None
    return True


def _time(name: str, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return canonical_time(text)
    except ValueError:
        raise SettingsError(
            f"{name} must be a date or a time such as 2020-01-01T00:00:00Z, not {text[:60]!r}"
        ) from None


def _shard(text: str | None) -> Shard | None:
    if text is None:
        return None
    parts = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text, re.ASCII)
    if parts is None or not 1 <= int(parts[1]) <= int(parts[2]):
        raise SettingsError(
            f"deployment_shard must be one shard of several, such as 2/8, not {text[:60]!r}"
        )
    return Shard(int(parts[1]), int(parts[2]))


def _user_agent(text: str | None) -> str:
    if text is None:
        return f"tap-compose/{__version__}"
    if not text.isascii() or not text.isprintable() or text != text.strip() or not text:
        raise SettingsError("user_agent must be printable ASCII without spaces around it")
    return text
