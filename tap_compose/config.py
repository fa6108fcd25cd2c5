"""The config as a user gives it: from the environment, and checked against the schema."""

from __future__ import annotations

import os
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import dotenv
import msgspec
from singer_sdk.plugin_base import JSONSchemaValidator

from tap_compose.settings import SETTINGS_SCHEMA, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema.exceptions import ValidationError

ENVIRONMENT_PREFIX = "TAP_COMPOSE_"

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


def problems_of(config: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """Check a config against a JSON Schema.

    Args:
        config: The settings by name. Missing ones are filled with the schema's defaults; null
            stands for a missing one.
        schema: The schema, the SDK's own settings included.

    Returns:
        One line for each setting that is not valid, without the value of a secret.
    """
    settings = {name: value for name, value in config.items() if value is not None}
    found = {
        _name(error): _problem(error) for error in JSONSchemaValidator(schema).iter_errors(settings)
    }
    config.clear()
    config.update(settings)
    return list(found.values())


def unknown_settings(names: Iterator[str], schema: dict[str, Any]) -> Iterator[str]:
    """Find settings that do not exist.

    Args:
        names: Names of settings.
        schema: The schema of the known settings.

    Yields:
        One line for each unknown name, with the closest known one.
    """
    known = schema["properties"]
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield f"unknown setting {name} is ignored{hint}"


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
    variables = {**_dotenv(), **{name: text for name, text in os.environ.items() if text.strip()}}
    return {
        name: _from_text(text, schema["properties"].get(name, {}))
        for variable, text in variables.items()
        if variable.startswith(ENVIRONMENT_PREFIX)
        # Meltano's own extras start with an underscore; the log level is read by the SDK.
        and not (name := variable[len(ENVIRONMENT_PREFIX) :].lower()).startswith("_")
        and name != "loglevel"
    }


def _dotenv() -> dict[str, str]:
    """The variables in ``.env``; no folder above is searched, since that may be someone else's."""
    path = Path(".env")
    try:
        text = path.read_text(encoding="utf-8-sig") if path.is_file() or path.is_fifo() else ""
    except OSError as error:
        raise SettingsError(f".env cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(".env cannot be read: it is not UTF-8") from None
    values = dotenv.dotenv_values(stream=StringIO(text))
    return {name: text for name, text in values.items() if text and text.strip()}


def _from_text(text: str, schema: dict[str, Any]) -> Any:
    types = schema.get("type", [])
    if "boolean" in types and text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    if not {"integer", "number", "array", "object"} & set(types):
        return text
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        texts = [each.strip() for each in text.split(",")] if "array" in types else []
        return [each for each in texts if each] or text


def _name(error: ValidationError) -> str:
    if error.validator == "required":
        wanted: list[str] = cast("list[str]", error.validator_value)
        return next(name for name in wanted if name not in cast("dict[str, Any]", error.instance))
    return str(error.path[0]) if error.path else "config"


def _problem(error: ValidationError) -> str:
    name = _name(error)
    if error.validator == "required":
        return (
            f"{name} is missing: ask whoever runs the server for one (compose-sandbox prints its "
            f"own), and set it in the config file, or as {ENVIRONMENT_PREFIX}{name.upper()} "
            "with --config ENV"
        )
    schema = SETTINGS_SCHEMA["properties"].get(name)
    if schema is None:  # one of the SDK's; its value may hold anything, so it is not logged
        where = ".".join(str(part) for part in error.path)
        if name == "stream_maps" and len(error.path) > 1:
            map_ = (
                "null" if error.path[1] == "__else__" else "an object of texts and nulls, or null"
            )
            return f"{where} must be {map_}"
        return f"{where} is not valid: the rule {error.validator!r} of its schema fails"
    if schema.get("secret"):
        return f"{name} must be a string, in quotes"
    value = error.instance if len(error.path) == 1 else "one that is not"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return f"{name} must be {_wanted(schema)}, not {text[:60]!r}"


def _wanted(schema: dict[str, Any]) -> str:
    types = schema["type"]
    if "boolean" in types:
        return "true or false"
    if "array" in types:
        return "a list of strings"
    if "integer" in types:
        return f"an integer from {schema['minimum']} to {schema['maximum']}"
    if "number" in types:
        return "a number above 0" if "exclusiveMinimum" in schema else "a number of at least 0"
    return "a string, in quotes"
