"""The same endpoints with dlt's rest_api source, parallelized: extract only, no load."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import dlt
from dlt.sources.rest_api import rest_api_source


def main() -> None:
    """Extract the resources that are described in the file that the argument names."""
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
            "resources": json.loads(Path(sys.argv[1]).read_text()),
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
