"""What a user gives: the settings, from a file or the environment, and the input files.

Whatever is wrong with them is a ``SettingsError``: one line that names the setting or file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, fields
from difflib import get_close_matches
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import dotenv
import msgspec
from singer_sdk import typing as th
from singer_sdk.plugin_base import JSONSchemaValidator

from tap_compose import __version__
from tap_compose.api.client import PUBLIC_API
from tap_compose.api.transport import is_loopback
from tap_compose.logs import mask
from tap_compose.times import canonical_time

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from jsonschema.exceptions import ValidationError

_YEAR = 366 * 24 * 3600
"""Seconds; longer times are mistakes, and do not fit into dates."""


def _setting(name: str, kind: Any, description: str, **more: Any) -> th.Property[Any]:
    title = name.replace("_", " ").capitalize().replace("Api", "API")
    return th.Property(name, kind, title=title, description=description, **more)


SETTINGS_SCHEMA: dict[str, Any] = th.PropertiesList(
    _setting(
        "api_token",
        th.StringType,
        "Bearer token for the Compose API. Ask whoever runs the server for one; compose-sandbox "
        "prints its own. It can read whatever the user who created it can read.",
        required=True,
        secret=True,
    ),
    _setting(
        "api_url",
        th.StringType,
        "Base URL. Must be https, so that the token is encrypted, unless the host is this machine.",
        default=f"https://{PUBLIC_API}/2016-07",
    ),
    _setting(
        "start_date",
        th.DateTimeType,
        "Fetch audit events and recipes from this time on: 2020-01-01 or 2020-01-01T00:00:00Z. "
        "Each run starts from start_date or the bookmark, whichever is later.",
    ),
    _setting(
        "end_date",
        th.DateTimeType,
        "Fetch audit events before this time only, for example to backfill year by year.",
    ),
    _setting(
        "deployment_ids",
        th.ArrayType(th.StringType),
        "Fetch the per-deployment streams for these only. The stream deployments has all of them.",
    ),
    _setting(
        "deployment_shard",
        th.StringType,
        "Split the deployments among several runs: 2/8 is the second of eight shards. "
        "Account-level streams run in shard 1 only. Each shard needs a separate state.",
    ),
    _setting(
        "max_concurrency",
        th.IntegerType(minimum=1, maximum=64),
        "Maximum number of requests in flight, 1 to 64.",
        default=8,
    ),
    _setting(
        "request_timeout",
        th.NumberType(exclusive_minimum=0, maximum=_YEAR),
        "Seconds before a request times out.",
        default=60,
    ),
    _setting(
        "max_retries",
        th.IntegerType(minimum=0, maximum=20),
        "Retries per request before it counts as failed, 0 to 20.",
        default=8,
    ),
    _setting(
        "fail_on_skip",
        th.BooleanType,
        "Exit with status 1 even if resources were only skipped: not readable, or gone.",
        default=False,
    ),
    _setting(
        "lookback_seconds",
        th.NumberType(minimum=0, maximum=_YEAR),
        "Seconds before the bookmark that an incremental run fetches again.",
        default=60,
    ),
    _setting(
        "include_connection_strings",
        th.BooleanType,
        "Fill the column connection_strings of deployment_details with live passwords.",
        default=False,
    ),
    _setting(
        "emit_activate_version_messages",
        th.BooleanType,
        "After a full-table stream was read completely, delete rows that no longer exist there.",
        default=False,
    ),
    _setting("user_agent", th.StringType, "The User-Agent header. By default tap-compose/VERSION."),
).to_dict()
"""JSON Schema of the tap's settings; the SDK adds those of stream maps and flattening."""


