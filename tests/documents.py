"""Writes the documents that are drawn from the code; the tests hold what is committed to it.

``make docs`` runs this: catalog.example.json and meltano.yml whole, and in README.md what
stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.
"""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tap_compose.settings import SETTINGS_SCHEMA
from tap_compose.streams import STREAMS
from tap_compose.tap import TapCompose
from tests.tap_runs import discover

ROOT = Path(__file__).parent.parent

_GROUPS = {
    "account": "The account",
    "billing": "Billing",
    "audit": "Audit log",
    "platform": "The platform",
    "deployments": "Deployments",
}


def catalog() -> str:
    """What ``tap-compose --discover`` prints."""
    tap = TapCompose(config={}, validate_config=False, setup_mapper=False)
    return f"{tap.catalog_json_text}\n"


def meltano() -> str:
    """meltano.yml: the tap with every setting, a loader, and a daily schedule."""
    loader = {
        "name": "target-jsonl",
        "variant": "andyh1203",
        "pip_url": "target-jsonl",
        "config": {"destination_path": "output", "do_timestamp_file": False},
    }
    extractor = {
        "name": "tap-compose",
        "namespace": "tap_compose",
        "pip_url": "-e .",
        "executable": "tap-compose",
        "capabilities": [each.value for each in TapCompose.capabilities],
        "settings_group_validation": [["api_token"]],
        "settings": [_meltano_setting(*each) for each in SETTINGS_SCHEMA["properties"].items()],
        "select": ["*.*"],
    }
    project = {
        "version": 1,
        "send_anonymous_usage_stats": False,
        "project_id": "tap-compose",
        "default_environment": "dev",
        "environments": [{"name": "dev"}],
        "plugins": {"extractors": [extractor], "loaders": [loader]},
        "jobs": [{"name": "compose-to-jsonl", "tasks": ["tap-compose target-jsonl"]}],
        "schedules": [{"name": "daily", "interval": "@daily", "job": "compose-to-jsonl"}],
    }
    head = "# Drawn from the tap's own settings by `make docs`.\n"
    return head + yaml.safe_dump(project, sort_keys=False, width=96, allow_unicode=True)


def _meltano_setting(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    kinds = {
        "integer": "integer",
        "number": "decimal",
        "boolean": "boolean",
        "array": "array",
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


def readme_blocks() -> dict[str, str]:
    """The parts of README.md that are drawn from the code, by name."""
    return {"streams": _streams(), "settings": _settings(), "picture": _picture()}


def readme(text: str) -> str:
    """Put the parts that are drawn from the code into README.md."""
    for name, block in readme_blocks().items():
        pattern = rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)"
        text, count = re.subn(pattern, partial(_put_between, block), text, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"README.md must have one block {name}")
    return text


def _put_between(block: str, marks: re.Match[str]) -> str:
    return f"{marks[1]}{block}{marks[2]}"


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
    path = ROOT / "README.md"
    path.write_text(readme(path.read_text()))


if __name__ == "__main__":
    main()
