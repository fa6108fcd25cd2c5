"""Writes what files of the repository take from the code; tests hold the files to it.

``make docs`` runs this. What it writes into a file stands between comments, ``begin NAME`` and
``end NAME``. The rest of the file is written by hand.
"""

from __future__ import annotations

import json
import re
import sys
from functools import partial
from operator import itemgetter
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any, cast

import yaml

from tap_compose.api.errors import (
    ERRORS_BY_STATUS,
    DeniedError,
    TransientError,
    error_of,
)
from tap_compose.report import Scope, meaning_of
from tap_compose.settings import SETTINGS_SCHEMA
from tap_compose.streams import STREAMS
from tools import dbt_project, joins, pictures
from tools.command import catalog, printed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_compose.api.errors import ApiError

ROOT = Path(__file__).parent.parent

MARKS = ("Personal", "May be personal", "Infrastructure", "Credentials")
"""What the description of a sensitive column ends with."""

OF_EVERY_DEPLOYMENT = "Deployment that the row belongs to."
"""The column ``deployment_id``, which docs/streams.md describes once for all streams."""

_TYPES = {"string": "text", "array": "list"}

# Meltano 4.4 fails on a decimal that comes from the environment.
_KINDS = {"number": "integer"}


def files() -> dict[str, str]:
    """Return the files that take something from the code, as they should be, by path."""
    about = json.loads(printed("--about", "--format=json"))["settings"]["properties"]
    del about["faker_config"]  # the tap does not install Faker
    settings = [_meltano_setting(*each) for each in about.items()]
    by_name = sorted(settings, key=itemgetter("name"))
    blocks = {
        "docs/architecture.md": {"failures": _failures()},
        "docs/privacy.md": {"personal": _sensitive_columns()},
        "docs/settings.md": {"settings": _settings()},
        "docs/streams.md": {
            "joins": "\n".join([*joins.lines(), ""]),
            "streams": "\n".join(_sections()),
        },
        "docs/meltanohub/tap-compose.yml": {"settings": _yaml({"settings": by_name})},
        "meltano.yml": {"settings": indent(_yaml({"settings": settings}), " " * 4)},
    }
    return {
        "catalog.example.json": printed("--discover"),
        "docs/progress.svg": pictures.progress(),
        **dbt_project.files(),
        **{name: filled((ROOT / name).read_text(), parts) for name, parts in blocks.items()},
    }


def filled(text: str, parts: dict[str, str]) -> str:
    """Put each part between the comments that have its name."""
    for name, part in parts.items():
        pattern = rf"^(.*(?:<!--|#) begin {name}\b.*\n)(?:.*\n)*?(.*(?:<!--|#) end {name}\b)"
        text, count = re.subn(pattern, partial(_put_between, part), text, flags=re.MULTILINE)
        if count != 1:
            raise ValueError(f"there must be one block {name}")
    return text


def _put_between(part: str, comments: re.Match[str]) -> str:
    return f"{comments[1]}{part}{comments[2]}"


def _yaml(content: Any) -> str:
    """Return YAML as Meltano writes it, so that it changes no line when it adds one."""
    return yaml.dump(
        content, Dumper=_MeltanoDumper, sort_keys=False, width=sys.maxsize, allow_unicode=True
    )


