"""The settings: what a user can say, and whether it makes sense."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import dotenv
import msgspec
from singer_sdk import typing as th
from singer_sdk.plugin_base import JSONSchemaValidator

from tap_compose import __version__
from tap_compose.times import canonical_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jsonschema.exceptions import ValidationError

ENVIRONMENT_PREFIX = "TAP_COMPOSE_"

SETTINGS_SCHEMA: dict[str, Any] = th.PropertiesList(
    th.Property(
        "api_token",
        th.StringType,
        required=True,
        secret=True,
        title="API token",
        description=(
            "Bearer token for the Compose API, made in the Compose console under "
            "Account > API Tokens. It reads what its creator may read."
        ),
    ),
    th.Property(
        "api_url",
        th.StringType,
        default="https://api.compose.io/2016-07",
        title="API URL",
        description=(
            "Base URL of the API. Must be https, so that the token never travels in the clear, "
            "unless the host is this machine."
        ),
    ),
    th.Property(
        "start_date",
        th.DateTimeType,
        title="Start date",
        description=(
            "Earliest audit event and recipe to fetch, such as 2020-01-01 or "
            "2020-01-01T00:00:00Z. On every run the later of it and the bookmark counts. "
            "Without it everything is fetched."
        ),
    ),
    th.Property(
        "end_date",
        th.DateTimeType,
        title="End date",
        description=(
            "Fetch only audit events before this time, to backfill in slices. "
            "Must be after start_date."
        ),
    ),
    th.Property(
        "deployment_ids",
        th.ArrayType(th.StringType),
        title="Deployment IDs",
        description=(
            "Fetch the deployment-scoped streams for these deployments only. "
            "The stream deployments always lists all of them."
        ),
    ),
    th.Property(
        "deployment_shard",
        th.StringType,
        title="Deployment shard",
        description=(
            "Split the deployments over several runs: 2/8 makes this run take the second of "
            "eight parts. Account-level streams run in part 1 only; give each part a state of "
            "its own."
        ),
    ),
    th.Property(
        "max_concurrency",
        th.IntegerType(minimum=1, maximum=64),
        default=8,
        title="Maximum concurrency",
        description="Most requests in flight at once, from 1 to 64.",
    ),
    th.Property(
        "request_timeout",
        th.NumberType(exclusive_minimum=0),
        default=60,
        title="Request timeout",
        description="Seconds that one request may take.",
    ),
    th.Property(
        "max_retries",
        th.IntegerType(minimum=0, maximum=20),
        default=8,
        title="Maximum retries",
        description="Further tries of a request after the first before it has failed, 0 to 20.",
    ),
    th.Property(
        "fail_on_skip",
        th.BooleanType,
        default=False,
        title="Fail on skip",
        description=(
            "Exit with status 1 also when a resource was skipped because the token may not "
            "read it or it no longer exists."
        ),
    ),
    th.Property(
        "lookback_seconds",
        th.NumberType(minimum=0),
        default=60,
        title="Lookback",
        description="Seconds by which an incremental run overlaps with the one before.",
    ),
    th.Property(
        "include_connection_strings",
        th.BooleanType,
        default=False,
        title="Include connection strings",
        description=(
            "Fill the column connection_strings of deployment_details. "
            "They carry live passwords: without this setting the column is null."
        ),
    ),
    th.Property(
        "emit_activate_version_messages",
        th.BooleanType,
        default=False,
        title="Emit ACTIVATE_VERSION messages",
        description=(
            "After a full-table stream was read whole, tell the target to drop the rows that "
            "no longer exist."
        ),
    ),
    th.Property(
        "user_agent",
        th.StringType,
        title="User agent",
        description="What the User-Agent header says; tap-compose and its version by default.",
    ),
).to_dict()
"""JSON Schema of the tap's own settings; the SDK adds those of stream maps and flattening."""

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_LONGEST_SPAN = 366 * 24 * 3600


class SettingsError(ValueError):
    """A setting that makes no sense; the message is one line that names it."""


@dataclass(frozen=True)
class Shard:
    """One of several parts of the deployments.

    Attributes:
        part: This part, from 1.
        parts: How many parts there are.
    """

    part: int
    parts: int

    def holds(self, deployment_id: str) -> bool:
        """Tell whether a deployment belongs to this part.

        Args:
            deployment_id: The deployment's id.

        Returns:
            True for exactly one of the parts, the same one whatever other deployments exist.
        """
        digest = hashlib.sha256(deployment_id.encode()).digest()
        return int.from_bytes(digest, "big") % self.parts == self.part - 1


