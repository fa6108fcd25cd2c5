"""Shows what it costs to read a body into rows.

The measure is the time that msgspec takes to decode the same body into dictionaries. Both take
turns, and the ratio is the median of all turns: it hardly depends on what else the machine does.
"""

from __future__ import annotations

import gc
import json
from statistics import median
from time import process_time
from typing import Any

import msgspec

from benchmarks.runs import table
from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.tap import TapCompose

SECONDS = 5
WANTED = {"audit_events": 3.5, "deployment_recipes": 4}


def reading(size: float) -> str:
    """Return a line per body."""
    account = Account(Size(deployments=1, events=100, recipes=1000))
    deployment_id = account.deployment_ids[0]
    events = [account.events.event_at(each) for each in range(99, -1, -1)]
    bodies = {
        "audit_events": {"_embedded": {"audit_events": events}},
        "deployment_recipes": account.resource(deployment_id, "recipes"),
    }
    streams = TapCompose(config={"api_token": "t", "api_url": "http://127.0.0.1:9"}).streams
    gc.freeze()  # as the command does
    gc.set_threshold(100_000)
    lines = []
    for name, content in bodies.items():
        stream: Any = streams[name]
        body, injected = json.dumps(content).encode(), {"deployment_id": deployment_id}
        turns: list[tuple[float, float]] = []
        end = process_time() + SECONDS * size
        while process_time() < end or not turns:
            start = process_time()
            msgspec.json.decode(body)
            between = process_time()
            rows = len(stream.read(body, injected).rows)
            turns.append((between - start, process_time() - between))
        times = (f"{median(each) / rows * 1e6:.2f}" for each in zip(*turns, strict=True))
        ratio = f"{median(read / decode for decode, read in turns):.2f}×"
        lines.append([f"{name}, {rows:,} rows", *times, ratio, f"≤ {WANTED[name]}×"])
    return table(["µs per row", "msgspec decodes", "the tap reads", "ratio", "wanted"], lines)
