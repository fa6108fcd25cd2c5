"""Shows how much memory large bodies take, and how an API with a rate limit is read."""

from __future__ import annotations

import tempfile
from itertools import product
from pathlib import Path

from benchmarks.api import TOKEN, Api, serving
from benchmarks.runs import Measure, environment, run, tap
from benchmarks.tables import table

RECIPES = 5_800
"""So many make a body of 3 MB."""

RATE = 20
BURSTS = (20, 5)


def measured(api: Api, stream: str, in_flight: int, pause: float = 0) -> Measure:
    """Run the tap on a stream of an API, which is served for this run alone."""
    measure = Measure()
    with tempfile.TemporaryDirectory() as folder, serving(api):
        env = environment(api.url, TOKEN, max_concurrency=in_flight)
        run(tap(Path(folder), [stream]), env, measure, pause=pause)
    return measure


def memory() -> str:
    """Return the peak of memory with large bodies."""
    rows = []
    for pause, in_flight in product((0, 8), (8, 16, 64)):
        api = Api(deployments=100, recipes=RECIPES, latency=0.05)
        measure = measured(api, "deployment_recipes", in_flight, pause)
        figures = measure.megabytes, measure.median, measure.output / 1e6
        reader = f"after {pause} s" if pause else "at once"
        rows.append([f"{in_flight} in flight", reader, *(f"{each:.0f}" for each in figures)])
    return "100 bodies of 3 MB, 50 ms. Wanted: at most 140 MiB.\n\n" + table(
        ["", "stdout is read", "peak MiB", "seconds", "output MB"], rows
    )


def rate() -> str:
    """Return the time that an API with a rate limit takes, and how often it refuses."""
    rows = []
    for burst, retry_after in product(BURSTS, (None, "1")):
        api = Api(deployments=800, latency=0.05, rate=RATE, burst=burst, retry_after=retry_after)
        measured(api, "deployment_scalings", 16)
        first, last = api.sent[0].at - api.latency, api.sent[-1].at
        allowed = sum(each.status != 429 for each in api.sent)
        late = [each.status == 429 for each in api.sent if each.at > first + 10]
        figures = (
            f"{last - first:.1f}",
            f"{(last - first) * RATE / allowed:.2f} ×",
            f"{len(api.sent) - allowed:,}",
            f"{sum(late) / max(1, len(late)):.1%}",
        )
        name = "429 with `Retry-After: 1`" if retry_after else "429"
        rows.append([f"{name}, bucket of {burst}", *figures])
    head = ["", "seconds", "time / the rate's", "refused", "refused after the first 10 s"]
    return (
        f"800 deployments with one request each, 50 ms, 16 in flight, {RATE} requests a second "
        "(a token bucket), the rest gets HTTP 429. Wanted: at most 1.1 × the time at the "
        "rate, and at most 2 % refused after the first 10 s.\n\n" + table(head, rows)
    )