@dataclass(frozen=True)
class Settings:
    """The settings of one run, checked; design and meaning are in ``SETTINGS_SCHEMA``.

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
        """Make the settings from a config that fits ``SETTINGS_SCHEMA``.

        Args:
            config: The settings by name; None stands for the default.

        Returns:
            The settings.

        Raises:
            SettingsError: If a value makes no sense.
        """
        given = {
            name: schema["default"]
            for name, schema in SETTINGS_SCHEMA["properties"].items()
            if "default" in schema
        } | {name: value for name, value in config.items() if value is not None}
        start_date, end_date = (_time(name, given.get(name)) for name in ("start_date", "end_date"))
        if start_date and end_date and end_date <= start_date:
            raise SettingsError(
                f"end_date must be after start_date, and {end_date} is not after {start_date}"
            )
        for name in ("request_timeout", "lookback_seconds"):
            if not given[name] <= _LONGEST_SPAN:
                raise SettingsError(f"{name} must be at most {_LONGEST_SPAN}, which is a year")
        ids = given.get("deployment_ids")
        return cls(
            api_token=_token(given.get("api_token", "")),
            api_url=_url(given["api_url"]),
            start_date=start_date,
            end_date=end_date,
            deployment_ids=None if ids is None else tuple(dict.fromkeys(ids)),
            deployment_shard=_shard(given.get("deployment_shard")),
            max_concurrency=int(given["max_concurrency"]),
            request_timeout=float(given["request_timeout"]),
            max_retries=int(given["max_retries"]),
            fail_on_skip=given["fail_on_skip"],
            lookback_seconds=float(given["lookback_seconds"]),
            include_connection_strings=given["include_connection_strings"],
            user_agent=_user_agent(given.get("user_agent")),
        )


def problems_of(config: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """Check a config against a JSON Schema.

    Args:
        config: The settings by name; missing ones are filled with the schema's defaults.
        schema: The schema, the SDK's own settings included.

    Returns:
        A line for a person for each setting that is wrong, without the value of a secret.
    """
    given = {name: value for name, value in config.items() if value is not None}
    found = {
        _name(error): _problem(error) for error in JSONSchemaValidator(schema).iter_errors(given)
    }
    config.update(given)
    return list(found.values())


def unknown_settings(names: Iterator[str], schema: dict[str, Any]) -> Iterator[str]:
    """Find settings that nobody reads.

    Args:
        names: Names of given settings.
        schema: The schema of the settings that are read.

    Yields:
        A line for a person for each unknown name, with the nearest known one.
    """
    known = schema["properties"]
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield f"unknown setting {name} is ignored{hint}"


def environment_config(schema: dict[str, Any]) -> dict[str, Any]:
    """Read settings from the environment and from a ``.env`` file.

    A variable that does not hold what its setting wants comes back as the text it is, so that
    the check of the settings names it.

    Args:
        schema: The schema of the settings.

    Returns:
        The settings that are set as ``TAP_COMPOSE_…``, unknown names included.
    """
    dotenv.load_dotenv(dotenv.find_dotenv(usecwd=True))
    return {
        name: _from_text(text, schema["properties"].get(name, {}))
        for variable, text in os.environ.items()
        if variable.startswith(ENVIRONMENT_PREFIX)
        # Meltano's own extras start with an underscore; the log level is read by the SDK.
        and not (name := variable[len(ENVIRONMENT_PREFIX) :].lower()).startswith("_")
        and name != "loglevel"
    }


def _from_text(text: str, schema: dict[str, Any]) -> Any:
    types = schema.get("type", [])
    if "boolean" in types and text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    if not {"integer", "number", "array", "object"} & set(types):
        return text
    try:
        return msgspec.json.decode(text)
    except ValueError:
        return text.split(",") if "array" in types else text


def _name(error: ValidationError) -> str:
    if error.validator == "required":
        wanted: list[str] = cast("list[str]", error.validator_value)
        return next(name for name in wanted if name not in cast("dict[str, Any]", error.instance))
    return str(error.path[0]) if error.path else "config"


def _problem(error: ValidationError) -> str:
    name = _name(error)
    if error.validator == "required":
        return (
            f"{name} is missing: make a token in the Compose console under Account > API Tokens "
            f"and set it in the config file, or as {ENVIRONMENT_PREFIX}{name.upper()} "
            "with --config ENV"
        )
    schema = SETTINGS_SCHEMA["properties"].get(name)
    if schema is None:  # one of the SDK's; its value may hold anything, so it isn't shown
        where = ".".join(str(part) for part in error.path)
        return f"{where} is not valid: it breaks the rule {error.validator!r} of the setting"
    if schema.get("secret"):
        return f"{name} must be a string, in quotes"
    value = error.instance if len(error.path) == 1 else "one that is not"
    shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return f"{name} must be {_wanted(schema)}, not {shown[:60]!r}"


def _wanted(schema: dict[str, Any]) -> str:
    types = schema["type"]
    if "boolean" in types:
        return "true or false"
    if "array" in types:
        return "a list of strings"
    if "integer" in types:
        return f"a whole number from {schema['minimum']} to {schema['maximum']}"
    if "number" in types:
        return "a number above 0" if "exclusiveMinimum" in schema else "a number of at least 0"
    return "a string, in quotes"


def _token(token: str) -> str:
    token = token.strip()
    if not token:
        raise SettingsError(
            "api_token is empty: make a token in the Compose console under Account > API Tokens"
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError("api_token holds characters that no token has: copy it once more")
    return token


def _url(url: str) -> str:
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in {"http", "https"}:
        raise SettingsError("api_url must be an address such as https://api.compose.io/2016-07")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise SettingsError(
            "api_url must hold no user, password, query or fragment; the token goes in api_token"
        )
    if parts.scheme == "http" and not _is_loopback(host):
        raise SettingsError(
            f"api_url must start with https: plain http would send the token to {host} in the clear"
        )
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
            f"deployment_shard must be a part of so many, 1/8 to 8/8, not {text[:60]!r}"
        )
    return Shard(int(parts[1]), int(parts[2]))


def _user_agent(text: str | None) -> str:
    if text is None:
        return f"tap-compose/{__version__}"
    if not text.isascii() or not text.isprintable() or text != text.strip() or not text:
        raise SettingsError("user_agent must be printable ASCII without spaces around it")
    return text
