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


AT = "2017-08-30T12:46:29.000Z"
RECIPE = {"id": "r", "status_details": "done"}
LOGFILE = {"id": "l", "created_at": AT}


@pytest.mark.parametrize(
    ("stream", "body", "column", "value"),
    [
        ("deployment_backups", listed("backups", {"_id": "b"}), "id", "b"),
        ("deployment_recipes", listed("recipes", RECIPE), "status_detail", "done"),
        ("deployment_logfiles", listed("logfiles", LOGFILE), "date", AT),
        ("deployment_versions", listed("transitions", {"application": "redis"}), "method", ""),
        ("deployment_details", {"id": "d", "cluster_id": ""}, "cluster_id", None),
        ("deployment_health", {"summary": "healthy"}, "alert_count", 0),
    ],
)
def test_what_stands_for_a_value_that_is_absent(
    stream: str, body: Any, column: str, value: Any
) -> None:
    output = _sync(stream, body)
    assert output.status == 0
    assert output.rows[stream][0][column] == value


@pytest.mark.parametrize("name", ["backups", "recipes"])
def test_a_row_of_another_deployment_is_dropped_and_the_others_are_written(name: str) -> None:
    stream = f"deployment_{name}"
    entries = [{"id": str(n), "deployment_id": "e" if n == 2 else "d"} for n in range(5)]
    output = _sync(stream, listed(name, *entries))
    assert [row["id"] for row in output.rows[stream]] == ["0", "1", "3", "4"]
    reason = "a row of another resource: deployment_id is e, not d"
    assert (output.status, _missing(output)) == (1, [reason])


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


NO_FIELD = "a body without any documented field"
NO_ALERTS = "a body without a list of alerts"
NO_VERSIONS = "an application without a list of versions"
OTHER = {"deployment_id": "e"}
ANOTHER = "the body of another resource: deployment_id is e, not d"


@pytest.mark.parametrize(
    ("stream", "body", "reason"),
    [
        ("user", {"_links": {}}, NO_FIELD),
        ("user", listed("deployments", {"id": "e"}), NO_FIELD),
        ("deployment_scalings", {"_links": {}, "plan": 1}, NO_FIELD),
        ("deployment_scalings", {}, NO_FIELD),
        ("deployment_scalings", [{"used_units": 1}], NO_FIELD),
        ("teams", listed("teams", None, 3, [], "text", {"plan": 1}), NO_FIELD),
        ("teams", {"_embedded": None}, "a body without a list of teams"),
        ("databases", listed("applications", {"_embedded": 1}), NO_FIELD),
        ("database_versions", listed("applications", {"type": "redis"}), NO_VERSIONS),
        ("deployment_health", {"summary": "healthy", "_embedded": None}, NO_ALERTS),
        ("deployment_health", {"summary": None}, NO_ALERTS),
        ("deployment_health", listed("alerts", OTHER, OTHER), ANOTHER),
        ("deployment_alerts", listed("alerts", OTHER), ANOTHER),
        ("deployment_backups", listed("backups", {"id": "b", **OTHER}), ANOTHER),
        ("deployment_recipes", listed("recipes", {"id": "r"}, {"id": "s", **OTHER}), ANOTHER),
        ("deployment_details", {"id": "e"}, ANOTHER.replace("deployment_id", "id")),
    ],
)
def test_a_body_that_fails(stream: str, body: Any, reason: str) -> None:
    output = _sync(stream, body)
    assert (output.status, output.rows) == (1, {})
    assert _missing(output) == [f"HTTP 200 with {reason}"]
