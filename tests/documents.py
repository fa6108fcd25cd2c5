"""Writes the documents that are drawn from the code; the tests hold what is committed to it.

``make docs`` runs this: catalog.example.json, meltano.yml, docs/meltanohub/tap-compose.yml,
docs/streams.md and the pictures whole, and in other pages what stands between
``<!-- begin NAME -->`` and ``<!-- end NAME -->``.
"""

from __future__ import annotations

import json
import re
from copy import deepcopy
from functools import partial
from importlib.metadata import metadata
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from benchmarks import scale_page
from tap_compose.settings import SETTINGS_SCHEMA
from tap_compose.streams import STREAMS
from tap_compose.streams.audit import AuditEvents
from tap_compose.streams.base import DeploymentStream
from tap_compose.tap import TapCompose
from tests import pictures
from tests.tap_runs import discover

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent

MARKS = ("Personal", "May be personal", "Infrastructure", "Credentials")
"""What the description of a sensitive column ends with."""

_KINDS = {"string": "text", "array": "list"}

_GROUPS = {
    "account": "The account",
    "billing": "Billing",
    "audit": "Audit log",
    "platform": "The platform",
    "deployments": "Deployments",
}

# Loaders by name: the variant, and the settings that matter here. Files of one run must not
# overwrite those of the run before: an incremental one holds only what is new. target-duckdb is
# not among them: its latest release, 0.8.0, loses the first row of a batch.
_LOADERS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "target-jsonl": (
        "andyh1203",
        [
            {"name": "destination_path", "value": "output"},
            {"name": "do_timestamp_file", "kind": "boolean", "value": False},
        ],
    ),
    "target-csv": (
        "meltanolabs",
        [
            {"name": "output_path", "value": "output"},
            {"name": "file_naming_scheme", "value": "{stream_name}-{timestamp}.csv"},
        ],
    ),
    "target-postgres": (
        "meltanolabs",
        [
            {"name": "host", "value": "localhost"},
            {"name": "port", "kind": "integer", "value": 5432},
            {"name": "user"},
            {"name": "password", "kind": "string", "sensitive": True},
            {"name": "database", "value": "compose"},
            {"name": "default_target_schema", "value": "compose"},
            {"name": "sqlalchemy_url", "kind": "string", "sensitive": True},
        ],
    ),
}

_HUB_HEAD = """\
# The tap for MeltanoHub, drawn from its own settings by `make docs`. It belongs there at
# _data/meltano/extractors/tap-compose/VARIANT.yml, where VARIANT is the owner of the repository.
# To fill in then: `variant`, `repo`, `logo_url` and `pip_url`. Until then a project adds the tap
# with `meltano add --from-ref` and sets TAP_COMPOSE_PIP_URL to its path: see docs/install.md.
"""
_HUB_NEXT_STEPS = """\
Choose what to read; a stream that is not selected costs no request:

```bash
meltano select tap-compose deployments '*'
meltano select tap-compose audit_events '*'
```
"""
_HUB_USAGE = """\
The API is offline. The tap brings a local one with a made-up account, `compose-sandbox`, which
can stand in front of any command:

```bash
uv tool install '.[sandbox]'  # in a clone of the tap's repository
compose-sandbox run -- meltano run tap-compose target-jsonl
```

To split an account over several runs, give each part a state of its own:

```bash
TAP_COMPOSE_DEPLOYMENT_SHARD=1/2 meltano run --state-id-suffix=1-of-2 tap-compose target-jsonl
TAP_COMPOSE_DEPLOYMENT_SHARD=2/2 meltano run --state-id-suffix=2-of-2 tap-compose target-jsonl
```
"""


def catalog() -> str:
    """What ``tap-compose --discover`` prints."""
    tap = TapCompose(config={}, validate_config=False, setup_mapper=False)
    return f"{tap.catalog_json_text}\n"


def meltano() -> str:
    """meltano.yml: the tap with every setting, loaders, jobs and schedules."""
    extractor = {
        "name": "tap-compose",
        "namespace": "tap_compose",
        "pip_url": "-e .",
        "executable": "tap-compose",
        "capabilities": [each.value for each in TapCompose.capabilities],
        "settings_group_validation": [SETTINGS_SCHEMA["required"]],
        "settings": _meltano_settings(),
    }
    audit = {
        "name": "tap-compose-audit",
        "inherit_from": "tap-compose",
        "select": ["audit_events.*"],
    }
    project = {
        "requires_meltano": ">=4,<5",
        "send_anonymous_usage_stats": False,
        "project_id": "tap-compose",
        "default_environment": "dev",
        "environments": [{"name": "dev"}],
        "plugins": {
            "extractors": [extractor, audit],
            "loaders": [_loader(*each) for each in _LOADERS.items()],
        },
        "jobs": [
            {"name": "compose-to-jsonl", "tasks": ["tap-compose target-jsonl"]},
            {"name": "audit-to-postgres", "tasks": ["tap-compose-audit target-postgres"]},
        ],
        "schedules": [
            {"name": "daily", "interval": "@daily", "job": "compose-to-jsonl"},
            {"name": "audit", "interval": "*/15 * * * *", "job": "audit-to-postgres"},
        ],
    }
    return "# Drawn from the tap's own settings by `make docs`.\n" + _yaml(project)


