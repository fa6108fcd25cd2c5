"""One object of the API, one row: what fits, what does not, and what is reported."""

from __future__ import annotations

import json
import logging
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from tap_compose.rows.field_warnings import FieldWarnings
from tap_compose.rows.reader import Row, RowBuilder, RowReader

from tap_compose.api.errors import UnreadableBodyError
from tap_compose.streams import STREAMS

if TYPE_CHECKING:
    from tap_compose.streams.base import ComposeStream

LOGGER = logging.getLogger("tests.rows")


def _builder(stream: str) -> RowBuilder:
    cls = next(each for each in STREAMS if vars(each)["name"] == stream)
    return RowBuilder(cls.layout(), FieldWarnings(LOGGER))


def _row(stream: str, item: Any, **injected: Any) -> dict[str, Any]:
    row, problem = _builder(stream).build_row(item, injected)
    assert row is not None, problem
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
    builder = _builder("clusters")
    for _ in range(3):
        row, _problem = builder.build_row({"id": "c", "created_at": "soon"}, {})
        assert row
        assert row["created_at"] is None
    assert caplog.text.count("field created_at: a value that is not a time becomes null") == 1


def test_undocumented_fields_are_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    builder = _builder("accounts")
    for _ in range(3):
        row, _problem = builder.build_row({"id": "a", "plan": "x", "_links": {}}, {})
        assert row
        assert set(row) == {"id", "name", "slug"}
    assert caplog.messages == ["undocumented field plan is ignored"]


def test_parts_that_do_not_fit_leave_the_others() -> None:
    item = {"id": "t", "users": [{"id": 1, "name": "A", "x": 2}, "nobody", None, {}]}
    assert _row("teams", item)["users"] == [{"id": "1", "name": "A"}, {"id": None, "name": None}]


@pytest.mark.parametrize("item", [{}, {"id": None}, {"id": ""}, "text", None, 3, []])
def test_a_missing_id_makes_a_row_unwritable(item: Any) -> None:
    problem = "a row without its id" if isinstance(item, dict) else "an entry that is not an object"
    assert _builder("accounts").build_row(item, {}) == (None, problem)
    injected = {"deployment_id": "d"}
    assert _builder("deployment_whitelist").build_row(item, injected) == (None, problem)


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


@pytest.mark.parametrize("stream", sorted(vars(each)["name"] for each in STREAMS))
@settings(max_examples=40)
@given(data=st.data())
def test_no_value_makes_a_row_that_its_schema_refuses(stream: str, data: Any) -> None:
    cls = next(each for each in STREAMS if vars(each)["name"] == stream)
    item = {name: data.draw(JSON) for name in cls.schema["properties"]}
    injected = {"deployment_id": "d", "account_id": "a"}
    row, _problem = _builder(stream).build_row(item, injected)
    if row is None:
        return
    sent = json.loads(json.dumps(row, default=float))
    Draft202012Validator(cls.schema, format_checker=FormatChecker()).validate(sent)
    assert set(row) == set(cls.schema["properties"])


@pytest.mark.parametrize("cls", STREAMS, ids=lambda cls: str(vars(cls)["name"]))
def test_a_stream_says_that_it_is_read_value_by_value(cls: type[ComposeStream]) -> None:
    columns = cls.schema["properties"]
    needs_it = (
        "unwrap" in vars(cls)
        or bool(cls.extracted)
        or bool(cls.derived)
        or any("number" in each["type"] for each in columns.values())
        or any(name in columns for aliases in cls.aliases.values() for name in aliases)
    )
    assert cls.is_lenient == needs_it


def _read(stream: str, body: Any, **injected: Any) -> list[Row]:
    cls = next(each for each in STREAMS if vars(each)["name"] == stream)
    return RowReader(cls.layout(), LOGGER).read(json.dumps(body).encode(), injected).rows


def _listed(name: str, *rows: Any) -> Any:
    return {"_embedded": {name: rows}}


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


@pytest.mark.parametrize("stream", ["deployment_details", "deployment_scalings", "user"])
def test_an_object_of_another_kind_is_no_row_of_nulls(stream: str) -> None:
    with pytest.raises(UnreadableBodyError, match="a body without any documented field"):
        _read(stream, _listed("deployments", {"id": "d2"}), id="d1", deployment_id="d1")
