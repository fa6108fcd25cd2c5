"""The same endpoints with dlt's rest_api source, parallelized: extract only, no load."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import Any

import dlt
from dlt.sources.rest_api import rest_api_source

PATHS = {
    "audit_events": ("audit_events", "_embedded.audit_events"),
    **{
        f"deployment_{name}": (name, f"_embedded.{envelope}")
        for name, envelope in (
            ("alerts", "alerts"),
            ("backups", "backups"),
            ("portals", "portals"),
            ("portal_users", "portal_users"),
            ("recipes", "recipes"),
            ("roles", "roles"),
            ("team_roles", "team_roles"),
            ("versions", "transitions"),
            ("whitelist", "whitelist"),
        )
    },
    "deployment_addons": ("addons", "$"),
    "deployment_logfiles": ("logfiles", "$"),
    "deployment_scalings": ("scalings", "$"),
    "deployment_details": ("", "$"),
}


def resources(streams: list[str]) -> list[dict[str, Any]]:
    """Describe the endpoints to dlt."""
    described: list[dict[str, Any]] = []
    if any(each.startswith("deployment_") for each in streams):
        described.append(
            {
                "name": "deployments",
                "endpoint": {"path": "deployments", "data_selector": "_embedded.deployments"},
            }
        )
    for stream in streams:
        path, selector = PATHS[stream]
        endpoint: dict[str, Any] = {"path": path, "data_selector": selector}
        if stream == "audit_events":
            endpoint["params"] = {"limit": 100}
            endpoint["paginator"] = {
                "type": "cursor",
                "cursor_path": "_embedded.audit_events[-1].id",
                "cursor_param": "cursor",
            }
        else:
            endpoint["path"] = f"deployments/{{resources.deployments.id}}/{path}".rstrip("/")
        described.append({"name": stream, "endpoint": endpoint, "parallelized": True})
    return described


def main() -> None:
    """Extract the streams that are named as arguments."""
    os.environ["EXTRACT__WORKERS"] = "16"
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
    source = rest_api_source(
        {
            "client": {
                "base_url": os.environ["TAP_COMPOSE_API_URL"] + "/",
                "auth": {"type": "bearer", "token": os.environ["TAP_COMPOSE_API_TOKEN"]},
                "paginator": "single_page",
            },
            "resource_defaults": {"parallelized": True},
            "resources": resources(sys.argv[1:]),
        },
        max_table_nesting=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline("benchmark", destination="dummy", pipelines_dir=folder)
        info = pipeline.extract(source)
        counts = {
            name: metrics.items_count
            for each in info.metrics.values()
            for one in each
            for name, metrics in one["table_metrics"].items()
        }
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