def meltano_hub() -> str:
    """The tap as MeltanoHub describes plugins."""
    definition = {
        "capabilities": sorted(each.value for each in TapCompose.capabilities),
        "definition": "reads what a Compose account knows about its databases",
        "description": metadata("tap-compose")["Summary"].partition(": ")[0],
        "domain_url": "https://www.compose.com",
        "executable": "tap-compose",
        "keywords": ["api", "database", "meltano_sdk"],
        "label": "Compose",
        "log_parser": "singer-sdk",
        "maintenance_status": "active",
        "name": "tap-compose",
        "namespace": "tap_compose",
        "next_steps": _HUB_NEXT_STEPS,
        "pip_url": "${TAP_COMPOSE_PIP_URL}",  # the tap is on no index yet
        "quality": "unknown",  # the Hub's to say
        "settings": sorted(_meltano_settings(), key=itemgetter("name")),
        "settings_group_validation": [SETTINGS_SCHEMA["required"]],
        "supported_python_versions": _python_versions(),
        "usage": _HUB_USAGE,
        "variant": "tap-compose",
    }
    return _HUB_HEAD + _yaml(definition)


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as it reads."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _yaml(document: dict[str, Any]) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=96, allow_unicode=True)


def _python_versions() -> list[str]:
    classifiers = metadata("tap-compose").get_all("Classifier", [])
    return [version for each in classifiers for version in re.findall(r":: (3\.\d+)$", each)]


def _loader(name: str, loader: tuple[str, list[dict[str, Any]]]) -> dict[str, Any]:
    variant, settings = loader
    return {
        "name": name,
        "namespace": name.replace("-", "_"),  # defined here: the Hub is not asked
        "variant": variant,
        "pip_url": (ROOT / "locks" / f"{name}.in").read_text().strip(),
        "executable": name,
        "settings": settings,
    }


def _meltano_settings() -> list[dict[str, Any]]:
    schema = deepcopy(SETTINGS_SCHEMA)
    TapCompose.append_builtin_config(schema)
    del schema["properties"]["faker_config"]  # the tap does not install Faker
    return [_meltano_setting(*each) for each in schema["properties"].items()]


def _meltano_setting(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    kinds = {
        "integer": "integer",
        "number": "integer",  # Meltano 4.4 fails on a decimal that comes from the environment
        "boolean": "boolean",
        "array": "array",
        "object": "object",
        "string": "date_iso8601" if schema.get("format") == "date-time" else "string",
    }
    setting = {
        "name": name,
        "label": schema["title"],
        "kind": next(kinds[each] for each in kinds if each in schema["type"]),
        "description": schema["description"],
    }
    if schema.get("secret"):
        setting["sensitive"] = True
    if "default" in schema:
        setting["value"] = schema["default"]
    return setting


def blocks() -> dict[str, dict[str, str]]:
    """The parts of pages that are drawn from the code, by page and name."""
    return {
        "README.md": {"streams": _streams(), "settings": _settings(), "picture": _picture()},
        "docs/privacy.md": {"personal": _marked()},
        "docs/scale.md": scale_page.blocks(json.loads(scale_page.NOTES.read_text())),
    }


def page(name: str) -> str:
    """A page with the parts in it that are drawn from the code."""
    return filled((ROOT / name).read_text(), blocks()[name])


def filled(text: str, parts: dict[str, str]) -> str:
    """Put parts into a text, each between the marks that have its name."""
    for name, part in parts.items():
        pattern = rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)"
        text, count = re.subn(pattern, partial(_put_between, part), text, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"there must be one block {name}")
    return text


def _put_between(part: str, marks: re.Match[str]) -> str:
    return f"{marks[1]}{part}{marks[2]}"


def _entries() -> list[tuple[Any, dict[str, Any]]]:
    by_name = {entry["tap_stream_id"]: entry for entry in discover()["streams"]}
    return [(each, by_name[vars(each)["name"]]) for each in STREAMS]


