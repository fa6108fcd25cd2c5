"""The tap's own way of writing and the SDK's give the same lines, whatever the API returns."""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import responses
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from tap_compose.sandbox.made_up_account import Account, Size
from tests.streams.test_rows import JSON
from tests.support.contract import FIELDS
from tests.support.expected import expected_rows
from tests.support.tap_runs import catalog_of, config_for, sync

if TYPE_CHECKING:
    from requests import PreparedRequest

    from tests.support.tap_runs import Output

CONFIG: dict[str, Any] = {
    "api_token": "t",
    "api_url": "http://127.0.0.1:9",
    "include_connection_strings": True,
    "max_retries": 0,
}
ACCOUNT = Account(Size(deployments=3, events=8, recipes=4))
DEPLOYMENT = ACCOUNT.deployment_ids[0]


@cache
def _body(stream: str) -> Any:
    """A body of the sandbox's for a stream."""
    if stream == "account_users":
        return ACCOUNT.account_level[f"/accounts/{ACCOUNT.id}/users"]
    if stream == "audit_events":
        events = [ACCOUNT.events.event_at(each) for each in range(7, -1, -1)]
        return {"_embedded": {"audit_events": events}}
    if stream == "database_versions":
        return ACCOUNT.account_level["/databases"]
    if not stream.startswith("deployment_"):
        return ACCOUNT.account_level[f"/{stream}"]
    name = stream.removeprefix("deployment_").replace("health", "alerts").replace("details", "")
    return ACCOUNT.resource(DEPLOYMENT, name)


_LISTS = {
    name: json.dumps({"_embedded": {name: [{"id": each}]}}).encode()
    for name, each in (("accounts", ACCOUNT.id), ("deployments", DEPLOYMENT))
}


def _run(stream: str, body: bytes, *, has_map: bool) -> Output:
    """Run the tap on one stream; a map that changes nothing makes the SDK write the rows."""
    config = dict(CONFIG)
    if has_map:
        config["stream_maps"] = {stream: {}}

    def respond(request: PreparedRequest) -> tuple[int, dict[str, str], bytes]:
        name = urlsplit(str(request.url)).path[1:]
        is_other_list = name in _LISTS and name != stream
        return 200, {}, _LISTS[name] if is_other_list else body

    with responses.RequestsMock() as api:
        api.add_callback(responses.GET, re.compile(re.escape(CONFIG["api_url"])), respond)
        return sync(config, catalog=_CATALOG(stream))


def _written(stream: str, body: bytes, *, has_map: bool) -> list[Any]:
    """What a run over one stream writes and reports."""
    output = _run(stream, body, has_map=has_map)
    schemas = {each["stream"]: each["schema"] for each in output.of_type("SCHEMA")}
    validator = Draft202012Validator(schemas[stream], format_checker=FormatChecker())
    for line in output.stdout.splitlines():
        if line.startswith(b'{"type":"RECORD"'):
            validator.validate(json.loads(line)["record"])
    for message in output.of_type("RECORD"):
        assert message.pop("time_extracted")
    records = [each for each in output.messages if each["type"] == "RECORD"]
    return [*records, *output.missing]


_CATALOG = cache(catalog_of)


@pytest.mark.parametrize("stream", sorted(FIELDS))
@settings(max_examples=8)
@given(data=st.data())
def test_both_ways_write_the_same(stream: str, data: Any) -> None:
    body = copy.deepcopy(_body(stream))
    for _ in range(data.draw(st.integers(0, 2))):
        _change_somewhere(body, data)
    raw = json.dumps(body, default=float).encode()
    assert _written(stream, raw, has_map=False) == _written(stream, raw, has_map=True)


