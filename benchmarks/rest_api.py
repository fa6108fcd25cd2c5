"""The same endpoints with dlt's rest_api source, parallelized: extract only, no load."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import dlt
from dlt.sources.rest_api import rest_api_source


def resource(name: str, path: str, envelope: str) -> dict[str, Any]:
    """Describe a stream."""
    endpoint: dict[str, Any] = {
        "path": path[1:].replace("{}", "{resources.deployments.id}"),
        "data_selector": f"_embedded.{envelope}" if envelope else "$",
    }
    if name == "audit_events":
        cursor = "_embedded.audit_events[-1].id"
        paginator = {"type": "cursor", "cursor_path": cursor, "cursor_param": "cursor"}
        endpoint |= {"params": {"limit": 100}, "paginator": paginator}
    return {"name": name, "endpoint": endpoint}


def main() -> None:
    """Extract what the file that the argument names describes."""
    os.environ["EXTRACT__WORKERS"] = os.environ["TAP_COMPOSE_MAX_CONCURRENCY"]
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
    client = {
        "base_url": os.environ["TAP_COMPOSE_API_URL"] + "/",
        "auth": {"type": "bearer", "token": os.environ["TAP_COMPOSE_API_TOKEN"]},
        "paginator": "single_page",
    }
    streams = json.loads(Path(sys.argv[1]).read_text())["streams"]
    resources = [resource(*each[:3]) for each in streams]
    if any("{}" in path for _, path, *_ in streams):
        resources.insert(0, resource("deployments", "/deployments", "deployments"))
    defaults = {"parallelized": True}
    source = rest_api_source(
        {"client": client, "resource_defaults": defaults, "resources": resources},
        max_table_nesting=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        dlt.pipeline("benchmark", destination="dummy", pipelines_dir=folder).extract(source)


if __name__ == "__main__":
    main()
