"""What the command of the tap prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from typing import Any


@cache
def printed(*arguments: str) -> str:
    """Return what the command prints without settings in its environment."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TAP_COMPOSE")}
    command = [sys.executable, "-m", "tap_compose", *arguments]
    return subprocess.check_output(command, env=clean, stderr=subprocess.DEVNULL, text=True)


def catalog() -> dict[str, Any]:
    """Return the entries of the catalog, by stream."""
    streams = json.loads(printed("--discover"))["streams"]
    return {entry["tap_stream_id"]: entry for entry in streams}
