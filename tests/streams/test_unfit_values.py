"""Numbers that nobody can read and fields that nobody knows: over HTTP, in a real process."""

from __future__ import annotations

import json
import logging
from decimal import Decimal
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from tap_compose.rows import FieldWarnings
from tests.support.raw_server import http, raw_server
from tests.support.tap_runs import catalog_of, command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.tap_runs import Output

NOT_FINITE = "a number that is not finite"
OUT_OF_RANGE = "a number out of range"
KINDS = (OUT_OF_RANGE, NOT_FINITE)
NUMBERS = {
    "1e1000000": OUT_OF_RANGE,
    "-1e1000000": OUT_OF_RANGE,
    "1.8e308": OUT_OF_RANGE,
    "1e-1000000": OUT_OF_RANGE,
    "9" * 400: OUT_OF_RANGE,
    "9" * 100_000: OUT_OF_RANGE,
    "1e99999999999999999999": NOT_FINITE,
    "-1e99999999999999999999": NOT_FINITE,
    "1e-99999999999999999999": OUT_OF_RANGE,
    "NaN": NOT_FINITE,
    "Infinity": NOT_FINITE,
    "-Infinity": NOT_FINITE,
}


def _run(tmp_path: Path, bodies: dict[str, str], *streams: str, **settings: Any) -> Output:
    """Run the tap over some bodies, by path; the deployments are empty unless they are given."""
    empty = {"/deployments": '{"_embedded": {"deployments": []}}'}
    config, catalog = tmp_path / "config.json", tmp_path / "catalog.json"
    catalog.write_text(json.dumps(catalog_of(*streams)))

    def respond(path: str) -> bytes:
        if "cursor=" in path:  # all events stand on the first page
            return http(b'{"_embedded": {"audit_events": []}}')
        return http((empty | bodies)[path.split("?", maxsplit=1)[0]].encode())

    with raw_server(respond) as server:
        values = {"api_url": server.url, "api_token": "a-token-for-tests", "max_retries": 0}
        config.write_text(json.dumps({**values, **settings}))
        return command("--config", config, "--catalog", catalog)


def _warnings(output: Output) -> dict[str, list[str]]:
    """The warnings on fields, by the stream that the log names."""
    found: dict[str, list[str]] = {}
    for line in output.stderr.splitlines():
        _time, level, logger, message = line.split(" | ", 3)
        if level.strip() == "WARNING" and "SingerSDKPythonEOLWarning" not in message:
            found.setdefault(logger.strip().rpartition(".")[2], []).append(message)
    return found


@pytest.mark.parametrize("mark", ["", '"'], ids=["number", "text"])
def test_amounts_that_nobody_can_read_become_null(mark: str, tmp_path: Path) -> None:
    bills = [f'{{"id": "{n}", "amount": {mark}{each}{mark}}}' for n, each in enumerate(NUMBERS)]
    bills.append('{"id": "b", "amount": 0.10}')
    bodies = {
        "/billables": f'{{"_embedded": {{"billables": [{", ".join(bills)}]}}}}',
        "/user": '{"id": "u", "name": "U"}',
    }
    began = monotonic()
    output = _run(tmp_path, bodies, "billables", "user")
    assert monotonic() - began < 20
    assert output.status == 0
    assert "Traceback" not in output.stderr
    amounts = {row["id"]: row["amount"] for row in output.rows["billables"]}
    assert amounts == {**{str(n): None for n in range(len(NUMBERS))}, "b": Decimal("0.10")}
    assert output.rows["user"] == [{"id": "u", "name": "U"}]
    assert _warnings(output) == {
        "billables": [f"field amount: {each} becomes null" for each in KINDS]
    }


@pytest.mark.parametrize(
    "number", ["1e1000000", "1e99999999999999999999", "1e-99999999999999999999", "9" * 5000, "NaN"]
)
def test_a_number_anywhere_is_survived(number: str, tmp_path: Path) -> None:
    what = NUMBERS.get(number, OUT_OF_RANGE)
    event = f'{{"id": "e", "event": {number}, "created_at": "2017-08-30T12:46:29.000Z", '
    event += f'"data": {{"a": [1.5, {{"b": {number}}}, {number}]}}, "ip": "x"}}'
    details = {"id": "d", "connection_strings": {"misc": {"x": 0}, "cli": [0]}}
    output = _run(
        tmp_path,
        {
            "/audit_events": f'{{"_embedded": {{"audit_events": [{event}]}}}}',
            "/deployments": '{"_embedded": {"deployments": [{"id": "d", "name": [0]}]}}'.replace(
                "0", number
            ),
            "/deployments/d": json.dumps(details).replace("0", number),
        },
        "audit_events",
        "deployments",
        "deployment_details",
        include_connection_strings=True,
        start_date="2017-01-01",
    )
    assert output.status == 0
    assert "Traceback" not in output.stderr
    (row,) = output.rows["audit_events"]
    assert row["data"] == {"a": [Decimal("1.5"), {"b": None}, None]}
    (row,) = output.rows["deployment_details"]
    assert row["connection_strings"]["misc"] == {"x": None}
    (row,) = output.rows["deployments"]
    assert row["name"] is None
    found = _warnings(output)
    assert f"field data.a[].b: {what} becomes null" in found["audit_events"]
    assert f"field data.a[]: {what} becomes null" in found["audit_events"]
    assert f"field connection_strings.misc.x: {what} becomes null" in (found["deployment_details"])
    assert found["deployments"] == [f"field name: {OUT_OF_RANGE} becomes null"]