def _streams() -> str:
    lines = [
        "| stream | what it holds | endpoint | key | replication |",
        "|---|---|---|---|---|",
    ]
    for stream, entry in _entries():
        key = entry.get("replication_key")
        replication = f"incremental on `{key}`" if key else "full"
        keys = ", ".join(f"`{each}`" for each in entry["key_properties"])
        what = stream.__doc__.splitlines()[0]
        path = stream.path.replace("{}", ":id")
        lines.append(f"| {entry['stream']} | {what} | `{path}` | {keys} | {replication} |")
    return "\n".join(lines) + "\n"


def streams_page() -> str:
    """docs/streams.md: every stream with its columns."""
    parts = [
        "# Streams and their columns",
        "",
        "Drawn from the code by `make docs`. Only columns of the key are never null. Objects and",
        "lists are JSON; their members are written below them.",
    ]
    for stream, entry in _entries():
        key = entry.get("replication_key")
        parts += [
            "",
            f"## {entry['stream']}",
            "",
            stream.__doc__.splitlines()[0],
            "",
            f"- endpoint: `GET {stream.path.replace('{}', ':id')}`",
            f"- key: {', '.join(f'`{each}`' for each in entry['key_properties'])}",
            f"- replication: {f'incremental on `{key}`' if key else 'full'}",
            f"- requests: {requests_of(stream)}",
            "",
            "| column | type | what it holds |",
            "|---|---|---|",
        ]
        parts += [
            f"| `{name}` | {kind} | {what} |"
            for name, kind, what in _columns(entry["schema"]["properties"])
        ]
    return "\n".join(parts) + "\n"


def requests_of(stream: Any) -> str:
    """What it costs to read a stream, in words; ``tests/test_selection.py`` counts it."""
    others = [
        vars(each)["name"] for each in STREAMS if each is not stream and each.path == stream.path
    ]
    shared = f", shared with {', '.join(others)}" if others else ""
    if issubclass(stream, DeploymentStream):
        return f"1 for each deployment{shared}, and 1 for the list of deployments"
    if stream is AuditEvents:
        return "1 for each 100 events and some 12 % more, 1 where nothing is new"
    if "{}" in stream.path:
        return "1 for each account, and 1 for the list of accounts"
    return f"1{shared}"


def _columns(properties: dict[str, Any], place: str = "") -> Iterator[tuple[str, str, str]]:
    """Name, type and description of columns and, behind each, of its members."""
    for name, schema in properties.items():
        items = schema.get("items", schema)
        kinds = [each for each in schema["type"] if each != "null"]
        kind = "time" if schema.get("format") == "date-time" else _KINDS.get(kinds[0], kinds[0])
        if kind == "list":
            kind = "list of objects" if "properties" in items else "list of texts"
        yield f"{place}{name}", kind, schema.get("description", "")
        if items.get("properties"):
            mark = "[]" if schema is not items else ""
            yield from _columns(items["properties"], f"{place}{name}{mark}.")


def _marked() -> str:
    """The columns that are marked as personal or otherwise sensitive."""
    lines = ["| stream | column | kind |", "|---|---|---|"]
    lines += [
        f"| {entry['stream']} | `{name}` | {mark.lower()} |"
        for _, entry in _entries()
        for name, _, what in _columns(entry["schema"]["properties"])
        for mark in MARKS
        if what.endswith(f" {mark}.")
    ]
    return "\n".join(lines) + "\n"


def _settings() -> str:
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for name, schema in SETTINGS_SCHEMA["properties"].items():
        default = json.dumps(schema["default"]) if "default" in schema else "none"
        if name in SETTINGS_SCHEMA["required"]:
            default = "**required**"
        lines.append(f"| `{name}` | {default.strip(chr(34))} | {schema['description']} |")
    return "\n".join(lines) + "\n"


def _picture() -> str:
    lines = ["```mermaid", "flowchart LR", '    api(["Compose API"])']
    for module, title in _GROUPS.items():
        # A group must not be named as a node in it.
        lines.append(f'    subgraph {module}_group["{title}"]')
        for stream, entry in _entries():
            if stream.__module__.endswith(f".{module}"):
                name = entry["stream"]
                shape = f'[/"{name}"/]' if entry.get("replication_key") else f'["{name}"]'
                lines.append(f"        {name}{shape}")
        lines.append("    end")
        lines.append(f"    api --> {module}_group")
    lines.append("```")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the documents."""
    (ROOT / "catalog.example.json").write_text(catalog())
    (ROOT / "meltano.yml").write_text(meltano())
    (ROOT / "docs/meltanohub/tap-compose.yml").write_text(meltano_hub())
    (ROOT / "docs/streams.md").write_text(streams_page())
    (ROOT / "docs/progress.svg").write_text(pictures.progress())
    (ROOT / "docs/demo.svg").write_text(pictures.demo(ROOT))
    for name in blocks():
        (ROOT / name).write_text(page(name))


if __name__ == "__main__":
    main()
