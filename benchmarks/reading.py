"""Shows what it costs to read a body into rows: ``python -m benchmarks.reading``.

The measure is the time that msgspec takes to decode the same body into dictionaries. Both take
turns, and the ratio is the median of all turns: it hardly depends on what else the machine does.
"""

from __future__ import annotations

import gc
import json
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, cast

import msgspec

from benchmarks.tables import table
from tap_compose.sandbox.account import Account, Size
from tap_compose.tap import TapCompose

if TYPE_CHECKING:
    from tap_compose.streams.base import ComposeStream

SECONDS = 5


def line(stream: ComposeStream, body: bytes, deployment_id: str, wanted: float) -> list[str]:
    """Return the figures of one body."""
    injected = dict.fromkeys(stream.injected_columns, deployment_id)
    rows = len(stream.read(body, injected).rows)
    turns = []
    end = process_time() + SECONDS
    while process_time() < end:
        start = process_time()
        msgspec.json.decode(body)
        between = process_time()
        stream.read(body, injected)
        turns.append((between - start, process_time() - between))
    decode, read = (median(each) / rows * 1e6 for each in zip(*turns, strict=True))
    ratio = median(read / decode for decode, read in turns)
    return [
        f"{stream.name}, {rows:,} rows in {len(body) / 1e3:,.0f} kB",
        *(f"{each:.2f}" for each in (decode, read)),
        f"{ratio:.2f} ×",
        f"at most {wanted} ×",
    ]


def main() -> None:
    """Print a line per body."""
    account = Account(Size(deployments=1, events=100, recipes=1000))
    deployment_id = account.deployment_ids[0]
    events = [account.events.event_at(each) for each in range(99, -1, -1)]
    bodies = (
        ("audit_events", {"_embedded": {"audit_events": events}}, 3.5),
        ("deployment_recipes", account.resource(deployment_id, "recipes"), 4),
    )
    streams = TapCompose(config={"api_token": "t", "api_url": "http://127.0.0.1:9"}).streams
    gc.freeze()  # as the command does
    lines = [
        line(cast("ComposeStream", streams[name]), json.dumps(body).encode(), deployment_id, wanted)
        for name, body, wanted in bodies
    ]
    print(table(["", "decode, µs per row", "read, µs per row", "ratio", "wanted"], lines))


if __name__ == "__main__":
    main()