def _change_somewhere(value: Any, data: Any) -> None:
    """Replace, remove or add something in a place of a body."""
    while True:
        places = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not places:
            return
        place = data.draw(st.sampled_from(places))
        inner = value[place]
        if isinstance(inner, (dict, list)) and inner and data.draw(st.integers(0, 3)):
            value = inner
            continue
        match data.draw(st.integers(0, 3)):
            case 0:
                del value[place]
            case 1 if isinstance(value, dict):
                value[data.draw(st.sampled_from(["plan", "_links", "_embedded"]))] = data.draw(JSON)
            case 2 if isinstance(value, list):
                value.append(copy.deepcopy(inner))
            case _:
                value[place] = data.draw(JSON)
        return


@pytest.mark.parametrize("has_map", [False, True])
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{}", "HTTP 200 with a body that is not an object"),
        (b'{"_links": {}}', "HTTP 200 with a body without any documented field"),
    ],
)
def test_a_body_without_fields_fails_its_deployment(
    body: bytes, reason: str, has_map: bool
) -> None:
    output = _run("deployment_scalings", body, has_map=has_map)
    assert output.status == 1
    assert output.rows == {}
    assert output.missing == [("failed", "deployment_scalings", DEPLOYMENT, reason)]


def test_a_stream_map_is_applied(sandbox: Any) -> None:
    maps = {"audit_events": {"email": None, "who": "md5(str(email))"}}
    output = sync(config_for(sandbox, stream_maps=maps), streams=["audit_events"])
    rows = output.rows["audit_events"]
    assert len(rows) == 1500
    assert all("email" not in row and len(row["who"]) == 32 for row in rows)


def test_a_stream_map_can_take_a_stream_away(sandbox: Any) -> None:
    output = sync(config_for(sandbox, stream_maps={"__else__": None}), streams=["audit_events"])
    assert output.rows == {}
    assert output.status == 0


def test_flattening_is_applied(sandbox: Any) -> None:
    flattening = {"flattening_enabled": True, "flattening_max_depth": 1}
    config = config_for(sandbox, include_connection_strings=True, **flattening)
    output = sync(config, streams=["deployment_details"])
    assert all("connection_strings__direct" in row for row in output.rows["deployment_details"])


def test_flattening_leaves_nothing_beside_the_schema(sandbox: Any) -> None:
    flattening = {"flattening_enabled": True, "flattening_max_depth": 1}
    output = sync(config_for(sandbox, **flattening))
    schemas = {each["stream"]: each["schema"]["properties"] for each in output.of_type("SCHEMA")}
    for stream, rows in output.rows.items():
        assert {name for row in rows for name in row} <= schemas[stream].keys(), stream
    assert "connection_strings" not in schemas["deployment_details"]


@pytest.mark.parametrize("depth", [1, 2])
def test_flattening_keeps_what_has_no_known_members(sandbox: Any, depth: int) -> None:
    flattening = {"flattening_enabled": True, "flattening_max_depth": depth}
    config = config_for(sandbox, include_connection_strings=True, **flattening)
    rows = sync(config, streams=["audit_events", "deployment_details"]).rows
    events = {row["id"]: row["data"] for row in expected_rows(sandbox.account)["audit_events"]}
    assert {row["id"]: json.loads(row["data"]) for row in rows["audit_events"]} == events
    for row in rows["deployment_details"]:
        strings = sandbox.account.resource(row["id"], "")["connection_strings"]
        assert json.loads(row["connection_strings__misc"]) == strings["misc"]


def test_a_part_of_a_column_can_be_deselected(sandbox: Any) -> None:
    catalog = catalog_of("deployment_details")
    for entry in catalog["streams"]:
        for metadata in entry["metadata"]:
            if metadata["breadcrumb"][-1:] == ["direct"]:
                metadata["metadata"]["selected"] = False
    config = config_for(sandbox, include_connection_strings=True)
    rows = sync(config, catalog=catalog).rows["deployment_details"]
    assert all("direct" not in row["connection_strings"] for row in rows)
    assert all("cli" in row["connection_strings"] for row in rows)
