"""The benchmarks fetch what the tap fetches, and their own API keeps to the contract."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from benchmarks import stock
from benchmarks.compare import sections
from benchmarks.work import CASES, CHILDREN, dlt_resources, floor_streams
from tap_compose.streams import STREAMS

PATHS: dict[str, str] = {each.name: each.path for each in cast("Any", STREAMS)}
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
    assert not titles
