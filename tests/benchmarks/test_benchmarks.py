"""The benchmarks fetch what the tap fetches, from an API that keeps to the contract."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import requests

from benchmarks.alone import measured
from benchmarks.api import Api, even, serving, written
from benchmarks.compare import CASES, plan
from benchmarks.runs import ROOT, Measure, environment, run
from benchmarks.stock import CHILDREN, DECLARED


def test_the_children_are_one_stream_for_each_endpoint_of_a_deployment() -> None:
    paths = [DECLARED[each].path for each in CHILDREN]
    assert len(paths) == len(set(paths))
    assert set(paths) == {
        each.path for each in DECLARED.values() if each.path.startswith("/deployments/{}")
    }


def _times_and_ids(api: Api, **query: str) -> tuple[list[str], list[str]]:
    body = api.page({"limit": "100", **query})
    events = json.loads(body)["_embedded"]["audit_events"]
    return [each["created_at"] for each in events], [each["id"] for each in events]


def test_the_api_pages_the_audit_log_from_its_newest_event_and_filters_it() -> None:
    api = Api(even(250))
    times: list[str] = []
    query: dict[str, str] = {}
    for length in (100, 100, 50, 0):
        page, ids = _times_and_ids(api, **query)
        assert len(ids) == length
        times += page
        query = {"cursor": ids[-1]} if ids else {}
    assert times == [written(each) for each in reversed(api.events)]
    newer, older = written(api.events[10]), written(api.events[19])
    assert _times_and_ids(api, newer_than=newer, older_than=older)[0] == times[-20:-10]


def test_the_api_refuses_what_is_above_its_rate() -> None:
    with serving(Api(rate=0.001, burst=2, retry_after="1")) as api:
        responses = [requests.get(f"{api.url}/deployments", timeout=60) for _ in range(4)]
    assert [each.status_code for each in responses] == [200, 200, 429, 429]
    assert [each.headers.get("Retry-After") for each in responses] == [None, None, "1", "1"]
    assert [status for _, status in api.sent] == [200, 200, 429, 429]


def test_the_script_writes_as_many_rows_as_the_tap(tmp_path: Any) -> None:
    for case, stream, api in (
        (CASES["events"], "audit_events", Api(even(350))),
        (CASES["body"], "deployment_recipes", Api(deployments=3, recipes=4)),
    ):
        ours, script = measured(api, stream, pause=0.1), Measure()
        (tmp_path / "work.json").write_text(json.dumps(plan(case, api)))
        with serving(api):
            env = environment(api, max_concurrency=4)
            run([sys.executable, "benchmarks/script.py", tmp_path / "work.json"], env, script)
        assert ours.messages["RECORD"] == script.messages["RECORD"] == (len(api.events) or 12)


def test_the_table_is_printed_for_what_is_chosen() -> None:
    command = [sys.executable, "-m", "benchmarks.compare", "--size", "0.001", "reading"]
    printed = subprocess.check_output(command, cwd=ROOT, text=True)
    assert printed.splitlines()[1] == "# Benchmarks"
    assert "| audit_events, 100 rows | " in printed
