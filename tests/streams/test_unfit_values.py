"""Values that do not fit their column, texts that not every target stores, unknown fields."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bodies import listed, sync_bodies

if TYPE_CHECKING:
    from tests.support.tap_runs import Output

AT = "2017-08-30T12:46:29Z"
MAPS: list[Any] = [{}, {"stream_maps": {"*": {}}}]
"""The rows are written by the tap, and by the SDK."""

NOT_FINITE = "a number that is not finite"
OUT_OF_RANGE = "a number out of range"
NUMBERS = {
    "1e1000000": OUT_OF_RANGE,
    "-1e1000000": OUT_OF_RANGE,
    "1.8e308": OUT_OF_RANGE,
    "0e-324": OUT_OF_RANGE,
    "1e-1000000": OUT_OF_RANGE,
    "9" * 100_000: OUT_OF_RANGE,
    "1e99999999999999999999": NOT_FINITE,
    "1e-99999999999999999999": OUT_OF_RANGE,
    "NaN": NOT_FINITE,
    "-Infinity": NOT_FINITE,
}
GOOD_NUMBERS = {
    "12": 12,
    " 7 ": 7,
    "0.10": Decimal("0.10"),
    "1e3": 1000,
    "-9223372036854775808": -(1 << 63),
    "1234567890.123456789012": Decimal("1234567890.123456789012"),
    "1.7976931348623157E+308": Decimal("1.7976931348623157E+308"),
    "1e-323": Decimal("1e-323"),
    "0.00": 0,
}


def _rows(output: Output, stream: str) -> list[dict[str, Any]]:
    assert output.status == 0
    return output.rows[stream]


@pytest.mark.parametrize("mark", ["", '"'], ids=["number", "text"])
def test_numbers_are_exact_or_null(mark: str, caplog: pytest.LogCaptureFixture) -> None:
    texts = [*NUMBERS, *GOOD_NUMBERS]
    bills = ",".join(
        f'{{"id": "{n}", "amount": {mark}{text}{mark}}}' for n, text in enumerate(texts)
    )
    body = f'{{"_embedded": {{"billables": [{bills}]}}}}'.encode()
    output = sync_bodies({"/billables": body}, "billables")
    amounts = [row["amount"] for row in _rows(output, "billables")]
    assert amounts == [None] * len(NUMBERS) + list(GOOD_NUMBERS.values())
    warnings = [f"field amount: {what} becomes null" for what in (OUT_OF_RANGE, NOT_FINITE)]
    assert [each for each in caplog.messages if "becomes null" in each] == warnings


@pytest.mark.parametrize(
    ("stream", "column", "value", "wanted"),
    [
        ("billables", "amount", "ten", None),
        ("billables", "amount", True, None),
        ("deployment_logfiles", "file_size", 5.0, 5),
        ("deployment_logfiles", "file_size", 5.5, None),
        ("deployment_logfiles", "file_size", "5", 5),
        ("clusters", "multitenant", "true", None),
        ("clusters", "created_at", "soon", None),
        ("clusters", "created_at", 3, None),
        ("clusters", "tags", "eu", ["eu"]),
        ("clusters", "tags", 5, None),
        ("clusters", "name", True, "true"),
        ("clusters", "name", ["a", 1], '["a",1]'),
        ("teams", "users", [{"id": 1, "name": []}, "nobody", None], [{"id": "1", "name": "[]"}]),
        ("deployment_backups", "id", 7, "7"),
    ],
)
def test_a_value_of_another_type(
    stream: str, column: str, value: Any, wanted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    name = stream.removeprefix("deployment_")
    path = f"/deployments/d/{name}" if name != stream else f"/{name}"
    output = sync_bodies({path: listed(name, {"id": "x", column: value})}, stream)
    (row,) = _rows(output, stream)
    assert row[column] == wanted
    assert type(row[column]) is type(wanted)
    assert (f"field {column}: a " in caplog.text) == (wanted is None)


@pytest.mark.parametrize("number", ["1e1000000", "NaN"])
def test_a_number_within_an_object_becomes_null(
    number: str, caplog: pytest.LogCaptureFixture
) -> None:
    what = NUMBERS[number]
    data = f'{{"a": [1.5, {{"b": {number}}}, {number}]}}'
    event = f'{{"id": "e", "event": {number}, "created_at": "{AT}", "data": {data}}}'
    body = f'{{"_embedded": {{"audit_events": [{event}]}}}}'.encode()
    (row,) = _rows(sync_bodies({"/audit_events": body}, "audit_events"), "audit_events")
    assert row["data"] == {"a": [Decimal("1.5"), {"b": None}, None]}
    for path in ("data.a[].b", "data.a[]"):
        assert f"field {path}: {what} becomes null" in caplog.messages


@pytest.mark.parametrize("maps", MAPS)
def test_a_null_character_is_replaced_wherever_it_is(
    maps: Any, caplog: pytest.LogCaptureFixture
) -> None:
    data = {"a": {"b": "\0"}, "c\0": ["x\0y", {"d": "\0"}]}
    events = [{"id": f"e{n}", "created_at": AT, "email": "\0@x", "data": data} for n in (1, 2)]
    events.append({"id": "e3", "created_at": AT, "data": ["\0"]})
    bodies = {
        "/audit_events": listed("audit_events", *events),
        "/teams": listed("teams", {"id": "t", "users": [{"id": "u", "name": "\0"}]}),
    }
    rows = sync_bodies(bodies, "audit_events", "teams", start_date="2017-08-30", **maps).rows
    assert [(row["email"], row["data"]) for row in rows["audit_events"]] == [
        (None, {"_value": ["\ufffd"]}),
        ("\ufffd@x", {"a": {"b": "\ufffd"}, "c\ufffd": ["x\ufffdy", {"d": "\ufffd"}]}),
        ("\ufffd@x", {"a": {"b": "\ufffd"}, "c\ufffd": ["x\ufffdy", {"d": "\ufffd"}]}),
    ]
    assert rows["teams"][0]["users"] == [{"id": "u", "name": "\ufffd"}]
    assert sorted(each for each in caplog.messages if "U+FFFD" in each) == [
        f"field {name}: U+0000 becomes U+FFFD"
        for name in ("b", "c\ufffd", "d", "data", "email", "name")
    ]


@pytest.mark.parametrize("maps", MAPS)
@pytest.mark.parametrize(
    ("names", "stored"),
    [
        ([rb"a\ud800", rb"a\uD801"], [r"a\ud800", r"a\ud801"]),
        ([b"a\xff", b"a\xfe", b"a\xc3\xa9"], [r"a\udcff", r"a\udcfe", "aé"]),
    ],
)
def test_keys_that_are_not_valid_unicode_stay_different(
    names: list[bytes], stored: list[str], maps: Any, caplog: pytest.LogCaptureFixture
) -> None:
    users = b",".join(b'{"type": "ssh", "name": "%s"}' % each for each in names)
    body = b'{"_embedded": {"portal_users": [%s]}}' % users
    output = sync_bodies({"/deployments/d/portal_users": body}, "deployment_portal_users", **maps)
    rows = _rows(output, "deployment_portal_users")
    assert [row["name"] for row in rows] == stored
    warning = "field name: a text is not valid Unicode, and is escaped"
    assert [each for each in caplog.messages if "Unicode" in each] == [warning]


def test_an_id_that_is_not_valid_unicode_joins(caplog: pytest.LogCaptureFixture) -> None:
    bodies = {
        "/deployments": rb'{"_embedded": {"deployments": [{"id": "d\ud800"}]}}',
        r"/deployments/d%5Cud800/roles": listed("roles", {"name": "admin"}),
    }
    rows = sync_bodies(bodies, "deployments", "deployment_roles").rows
    assert (
        rows["deployments"][0]["id"] == rows["deployment_roles"][0]["deployment_id"] == r"d\ud800"
    )
    assert "field id: a text is not valid Unicode, and is escaped" in caplog.messages


@pytest.mark.parametrize("maps", MAPS)
def test_output_is_ascii_whatever_the_texts(maps: Any) -> None:
    names = ["Zoë 中", "\U0001f600", "é\u2028\x7f", "plain", r"\u00e9", '"\\ü']
    teams = [{"id": f"é{n}", "name": name} for n, name in enumerate(names)]
    bodies = {
        "/deployments": listed("deployments", {"id": "dé"}),
        "/deployments/d%C3%A9/recipes": listed("recipes", {"id": "r", "updated_at": AT}),
        "/teams": json.dumps(listed("teams", *teams), ensure_ascii=False).encode(),
    }
    output = sync_bodies(bodies, "teams", "deployment_recipes", **maps)
    assert output.stdout.isascii()
    assert [row["name"] for row in output.rows["teams"]] == names
    (partition,) = output.bookmarks["deployment_recipes"]["partitions"]
    assert partition["context"] == {"deployment_id": "dé"}
    assert b'"plain"' in output.stdout


def test_a_body_in_utf_16_or_with_a_byte_order_mark() -> None:
    text = json.dumps(listed("teams", {"id": "t", "name": "é"}), ensure_ascii=False)
    for encoding in ("utf-8-sig", "utf-16"):
        (row,) = _rows(sync_bodies({"/teams": text.encode(encoding)}, "teams"), "teams")
        assert row["name"] == "é"


def test_unknown_fields_are_reported_once_at_any_depth(caplog: pytest.LogCaptureFixture) -> None:
    users = [{"id": "u", "name": "U", "email": "x"}]
    versions = [{"application": "redis", "version": "4", "x": 1}]
    strings = {"foo": 1, "direct": ["x"], "misc": {"any": 1}}
    teams = listed("teams", *({"id": n, "plan": 1, "_links": {}, "users": users} for n in "ab"))
    bodies = {
        "/deployments/d": {"id": "d", "connection_strings": strings},
        "/databases": listed("applications", {"type": "redis", **listed("versions", *versions)}),
        "/teams": teams,
    }
    streams = ("databases", "deployment_details", "teams")
    output = sync_bodies(bodies, *streams, include_connection_strings=True)
    assert [row["users"] for row in _rows(output, "teams")] == [[{"id": "u", "name": "U"}]] * 2
    assert [each for each in caplog.messages if "undocumented" in each] == [
        "undocumented field versions[].x is ignored",
        "undocumented field connection_strings.foo is ignored",
        "undocumented field plan is ignored",
        "undocumented field users[].email is ignored",
    ]


@pytest.mark.parametrize("maps", MAPS)
def test_only_the_first_fields_are_named(maps: Any, caplog: pytest.LogCaptureFixture) -> None:
    fields = {f"field{n:06}": n for n in reversed(range(30_000))}
    data = ",".join(f'"f{n}": NaN' for n in range(50)).encode()
    event = b'{"id": "e", "created_at": "2017-08-30T12:46:29Z", "data": {%s}}' % data
    bodies = {
        "/accounts": listed("accounts", {"id": "a", **fields}, {"id": "b", **fields}),
        "/audit_events": b'{"_embedded": {"audit_events": [%s]}}' % event,
    }
    output = sync_bodies(bodies, "accounts", "audit_events", **maps)
    assert [row["id"] for row in _rows(output, "accounts")] == ["a", "b"]
    assert [each for each in caplog.messages if " field" in each or each.startswith("field")] == [
        *(f"undocumented field field{n:06} is ignored" for n in range(20)),
        "more undocumented fields are ignored: the first 20 are named above",
        *(f"field data.f{n}: {NOT_FINITE} becomes null" for n in range(20)),
        "more fields have values that become null: the first 20 are named above",
    ]
