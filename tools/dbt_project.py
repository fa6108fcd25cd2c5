"""Writes the parts of ``examples/dbt`` that follow from the catalog: sources and staging models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from tap_compose.streams import STREAMS
from tools.command import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
MODELS = "examples/dbt/models"

_TYPES = {
    "string": "text",
    "number": "numeric(38, 8)",
    "integer": "bigint",
    "boolean": "boolean",
    "array": "json",
    "object": "json",
}

_THINGS = {
    "account_users": "user",
    "audit_events": "event",
    "deployment_details": "deployment",
    "deployment_team_roles": "role",
}
"""What a row of a stream is, if that is not the singular of its name."""

_ALWAYS_HAS_ROWS = ("accounts", "deployments")
"""The streams whose freshness can be checked: an empty table has none."""

_ROLES = ["developer", "manager", "admin"]
_STABILITIES = ["stable", "beta", "alpha", "deprecated"]
_HEALTH = ["healthy", "warning", "critical", "unknown", "waiting"]
_ACCEPTED = {
    "databases": {"status": _STABILITIES},
    "database_versions": {"status": _STABILITIES},
    "deployment_alerts": {"status": _HEALTH, "summary": _HEALTH},
    "deployment_backups": {
        "type": ["daily", "weekly", "monthly", "on_demand"],
        "status": ["running", "complete", "failed"],
    },
    "deployment_health": {"summary": _HEALTH},
    "deployment_recipes": {"status": ["running", "waiting", "complete", "failed"]},
    "deployment_roles": {"role_name": _ROLES},
    "deployment_scalings": {"unit_type": ["memory", "data"]},
    "deployment_team_roles": {"role_name": _ROLES},
    "deployment_versions": {"method": ["in_place", "restore"]},
}
"""The known values of columns of staging models; another one is a warning."""


def files() -> dict[str, str]:
    """Return the files as they should be, by path."""
    by_name = catalog()
    entries = [(stream, by_name[stream.name]) for stream in cast("Any", STREAMS)]
    return {
        f"{MODELS}/sources.yml": _sources(entries),
        f"{MODELS}/staging/staging.yml": _staging(entries),
        **{f"{MODELS}/staging/{_model(each.name)}.sql": _sql(entry) for each, entry in entries},
    }


def marts() -> dict[str, str]:
    """Return the description of each mart for docs/answers.md, by its name."""
    models = yaml.safe_load((ROOT / MODELS / "marts" / "marts.yml").read_text())["models"]
    return {model["name"]: _mart(model) for model in models}


def _mart(model: dict[str, Any]) -> str:
    rows = [f"| `{each['name']}` | {each['description']} |" for each in model["columns"]]
    return "\n".join(
        [
            f"{model['description']} One row per {model['config']['meta']['row']}.",
            "",
            "| column | meaning |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def _model(stream: str) -> str:
    return f"stg_compose__{stream}"


def _yaml(content: Any) -> str:
    text = yaml.safe_dump(content, sort_keys=False, width=96, allow_unicode=True)
    return f"# make docs writes this file.\n{text}"


def _sources(entries: list[tuple[Any, Any]]) -> str:
    source = {
        "name": "compose",
        "description": "The loaded streams: tables in PostgreSQL, or files for DuckDB.",
        "database": "{{ 'files' if target.type == 'duckdb' else target.database }}",
        "schema": "{{ env_var('COMPOSE_SCHEMA', 'compose') }}",
        "tables": [_source(*each) for each in entries],
    }
    return _yaml({"version": 2, "sources": [source]})


def _source(stream: Any, entry: Any) -> dict[str, Any]:
    config: dict[str, Any] = {
        "meta": {
            "key": entry["key_properties"],
            "is_incremental": "replication_key" in entry,
        }
    }
    if stream.name in _ALWAYS_HAS_ROWS:
        config["loaded_at_field"] = "_sdc_batched_at"
        config["freshness"] = {"warn_after": {"count": 26, "period": "hour"}}
    return {
        "name": stream.name,
        "description": stream.__doc__.splitlines()[0],
        "config": config,
        "columns": [
            {"name": name, "description": schema.get("description", ""), "data_type": _type(schema)}
            for name, schema in entry["schema"]["properties"].items()
        ],
    }


def _type(schema: dict[str, Any]) -> str:
    if "format" in schema:
        return "timestamp"
    return _TYPES[next(each for each in schema["type"] if each != "null")]


def _columns(entry: Any) -> Iterator[tuple[str, str, str]]:
    """Each staged column of a stream, its name in the staging model, and its expression."""
    stream = entry["tap_stream_id"]
    thing = _THINGS.get(stream, stream.removeprefix("deployment_").removesuffix("s"))
    for name, schema in entry["schema"]["properties"].items():
        what = schema.get("description", "")
        if "array" in schema["type"] or what.endswith("Credentials."):
            continue
        alias = f"{thing}_{name}" if name in {"id", "name"} else name
        expression = name
        if what.endswith(("ersonal.", "User id.")):
            macro = "dropped" if "object" in schema["type"] else "hashed"
            expression = f"{{{{ {macro}('{name}') }}}}"
        yield name, alias, expression


def _sql(entry: Any) -> str:
    lines = [
        f"    {expression}" if expression == alias else f"    {expression} as {alias}"
        for _, alias, expression in _columns(entry)
    ]
    selected = ",\n".join(lines)
    table = f"{{{{ source('compose', '{entry['tap_stream_id']}') }}}}"
    return f"-- make docs writes this file.\nselect\n{selected}\nfrom {table}\n"


def _staging(entries: list[tuple[Any, Any]]) -> str:
    models = []
    for stream, entry in entries:
        names = {name: alias for name, alias, _ in _columns(entry)}
        key = [names[each] for each in entry["key_properties"]]
        tests: dict[str, list[Any]] = {each: ["not_null"] for each in key}
        if len(key) == 1:
            tests[key[0]].append("unique")
        if stream.name.startswith("deployment_"):
            tests.setdefault("deployment_id", []).append(_relationship())
        for name, values in _ACCEPTED.get(stream.name, {}).items():
            tests.setdefault(name, []).append(_accepted(values))
        model: dict[str, Any] = {"name": _model(stream.name)}
        model["description"] = stream.__doc__.splitlines()[0]
        if len(key) > 1:
            model["data_tests"] = [{"unique_together": {"arguments": {"columns": key}}}]
        model["columns"] = [{"name": name, "data_tests": each} for name, each in tests.items()]
        models.append(model)
    return _yaml({"version": 2, "models": models})


def _relationship() -> dict[str, Any]:
    to = f"ref('{_model('deployments')}')"
    arguments = {"to": to, "field": "deployment_id"}
    return {"relationships": {"arguments": arguments, "config": {"severity": "warn"}}}


def _accepted(values: list[str]) -> dict[str, Any]:
    return {"accepted_values": {"arguments": {"values": values}, "config": {"severity": "warn"}}}