class _MeltanoDumper(yaml.SafeDumper):
    """Writes a text that begins with a single quote in double quotes."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if text.startswith("'") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_MeltanoDumper.add_representer(str, _represent_text)


def _meltano_setting(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    kind = next(each for each in schema["type"] if each != "null")
    return {
        "name": name,
        "kind": "date_iso8601" if "format" in schema else _KINDS.get(kind, kind),
        **({"value": schema["default"]} if "default" in schema else {}),
        "label": schema["title"],
        "description": schema["description"],
        **({"sensitive": True} if schema.get("secret") else {}),
    }


def _settings() -> str:
    lines = []
    for name, schema in SETTINGS_SCHEMA["properties"].items():
        default = json.dumps(schema["default"]).strip('"') if "default" in schema else "none"
        if name in SETTINGS_SCHEMA["required"]:
            default = "**required**"
        lines.append(f"- `{name}` ({default}): {schema['description']}\n")
    return "".join(lines)


def _facts() -> Iterator[tuple[str, str, str, str, str, Any]]:
    """Name, meaning, path, key, replication and schema of each stream."""
    entries = catalog()
    for stream in cast("Any", STREAMS):
        entry = entries[stream.name]
        key = entry.get("replication_key")
        keys = ", ".join(f"`{each}`" for each in entry["key_properties"])
        path = getattr(stream, "path", "").replace("{}", ":id")
        replication = f"incremental on `{key}`" if key else ""
        what = stream.__doc__.splitlines()[0]
        yield stream.name, what, path, keys, replication, entry["schema"]["properties"]


def _sections() -> Iterator[str]:
    for name, what, path, keys, replication, properties in _facts():
        yield f"### {name}\n\n{what}\n"
        requests = requests_of(name)
        endpoint = f"`{path}`" if path else ""
        if requests in {"1 request", "1 request per deployment"}:
            requests = ""
        yield f"{'; '.join(filter(None, [endpoint, f'key {keys}', replication, requests]))}\n"
        for each, kind, text in _columns(properties):
            if text != OF_EVERY_DEPLOYMENT:
                shown = "" if kind == "text" else f" ({kind})"
                yield f"- `{each}`{shown}: {text}"
        yield f"\n```sql\n{queries()[name]}\n```\n"


def queries() -> dict[str, str]:
    """Return the example query of each stream."""
    _, *parts = re.split(
        r"^-- (\w+)$", (ROOT / "tools/queries.sql").read_text(), flags=re.MULTILINE
    )
    return {name: query.strip() for name, query in zip(parts[::2], parts[1::2], strict=True)}


def requests_of(name: str) -> str:
    """Return how many requests a stream takes; ``tests/command/test_selection.py`` counts them."""
    paths = {each.name: getattr(each, "path", "") for each in cast("Any", STREAMS)}
    if not paths[name]:
        return "no request"
    others = [each for each, path in paths.items() if path == paths[name] and each != name]
    shared = f", shared with {', '.join(others)}" if others else ""
    if paths[name].startswith("/deployments/{}"):
        return f"1 request per deployment{shared}"
    if name == "audit_events":
        return "1 request per 100 events and about 12 % more"
    if "{}" in paths[name]:
        return "1 request per account"
    return f"1 request{shared}"


def _columns(properties: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Name, type and description of columns and, behind each, of its members."""
    for name, schema in properties.items():
        items = schema.get("items", schema)
        kind = next(each for each in schema["type"] if each != "null")
        kind = "time" if "format" in schema else _TYPES.get(kind, kind)
        if kind == "list":
            kind = "list of objects" if "properties" in items else "list of texts"
        yield f"{prefix}{name}", kind, schema.get("description", "")
        mark = "" if items is schema else "[]"
        yield from _columns(items.get("properties", {}), f"{prefix}{name}{mark}.")


def _sensitive_columns() -> str:
    """Return a line for each kind of sensitive columns."""
    found: dict[str, dict[str, list[str]]] = {mark: {} for mark in MARKS}
    for stream, *_, properties in _facts():
        for name, _, what in _columns(properties):
            for mark in MARKS:
                if what.endswith(f" {mark}."):
                    found[mark].setdefault(stream, []).append(f"`{name}`")
    lines = []
    for mark, streams in found.items():
        texts = [f"{stream} {', '.join(names)}" for stream, names in streams.items()]
        lines.append(f"- {mark}: {'; '.join(texts)}\n")
    return "".join(lines)


def _failures() -> str:
    """Return what each status means; 401 is judged by whether the token is alive."""
    statuses: dict[type[ApiError], list[str]] = {DeniedError: ["401 if the token is alive"]}
    names = {f"{status}": error for status, error in ERRORS_BY_STATUS.items()}
    names |= {
        f"other {digit}xx": type(error_of(digit * 100 + 99, {}, b"")) for digit in (2, 3, 4, 5)
    }
    for name, error in names.items():
        if name != "401":
            statuses.setdefault(error, []).append(name)
    lines = []
    for error, meant in statuses.items():
        retried = "retried, then " * (error is TransientError)
        meanings = {each: meaning_of(error, each) for each in Scope}
        differs = len({*meanings.values()}) > 1
        texts = [
            retried
            + outcome.value
            + (f" for {scope.value}" if differs else "")
            + (f" ({meaning})" if meaning else "")
            for scope, (outcome, meaning) in meanings.items()
        ]
        each = "; ".join(dict.fromkeys(texts))
        lines.append(f"- {', '.join(meant)} (`{error.__name__}`): {each}\n")
    return "".join(lines)


def main() -> None:
    """Write the files."""
    for name, text in files().items():
        (ROOT / name).write_text(text)


if __name__ == "__main__":
    main()
