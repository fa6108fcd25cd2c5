"""Writes the sources of ``examples/dbt``, which follow from the catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tools.command import catalog

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

_HEAD = """\
# make docs writes this file.
version: 2
sources:
  - name: compose
    description: The loaded streams, in a database or as files for DuckDB.
    database: "{{ var('compose_database') or target.database }}"
    schema: "{{ var('compose_schema') or ('main' if target.type == 'duckdb' else 'compose') }}"
    tables:
"""

_FRESHNESS = ", loaded_at_field: read_at, freshness: {warn_after: {count: 26, period: hour}}"


def files() -> dict[str, str]:
    """Return the files as they should be, by path."""
    staging = "".join(path.read_text() for path in (ROOT / MODELS / "staging").glob("*.sql"))
    tables = [
        _table(entry)
        for entry in catalog().values()
        if f"_rows('{entry['tap_stream_id']}'" in staging
    ]
    return {f"{MODELS}/sources.yml": _HEAD + "".join(tables)}


def _table(entry: dict[str, Any]) -> str:
    name = entry["tap_stream_id"]
    freshness = _FRESHNESS if name == "coverage" else ""
    lines = [
        f"- name: {name}",
        f"  config: {{meta: {{key: [{', '.join(entry['key_properties'])}]}}{freshness}}}",
        "  columns:",
        *(
            f'    - {{name: {column}, data_type: "{_type(schema)}"}}'
            for column, schema in entry["schema"]["properties"].items()
        ),
    ]
    return "".join(f"      {line}\n" for line in lines)


def _type(schema: dict[str, Any]) -> str:
    if "format" in schema:
        return "timestamp"
    return _TYPES[next(each for each in schema["type"] if each != "null")]
