"""The benchmarks fetch what the tap fetches, and their own API keeps to the contract."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import requests

from benchmarks import stock
from benchmarks.api import CLUSTERS, Api, clustered, even, serving, written
from benchmarks.backfill import backfill
from benchmarks.compare import sections
from benchmarks.limits import measured
from benchmarks.work import CASES, CHILDREN, dlt_resources, floor_streams
from tap_compose.streams import STREAMS

PATHS: dict[str, str] = {
    each.name: each.path for each in cast("Any", STREAMS) if each.name != "coverage"
}
CASE = replace(CASES["calls"], streams=["audit_events", *CHILDREN])


def test_the_children_are_one_stream_for_each_endpoint_of_a_deployment() -> None:
    paths = [PATHS[each] for each in CHILDREN]
    assert len(paths) == len(set(paths))
    assert set(paths) == {each for each in PATHS.values() if each.startswith("/deployments/{}")}


def test_every_case_names_streams_of_the_tap() -> None:
    assert {name for case in CASES.values() for name in case.streams} <= set(CASE.streams)


def test_the_floor_fetches_them() -> None:
    assert {each["name"]: each["path"] for each in floor_streams(CASE)} == {
        name: PATHS[name] for name in CASE.streams
    }


def test_dlt_fetches_them_and_the_list_of_deployments() -> None:
    resources = {each["name"]: each["endpoint"]["path"] for each in dlt_resources(CASE)}
    assert resources == {
        name: PATHS[name][1:].replace("{}", "{resources.deployments.id}")
        for name in ("deployments", *CASE.streams)
    }
    assert [each["name"] for each in dlt_resources(CASES["events"])] == ["audit_events"]


def test_a_stock_tap_fetches_them_and_the_list_of_deployments() -> None:
    tap = stock.StockTap(config={"api_url": "", "api_token": "", "streams": CASE.streams})
    paths = {name: cast("Any", each).path for name, each in tap.streams.items()}
    assert paths == {
        name: PATHS[name].replace("{}", "{deployment_id}")
        for name in ("deployments", *CASE.streams)
    }


def test_every_case_is_a_section() -> None:
    titles = {word: title for word, (title, _) in sections(only_fast=True).items()}
    assert {word: titles.pop(word) for word in CASES} == {
        word: case.name for word, case in CASES.items()
    }
    assert list(titles) == ["audit", "requests", "killed", "memory", "rate"]


def _times_and_ids(api: Api, **query: str) -> tuple[list[str], list[str]]:
    bounds = {"newer_than": "2015-01-01T00:00:00Z", "older_than": "2025-01-01T00:00:00.000Z"}
    body = api.body("/audit_events", {**bounds, "limit": "100", **query})
    assert body is not None
    events = json.loads(body)["_embedded"]["audit_events"]
    return [each["created_at"] for each in events], [each["id"] for each in events]


def test_the_api_pages_the_audit_log_from_its_newest_event() -> None:
    api = Api(even(250))
    times: list[str] = []
    ids: list[str] = []
    query: dict[str, str] = {}
    for length in (100, 100, 50, 0):
        page_times, page_ids = _times_and_ids(api, **query)
        assert len(page_ids) == length
        times += page_times
        ids += page_ids
        query = {"cursor": ids[-1]}
    assert times == [written(each) for each in reversed(api.events)]
    assert len(set(ids)) == 250


def test_the_api_filters_the_audit_log_by_time() -> None:
    api = Api(even(250))
    newer, older = written(api.events[10]), written(api.events[19])
    times, _ = _times_and_ids(api, newer_than=newer, older_than=older)
    assert times == [written(each) for each in reversed(api.events[10:20])]
    assert _times_and_ids(api, newer_than=newer, limit="7") == _times_and_ids(api, limit="7")


def test_a_clustered_log_has_bursts_and_months_of_nothing() -> None:
    assert sum(percent for percent, _ in CLUSTERS.values()) == pytest.approx(100)
    times = clustered(6_000)
    assert len(times) == 6_000
    assert times == sorted(times)
    month = 30 * 24 * 3600 * 1000
    assert sum(later - earlier > month for earlier, later in pairwise(times)) >= 7
    assert max(sum(0 <= each - at < 10_000 for each in times) for at in times[::100]) > 1_000


def test_the_api_refuses_what_is_above_its_rate() -> None:
    with serving(Api(rate=0.001, burst=2, retry_after="1")) as api:
        responses = [requests.get(f"{api.url}/deployments", timeout=60) for _ in range(4)]
    assert [each.status_code for each in responses] == [200, 200, 429, 429]
    assert [each.headers.get("Retry-After") for each in responses] == [None, None, "1", "1"]
    assert [each.status for each in api.sent] == [200, 200, 429, 429]


@pytest.mark.parametrize(
    ("stream", "rows"), [("deployment_recipes", 12), ("deployment_scalings", 3)]
)
def test_a_run_on_deployments_is_measured(stream: str, rows: int) -> None:
    api = Api(deployments=3, recipes=4)
    measure = measured(api, stream, 8, pause=0.1)
    assert measure.messages["RECORD"] == rows
    assert [each.status for each in api.sent] == [200] * 4
    assert (measure.megabytes > 1) == Path("/proc/self/status").exists()


def test_a_round_trip_is_one_more_than_that_of_any_response_before() -> None:
    api = Api(even(20), latency=0.05)
    backfill(api, 1)
    assert [each.round_trip for each in api.sent] == list(range(1, len(api.sent) + 1))


def test_a_backfill_returns_rows_and_states() -> None:
    api = Api(even(350))
    run = backfill(api, 8)
    assert (run.is_complete, len(run.ids), len(set(run.ids))) == (True, 350, 350)
    last = run.states[-1][1]
    assert last["replication_key_value"] == written(api.events[-1])
    assert run.begun < run.states[0][0]
    entry = {**last, "replication_key_value": written(api.events[300])}
    resumed = backfill(Api(api.events), 8, entry)
    assert resumed.ids == run.ids[300:]


def test_a_backfill_is_killed_after_so_many_responses() -> None:
    api = Api(even(350), latency=0.05)
    run = backfill(api, 1, most=2)
    assert not run.is_complete
    assert [each.status for each in api.sent] == [200, 200]