def test_unknown_members_of_objects_in_an_object_are_reported(tmp_path: Path) -> None:
    details = {"id": "d", "connection_strings": {"foo": 1, "direct": ["x"], "misc": {"any": 1}}}
    versions = [{"application": "redis", "version": "4", "x": 1}]
    output = _run(
        tmp_path,
        {
            "/deployments": '{"_embedded": {"deployments": [{"id": "d"}]}}',
            "/deployments/d": json.dumps(details),
            "/deployments/d/team_roles": json.dumps(
                {
                    "_embedded": {
                        "team_roles": [
                            {
                                "name": "admin",
                                "teams": [{"id": "t", "users": [{"id": "u", "age": 1}]}],
                            }
                        ]
                    }
                }
            ),
            "/teams": json.dumps(
                {
                    "_embedded": {
                        "teams": [
                            {
                                "id": "t",
                                "name": "T",
                                "users": [{"id": "u", "name": "U", "email": "x"}],
                            }
                        ]
                    }
                }
            ),
            "/databases": json.dumps(
                {
                    "_embedded": {
                        "applications": [{"type": "redis", "_embedded": {"versions": versions}}]
                    }
                }
            ),
        },
        "databases",
        "deployment_details",
        "deployment_team_roles",
        "teams",
        include_connection_strings=True,
    )
    assert output.status == 0
    assert _warnings(output) == {
        "databases": ["undocumented field versions[].x is ignored"],
        "deployment_details": ["undocumented field connection_strings.foo is ignored"],
        "deployment_team_roles": ["undocumented field teams[].users[].age is ignored"],
        "teams": ["undocumented field users[].email is ignored"],
    }
    assert output.rows["teams"] == [{"id": "t", "name": "T", "users": [{"id": "u", "name": "U"}]}]


@pytest.mark.parametrize("maps", [{}, {"stream_maps": {"accounts": {"id": "id"}}}])
def test_the_first_unknown_fields_are_named_and_all_are_counted(
    maps: dict[str, Any], tmp_path: Path
) -> None:
    fields = {f"field{n:06}": n for n in range(30_000)}
    accounts = {"_embedded": {"accounts": [{"id": "a", **fields}, {"id": "b", **fields}]}}
    output = _run(tmp_path, {"/accounts": json.dumps(accounts)}, "accounts", **maps)
    assert output.status == 0
    assert [row["id"] for row in output.rows["accounts"]] == ["a", "b"]
    assert _warnings(output)["accounts"] == [
        *(f"undocumented field field{n:06} is ignored" for n in range(20)),
        "30,000 undocumented fields are ignored: the first 20 are named above",
    ]


def test_values_that_become_null_are_named_and_counted(tmp_path: Path) -> None:
    data = ", ".join(f'"f{n}": NaN' for n in range(50))
    event = f'{{"id": "e", "created_at": "2017-08-30T12:46:29.000Z", "data": {{{data}}}}}'
    body = f'{{"_embedded": {{"audit_events": [{event}]}}}}'
    output = _run(tmp_path, {"/audit_events": body}, "audit_events", start_date="2017-01-01")
    assert output.status == 0
    (row,) = output.rows["audit_events"]
    assert row["data"] == {f"f{n}": None for n in range(50)}
    assert _warnings(output)["audit_events"] == [
        *(f"field data.f{n}: {NOT_FINITE} becomes null" for n in range(20)),
        "50 fields have values that become null: the first 20 are named above",
    ]


def test_no_more_fields_are_kept_than_can_be_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tap_compose.rows._MOST_COUNTED", 30)
    warnings = FieldWarnings(logging.getLogger("tests"))
    for n in range(100):
        warnings.unknown(f"f{n}")
    warnings.log_counts()
    assert len(caplog.messages) == 21
    assert caplog.messages[-1] == (
        "at least 30 undocumented fields are ignored: the first 20 are named above"
    )
