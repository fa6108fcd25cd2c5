"""Shows the tap alone: the audit log, memory, and a rate limit."""

from __future__ import annotations

import tempfile
from itertools import product
from pathlib import Path

from benchmarks.api import Api, even, in_bursts, serving
from benchmarks.runs import Measure, environment, run, table, tap

LOGS = {"in bursts": in_bursts, "even": even}
PAUSE = 8
"""Seconds that nobody reads stdout: the tap has then read all that it may hold."""

RECIPES = 5_800
"""So many make a body of 3 MB."""

RATE = 20


def measured(api: Api, stream: str, in_flight: int = 16, pause: float = 0) -> Measure:
    """Run the tap on a stream of an API, which is served for this run alone."""
    measure = Measure()
    with tempfile.TemporaryDirectory() as folder, serving(api):
        env = environment(api, max_concurrency=in_flight)
        run(tap(Path(folder), [stream]), env, measure, pause)
    return measure


def backfill(size: float) -> str:
    """Return how many requests a fresh run takes, and how much memory."""
    rows = []
    for name, count, pause in (
        *((name, 100_000, 0) for name in LOGS),
        *(("even", 1_000_000, pause) for pause in (0, PAUSE)),
    ):
        api = Api(LOGS[name](round(count * size)))
        measure = measured(api, "audit_events", pause=pause)
        what = f"{len(api.events):,} events, {name}" + f", read after {pause} s" * (pause > 0)
        ratio = f"{len(api.sent) / len(api.events) * 100:.3f}"
        rows.append([what, f"{len(api.sent):,}", ratio, f"{measure.megabytes:.0f}"])
    return (
        "No latency, 16 in flight. Wanted: at most 10,500 requests for 1,000,000 events, and "
        "140 MiB while nobody reads stdout.\n\n"
        + table(["", "requests", "per full page", "peak MiB"], rows)
    )


def memory(size: float) -> str:
    """Return the peak of memory with large bodies."""
    rows, count = [], max(1, round(100 * size))
    for in_flight, pause in product((8, 64), (0, PAUSE)):
        api = Api(deployments=count, recipes=RECIPES, latency=0.05)
        measure = measured(api, "deployment_recipes", in_flight, pause)
        what = f"{in_flight} in flight, read after {pause} s"
        rows.append([what, f"{measure.megabytes:.0f}", f"{measure.median:.0f}"])
    return f"{count} bodies of 3 MB, 50 ms. Wanted: at most 140 MiB.\n\n" + table(
        ["", "peak MiB", "seconds"], rows
    )


def rate(size: float) -> str:
    """Return the time that an API with a rate limit takes, and how often it refuses."""
    rows, count = [], max(30, round(800 * size))
    for burst, retry_after in product((20, 5), (None, "1")):
        api = Api(deployments=count, latency=0.05, rate=RATE, burst=burst, retry_after=retry_after)
        measured(api, "deployment_scalings")
        first, last = api.sent[0][0] - api.latency, api.sent[-1][0]
        late = [status == 429 for at, status in api.sent if at > first + 10]
        refused = sum(status == 429 for _, status in api.sent)
        name = "`Retry-After: 1`" if retry_after else "no header"
        times = f"{last - first:.1f}", f"{(last - first) * RATE / (len(api.sent) - refused):.2f}×"
        share = f"{sum(late) / max(1, len(late)):.1%}"
        rows.append([f"{name}, bucket of {burst}", *times, f"{refused:,}", share])
    head = ["", "seconds", "time / the rate's", "refused", "refused after 10 s"]
    return (
        f"{count} requests, 50 ms, 16 in flight, {RATE} per second (a token bucket), the rest gets "
        "429. Wanted: at most 1.1× the rate's time, and 2 % refused after 10 s.\n\n"
        + table(head, rows)
    )
