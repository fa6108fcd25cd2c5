"""Which objects of a body become rows, under which key and deployment, and which do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bodies import listed, sync_bodies

if TYPE_CHECKING:
    from tests.support.tap_runs import Output


def _sync(stream: str, body: Any) -> Output:
    """Sync one stream, from a body at its path."""
    name = stream.replace("database_versions", "databases").replace("health", "alerts")
    path = f"/{name}".replace("/deployment_", "/deployments/d/").removesuffix("/details")
    return sync_bodies({path: body}, stream)


def _missing(output: Output) -> list[str]:
    return [reason for _outcome, _stream, _deployment, reason in output.missing]


@pytest.mark.parametrize(
    ("stream", "name", "whole"),
    [
        ("teams", "teams", {"id": "t"}),
        ("deployment_whitelist", "whitelist", {"id": "w"}),
        ("databases", "applications", {"type": "redis", "_embedded": {"versions": []}}),
    ],
)
def test_an_entry_without_its_key_is_dropped(stream: str, name: str, whole: Any) -> None:
    entries: list[Any] = [{}, {"id": None, "slug": "", "type": ""}, "text", None, 3, []]
    output = _sync(stream, listed(name, *entries, whole))
    (key, value), *_ = whole.items()
    assert [row[key] for row in output.rows[stream]] == [value]
    assert output.status == 1
    reason = f"an entry that is not an object (4 times); a row without its {key} (2 times)"
    assert _missing(output) == [reason]


def test_a_null_part_of_a_composite_key_becomes_empty() -> None:
    output = _sync("deployment_versions", listed("transitions", {"application": "redis"}))
    assert output.rows["deployment_versions"] == [
        {
            "deployment_id": "d",
            "application": "redis",
            "from_version": "",
            "to_version": "",
            "method": "",
        }
    ]


@pytest.mark.parametrize(
    ("stream", "entry", "column", "value"),
    [
        ("deployment_backups", {"_id": "b"}, "id", "b"),
        ("deployment_recipes", {"id": "r", "status_details": "x"}, "status_detail", "x"),
        (
            "deployment_logfiles",
            {"id": "l", "created_at": "2017-08-30T12:46:29Z"},
            "date",
            "2017-08-30T12:46:29.000Z",
        ),
    ],
)
def test_another_name_of_a_field(
    stream: str, entry: dict[str, str], column: str, value: str
) -> None:
    output = _sync(stream, listed(stream.removeprefix("deployment_"), entry))
    assert output.status == 0
    assert output.rows[stream][0][column] == value


def test_a_cluster_id_that_is_empty_is_null_without_a_link() -> None:
    output = _sync("deployment_details", {"id": "d", "cluster_id": ""})
    assert output.rows["deployment_details"][0]["cluster_id"] is None


@pytest.mark.parametrize(
    ("stream", "body"),
    [
        ("deployment_details", {"id": "e"}),
        ("deployment_backups", listed("backups", {"id": "b", "deployment_id": "e"})),
        ("deployment_recipes", listed("recipes", {"id": "r"}, {"id": "s", "deployment_id": "e"})),
        ("deployment_alerts", listed("alerts", {"deployment_id": "e"})),
        ("deployment_health", listed("alerts", {"deployment_id": "e"}, {"deployment_id": "e"})),
    ],
)
def test_the_body_of_another_deployment_fails(stream: str, body: Any) -> None:
    output = _sync(stream, body)
    name = "id" if stream == "deployment_details" else "deployment_id"
    reason = f"HTTP 200 with the body of another resource: {name} is e, not d"
    assert (output.status, output.rows, _missing(output)) == (1, {}, [reason])


@pytest.mark.parametrize("name", ["backups", "recipes"])
def test_a_row_of_another_deployment_is_dropped_and_the_others_are_written(name: str) -> None:
    stream = f"deployment_{name}"
    entries = [{"id": str(n), "deployment_id": "e" if n == 2 else "d"} for n in range(5)]
    output = _sync(stream, listed(name, *entries))
    assert [row["id"] for row in output.rows[stream]] == ["0", "1", "3", "4"]
    reason = "a row of another resource: deployment_id is e, not d"
    assert (output.status, _missing(output)) == (1, [reason])


def test_a_summary_without_a_list_is_a_deployment_without_alerts() -> None:
    output = _sync("deployment_health", {"summary": "healthy"})
    assert output.status == 0
    assert output.rows["deployment_health"] == [
        {"deployment_id": "d", "summary": "healthy", "alert_count": 0}
    ]


def test_an_alert_of_another_deployment_leaves_the_health_of_this_one() -> None:
    alerts = [{"deployment_id": each, "name": "disk"} for each in ("e", "d")]
    output = _sync("deployment_health", listed("alerts", *alerts, summary="warning"))
    assert output.rows["deployment_health"][0]["summary"] == "warning"


def test_a_sub_recipe_of_another_deployment_keeps_its_deployment_id() -> None:
    deepest = {"id": "deepest"}
    other = {"id": "other", "deployment_id": "e", **listed("recipes", deepest)}
    own = {"id": "own", "deployment_id": None, "parent_id": "p"}
    body = listed("recipes", {"id": "top", "deployment_id": "d", **listed("recipes", other, own)})
    rows = _sync("deployment_recipes", body).rows["deployment_recipes"]
    assert [(row["id"], row["deployment_id"], row["parent_id"]) for row in rows] == [
        ("top", "d", None),
        ("other", "e", "top"),
        ("deepest", "e", "other"),
        ("own", "d", "p"),
    ]


@pytest.mark.parametrize("own", ["D", None, "", []])
def test_an_id_that_is_absent_or_in_capitals_is_not_another(own: Any) -> None:
    for name in ("backups", "health"):
        body = listed(name.replace("health", "alerts"), {"id": "b", "deployment_id": own})
        output = _sync(f"deployment_{name}", body)
        assert output.rows[f"deployment_{name}"][0]["deployment_id"] == "d"


@pytest.mark.parametrize(
    ("stream", "body"),
    [
        ("user", {"_links": {}}),
        ("user", listed("deployments", {"id": "e"})),
        ("deployment_scalings", {"_links": {}, "plan": 1}),
        ("deployment_scalings", {}),
        ("deployment_scalings", [{"used_units": 1}]),
        ("teams", listed("teams", None, 3, [], "text", {"plan": 1})),
        ("databases", listed("applications", {"_embedded": 1})),
    ],
)
def test_a_body_without_any_documented_field_fails(stream: str, body: Any) -> None:
    output = _sync(stream, body)
    reason = "HTTP 200 with a body without any documented field"
    assert (output.status, output.rows, _missing(output)) == (1, {}, [reason])


@pytest.mark.parametrize(
    ("stream", "body", "reason"),
    [
        ("teams", {"_embedded": None}, "a body without a list of teams"),
        *(
            ("deployment_health", body, "a body without a list of alerts")
            for body in ({"summary": "healthy", "_embedded": None}, {"summary": None})
        ),
        (
            "database_versions",
            listed("applications", {"type": "redis"}),
            "an application without a list of versions",
        ),
    ],
)
def test_a_body_of_another_shape_fails(stream: str, body: Any, reason: str) -> None:
    output = _sync(stream, body)
    assert (output.status, _missing(output)) == (1, [f"HTTP 200 with {reason}"])