class SettingsError(Exception):
    """Settings or an input file that are not valid; each argument is a line that names one."""


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

        Raises:
            SettingsError: If a value is not valid.
        """
        schemas = SETTINGS_SCHEMA["properties"]
        values: dict[str, Any] = {each.name: config.get(each.name) for each in fields(cls)}
        for name, value in values.items():
            if value is None:
                values[name] = schemas[name].get("default")
            elif name in _CONVERSIONS:
                convert, wanted = _CONVERSIONS[name]
                try:
                    values[name] = convert(value)
                except ValueError:
                    shown = "" if name == "api_token" else f", not {mask(value)[:60]!r}"
                    raise SettingsError(f"{name} must be {wanted}{shown}") from None
        start_date, end_date = values["start_date"], values["end_date"]
        if start_date and end_date and end_date <= start_date:
            raise SettingsError(
                f"end_date must be after start_date: {end_date} is not after {start_date}"
            )
        values["user_agent"] = values["user_agent"] or f"tap-compose/{__version__}"
        return cls(**values)


def _url(text: str) -> str:
    url = text.strip().rstrip("/")
    parts = _match(r"(https?)://(\[[\da-f:.]+\]|[\w.-]+)(?::\d+)?(?:/[\w.~%/-]*)?", url)
    _ = urlsplit(url).port  # raises ValueError if it is none
    if parts[1].lower() == "http" and not is_loopback(parts[2].strip("[]")):
        raise SettingsError(
            f"api_url must start with https: http would send the token to {parts[2]} unencrypted"
        )
    return url


def _shard(text: str) -> Shard:
    parts = _match(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    shard = Shard(int(parts[1]), int(parts[2]))
    if not 1 <= shard.part <= shard.parts:
        raise ValueError
    return shard


def _match(pattern: str, text: str) -> re.Match[str]:
    match = re.fullmatch(pattern, text, re.ASCII | re.IGNORECASE)
    if match is None:
        raise ValueError
    return match


_A_TIME = "a date or a time such as 2020-01-01T00:00:00Z"
_CONVERSIONS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "api_token": (
        lambda text: _match("([!-~]+)", text.strip())[1],
        "printable ASCII without blanks: copy it again",
    ),
    "api_url": (
        _url,
        "a URL such as http://127.0.0.1:8080/2016-07 without user, password or query",
    ),
    "start_date": (canonical_time, _A_TIME),
    "end_date": (canonical_time, _A_TIME),
    "deployment_ids": (lambda ids: tuple(dict.fromkeys(ids)), "a list of ids"),
    "deployment_shard": (_shard, "one shard of several, such as 2/8"),
    "user_agent": (
        lambda text: _match("[!-~]([ -~]*[!-~])?", text)[0],
        "printable ASCII without spaces around it",
    ),
}
"""What goes beyond JSON Schema: the value that the tap uses, and what the user must give."""


def problems_of(config: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """Check a config against a JSON Schema.

    Args:
        config: The settings by name. Null stands for a missing one; missing ones are filled with
            the schema's defaults.
        schema: The schema, the SDK's own settings included.

    Returns:
        One line for each setting that is not valid, without the value of a secret.
    """
    for name in [name for name, value in config.items() if value is None]:
        del config[name]
    return [_problem(error) for error in JSONSchemaValidator(schema).iter_errors(config)]


def _problem(error: ValidationError) -> str:
    name = ".".join(map(str, error.path))
    if not name:
        return (
            "api_token is missing: ask whoever runs the server for one (compose-sandbox prints its "
            "own), and set it in the config file, or as TAP_COMPOSE_API_TOKEN with --config ENV"
        )
    schema = SETTINGS_SCHEMA["properties"].get(name)
    if schema is None:  # one of the SDK's; its value may hold anything, so it is not logged
        return f"{name} is not valid: the rule {error.validator!r} of its schema fails"
    if schema.get("secret"):
        return f"{name} must be a string, in quotes"
    return f"{name} is not valid: {error.message}"


def unknown_settings(names: Iterable[str], schema: dict[str, Any]) -> list[str]:
    """Return one line for each setting that does not exist, with the closest known one.

    Args:
        names: Names of settings.
        schema: The schema of the known settings.
    """
    known = schema["properties"]
    near = {name: get_close_matches(name, known, n=1) for name in names if name not in known}
    return [
        f"unknown setting {name} is ignored" + "".join(f"; did you mean {each}?" for each in found)
        for name, found in near.items()
    ]


def environment_config(schema: dict[str, Any]) -> dict[str, Any]:
    """Read settings from the environment and from ``.env`` in the working directory.

    The environment takes precedence. An empty variable counts as not set.

    A value of the wrong type is returned as text, so that the check of the settings reports it.

    Args:
        schema: The schema of the settings.

    Returns:
        The settings that are set as ``TAP_COMPOSE_…``, unknown names included.

    Raises:
        SettingsError: If there is a ``.env`` file that cannot be read.
    """
    try:  # no folder above is searched, since that may be someone else's
        file = dotenv.dotenv_values(".env", encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise SettingsError(f".env cannot be read: {error}") from None
    config = {}
    for variable, text in [*file.items(), *os.environ.items()]:
        prefix, name = variable[:12], variable[12:].lower()
        # Meltano's own extras start with an underscore; the log level is read by the SDK.
        is_setting = prefix == "TAP_COMPOSE_" and name != "loglevel" and name[:1] != "_"
        if is_setting and text and text.strip():
            config[name] = _from_text(text, schema["properties"].get(name, {}).get("type", []))
    return config


def _from_text(text: str, types: list[str]) -> Any:
    if "boolean" in types:
        words = {"true": True, "1": True, "yes": True, "on": True}
        words |= {"false": False, "0": False, "no": False, "off": False}
        return words.get(text.lower(), text)
    if not {"integer", "number", "array", "object"} & set(types):
        return text
    if "array" in types and not text.lstrip().startswith("["):  # 59000001 is a text, too
        return [each.strip() for each in text.split(",") if each.strip()]
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return text


def read_input(option: str, name: str, read: Callable[[], bytes]) -> dict[str, Any]:
    """Read an input file once, so it can be a pipe.

    Args:
        option: The option of the command, such as "config".
        name: The file's name.
        read: Reads the file.

    Raises:
        SettingsError: If it is not a JSON object.
    """
    try:
        content = read()
        text = content.decode(json.detect_encoding(content))  # PowerShell's > writes UTF-16
        return msgspec.json.decode(text, type=dict[str, Any])
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or f"it is not a JSON object: {error}"
        raise SettingsError(f"--{option}: {name} cannot be read: {reason}") from None


def checked_state(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state without what may be around it.

    Args:
        state: The state; or around it a STATE message, as some targets print, or what
            ``meltano state get`` prints.

    Raises:
        SettingsError: If it is not a state.
    """
    state = state.get("value", state.get("singer_state", state))
    if state and not isinstance(state.get("bookmarks"), dict):
        raise SettingsError("the state has no object of bookmarks: it was not written by this tap")
    return state


def check_stream_maps(maps: Mapping[str, Any], columns: Mapping[str, Collection[str]]) -> None:
    """Check that the streams of stream maps, and the columns that they drop, exist.

    The SDK ignores what does not exist, so with a typo it would load what a map should drop.

    Args:
        maps: What each stream map changes.
        columns: The columns of each stream.

    Raises:
        SettingsError: If a stream or a column does not exist.
    """
    for name, definition in maps.items():
        if name == "__else__":
            continue
        changes = definition if isinstance(definition, dict) else {}
        source = str(changes.get("__source__", name))
        streams = [each for each in columns if fnmatch(each, source)]
        if not streams:
            raise SettingsError(f"stream_maps: no stream {source}; see tap-compose --discover")
        known = {column for each in streams for column in columns[each]}
        for column, value in changes.items():
            if value in (None, "__NULL__") and column not in known and not column.startswith("__"):
                raise SettingsError(
                    f"stream_maps: {name} has no column {column}; see tap-compose --discover"
                )
