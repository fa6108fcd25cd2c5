"""One object of the API, one row: what fits, what does not, and what is reported."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from tap_compose.api.errors import UnreadableBodyError
from tap_compose.streams import STREAMS
from tap_compose.tap import TapCompose

if TYPE_CHECKING:
    from tap_compose.rows import Row, RowBatch
    from tap_compose.streams.base import ComposeStream

CONFIG = {"api_token": "t", "api_url": "http://127.0.0.1:9"}
_encode = msgspec.json.Encoder(decimal_format="number").encode
NAMES = sorted(vars(each)["name"] for each in STREAMS)
NO_FIELD = "HTTP 200 with a body without any documented field"


def _stream(name: str) -> ComposeStream:
    return cast("ComposeStream", TapCompose(config=CONFIG).streams[name])


def _listed(name: str, *items: Any) -> Any:
    return {"_embedded": {name: items}}


def _body_of(stream: ComposeStream, *items: Any) -> Any:
    """A body in which the items stand where the stream expects them."""
    if stream.envelope:
        return _listed(stream.envelope[0], *items)
    if stream.path.endswith("/alerts"):
        return _listed("alerts", *items)
    if stream.name == "database_versions":
        return _listed("applications", {"type": "redis", **_listed("versions", *items)})
    (item,) = items
    return item


def _batch(stream: ComposeStream, body: Any, **injected: Any) -> RowBatch:
    return stream.read(_encode(body), injected)


def _read(stream: str, body: Any, **injected: Any) -> list[Row]:
    return _batch(_stream(stream), body, **injected).rows


def _row(name: str, item: Any, **injected: Any) -> Row:
    stream = _stream(name)
    (row,) = _batch(stream, _body_of(stream, item), **injected).rows
    return row


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (12, 12),
        ("12", 12),
        ("0.10", Decimal("0.10")),
        (Decimal("1234567890.123456789012"), Decimal("1234567890.123456789012")),
        (10**30, Decimal(10**30)),
        (" 7 ", 7),
        ("1e3", Decimal("1e3")),
        ("NaN", None),
        ("Infinity", None),
        (Decimal("1e400"), None),
        (Decimal("1e1000000"), None),
        ("-1e1000000", None),
        ("1e99999999999999999999", None),
        ("1e-99999999999999999999", None),
        (Decimal("1.7976931348623157E+308"), Decimal("1.7976931348623157E+308")),
        (Decimal("1.8e308"), None),
        (Decimal("5e-324"), Decimal("5e-324")),
        (Decimal("4e-324"), None),
        (Decimal("0.00"), Decimal(0)),
        (10**4000, None),
        ("ten", None),
        (True, None),
        ([1], None),
        ("", None),
    ],
)
def test_numbers(value: Any, wanted: Any, caplog: pytest.LogCaptureFixture) -> None:
    row = _row("billables", {"id": "b", "amount": value})
    assert row["amount"] == wanted
    assert ("field amount: a " in caplog.text) == (wanted is None)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (5, 5),
        ("5", 5),
        (Decimal("5.0"), 5),
        ("5.5", None),
        (1 << 63, None),
        (-(1 << 63), -(1 << 63)),
        ({}, None),
    ],
)
def test_whole_numbers(value: Any, wanted: Any) -> None:
    assert _row("deployment_logfiles", {"id": "l", "file_size": value})["file_size"] == wanted


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(True, True), ("false", False), ("TRUE", True), (0, False), ("maybe", None), ([], None)],
)
def test_booleans(value: Any, wanted: Any) -> None:
    assert _row("clusters", {"id": "c", "multitenant": value})["multitenant"] is wanted


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("x", "x"), (12, "12"), (True, "true"), (["a", 1], '["a",1]'), (Decimal("1.10"), "1.10")],
)
def test_texts(value: Any, wanted: str) -> None:
    assert _row("accounts", {"id": "a", "name": value})["name"] == wanted


def test_what_is_no_time_becomes_null_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    stream = _stream("clusters")
    items = [{"id": str(n), "created_at": soon} for n, soon in enumerate(["soon", 3, [], {}])]
    rows = _batch(stream, _body_of(stream, *items)).rows
    assert [row["created_at"] for row in rows] == [None] * 4
    assert caplog.messages == ["field created_at: a value that is not a time becomes null"]


def test_undocumented_fields_are_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    stream = _stream("accounts")
    for _ in range(3):
        (row,) = _batch(stream, _body_of(stream, {"id": "a", "plan": "x", "_links": {}})).rows
        assert row == {"id": "a", "name": None, "slug": None}
    assert caplog.messages == ["undocumented field plan is ignored"]


def test_parts_that_do_not_fit_leave_the_others() -> None:
    item = {"id": "t", "users": [{"id": 1, "name": "A", "x": 2}, "nobody", None, {}]}
    assert _row("teams", item)["users"] == [{"id": "1", "name": "A"}, {"id": None, "name": None}]


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("accounts", {"id": "a"}),
        ("deployment_whitelist", {"id": "w"}),
        ("datacenters", {"slug": "s"}),
    ],
)
@pytest.mark.parametrize("item", [{}, {"id": None, "slug": ""}, "text", None, 3, []])
def test_an_entry_without_its_key_is_dropped(name: str, whole: Any, item: Any) -> None:
    stream = _stream(name)
    batch = _batch(stream, _body_of(stream, item, whole), deployment_id="d")
    key = stream.primary_keys[-1]
    assert [row[key] for row in batch.rows] == list(whole.values())
    assert batch.entries == 2
    assert batch.dropped == [
        f"a row without its {key}" if isinstance(item, dict) else "an entry that is not an object"
    ]


def test_a_null_part_of_a_composite_key_becomes_empty() -> None:
    row = _row("deployment_versions", {"application": "redis"}, deployment_id="d")
    assert row == {
        "deployment_id": "d",
        "application": "redis",
        "from_version": "",
        "to_version": "",
        "method": "",
    }


def test_other_spellings_of_a_field() -> None:
    assert _row("deployment_backups", {"_id": "b"})["id"] == "b"
    assert _row("deployment_recipes", {"id": "r", "status_details": "x"})["status_detail"] == "x"
    row = _row("deployment_logfiles", {"id": "l", "created_at": "2017-08-30T12:46:29Z"})
    assert row["date"] == "2017-08-30T12:46:29.000Z"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["2017-08-30T12:46:29Z", "12017-01-01T00:00:00Z", "1.5", "NaN", "true"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20)
@given(data=st.data())
def test_no_value_makes_a_row_that_its_schema_refuses(name: str, data: Any) -> None:
    stream = _stream(name)
    item = {each: data.draw(JSON) for each in stream.schema["properties"]}
    injected = dict.fromkeys(stream.injected_columns, "d")
    item.update(injected)  # not another deployment's
    body = _body_of(stream, item)
    for row in stream.read(_encode(body), injected).rows:
        sent = json.loads(json.dumps(row, default=float))
        Draft202012Validator(stream.schema, format_checker=FormatChecker()).validate(sent)
        assert list(row) == list(stream.schema["properties"])


@pytest.mark.parametrize(
    ("stream", "body"),
    [
        ("deployment_backups", _listed("backups", {"id": "b", "deployment_id": "d2"})),
        ("deployment_backups", _listed("backups", {"id": "b", "deployment_id": 2})),
        ("deployment_backups", _listed("backups", {"id": "b", "deployment_id": "d2", "new": 1})),
        ("deployment_recipes", _listed("recipes", {"id": "r"}, {"id": "s", "deployment_id": "d2"})),
        ("deployment_alerts", _listed("alerts", {"deployment_id": "d2"})),
        ("deployment_health", _listed("alerts", {"deployment_id": "d2"})),
    ],
)
def test_the_body_of_another_deployment_is_refused(stream: str, body: Any) -> None:
    with pytest.raises(UnreadableBodyError) as caught:
        _read(stream, body, deployment_id="d1")
    owner = "2" if '"deployment_id": 2' in json.dumps(body) else "d2"
    expected = f"HTTP 200 with the body of another resource: deployment_id is {owner}, not d1"
    assert str(caught.value) == expected


def test_the_details_of_another_deployment_are_refused() -> None:
    with pytest.raises(UnreadableBodyError, match="resource: id is d2, not d1"):
        _read("deployment_details", {"id": "d2"}, id="d1")


@pytest.mark.parametrize("own", ["D1", "d1", None, "", [], {}])
def test_an_id_that_is_absent_or_spelled_otherwise_is_no_other(own: Any) -> None:
    body = _listed("backups", {"id": "b", "deployment_id": own})
    assert _read("deployment_backups", body, deployment_id="d1")[0]["deployment_id"] == "d1"


def test_a_number_may_be_the_same_id() -> None:
    assert _read("deployment_details", {"id": 7}, id="7")[0]["id"] == "7"


def test_a_part_may_belong_to_another_deployment() -> None:
    part = {"id": "s", "deployment_id": "d2"}
    body = _listed("recipes", {"id": "r", "deployment_id": "d1", **_listed("recipes", part)})
    assert [row["id"] for row in _read("deployment_recipes", body, deployment_id="d1")] == [
        "r",
        "s",
    ]


@pytest.mark.parametrize("name", sorted({*NAMES} - {"database_versions", "deployment_health"}))
@pytest.mark.parametrize("item", [{"_links": {}}, {"_embedded": {}, "plan": 1}, {"_embedded": 1}])
def test_a_body_without_any_documented_field_is_refused(name: str, item: Any) -> None:
    stream = _stream(name)
    with pytest.raises(UnreadableBodyError) as caught:
        _batch(stream, _body_of(stream, item), id="d", deployment_id="d", account_id="a")
    assert str(caught.value) == NO_FIELD


@pytest.mark.parametrize("items", [[{}], ["text"], [None, 3, []], [{}, "text", {"plan": 1}]])
def test_a_list_without_any_documented_field_is_refused(items: Any) -> None:
    with pytest.raises(UnreadableBodyError) as caught:
        _read("accounts", _listed("accounts", *items))
    assert str(caught.value) == NO_FIELD


def test_an_object_of_another_kind_is_no_row_of_nulls() -> None:
    with pytest.raises(UnreadableBodyError) as caught:
        _read("user", _listed("deployments", {"id": "d2"}))
    assert str(caught.value) == NO_FIELD


def test_an_application_without_a_list_of_versions_is_refused() -> None:
    body = b'{"_embedded": {"applications": [{"type": "postgresql"}]}}'
    with pytest.raises(UnreadableBodyError, match="an application without a list of versions"):
        _stream("database_versions").read(body, {})
