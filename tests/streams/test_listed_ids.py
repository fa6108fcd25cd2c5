"""Entries of the lists that other streams take ids from: every spelling of an id, and none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bodies import listed, sync_bodies

if TYPE_CHECKING:
    from tests.support.tap_runs import Output

STREAMS = ("accounts", "account_users", "deployments", "deployment_recipes", "deployment_roles")
NO_ID = "a row without its id"
AT = "2017-08-30T12:46:29.000Z"


def _bodies(*entries: Any) -> dict[str, Any]:
    """An account and deployments from entries without their names."""
    bodies: dict[str, Any] = {
        "/accounts": listed("accounts", *entries),
        "/deployments": listed("deployments", *entries),
    }
    for each in ("42", "43"):
        bodies[f"/accounts/{each}/users"] = listed("users", {"id": "u"})
        bodies[f"/deployments/{each}/roles"] = listed("roles", {"name": "admin"})
        recipe = {"id": f"r{each}", "updated_at": AT}
        bodies[f"/deployments/{each}/recipes"] = listed("recipes", recipe)
    return bodies


def _failed(output: Output) -> list[tuple[str, str]]:
    return [
        (stream, reason) for outcome, stream, _id, reason in output.missing if outcome == "failed"
    ]


@pytest.mark.parametrize(
    "entry",
    [{"id": "42"}, {"id": 42}, {"id": None, "_id": 42}],
    ids=str,
)
def test_an_id_in_another_spelling_is_used_as_text(entry: Any) -> None:
    output = sync_bodies(_bodies({**entry, "name": "N"}), *STREAMS)
    assert output.status == 0
    rows = output.rows
    assert [rows[name][0]["id"] for name in ("accounts", "deployments")] == ["42", "42"]
    assert rows["account_users"][0]["account_id"] == "42"
    assert rows["deployment_roles"][0]["deployment_id"] == "42"
    (partition,) = output.bookmarks["deployment_recipes"]["partitions"]
    assert partition["context"] == {"deployment_id": "42"}


@pytest.mark.parametrize(
    ("streams", "lists"),
    [
        (STREAMS, ["accounts", "deployments"]),
        (("account_users", "deployment_roles"), ["accounts", "deployments"]),
        (("deployment_roles",), ["deployments"]),
    ],
)
def test_an_entry_without_an_id_is_reported_once_whoever_reads_the_list(
    streams: tuple[str, ...], lists: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    bodies = _bodies({"id": "", "name": "N"}, {"id": "43"})
    output = sync_bodies(bodies, *streams, emit_activate_version_messages=True)
    assert output.status == 1
    assert _failed(output) == [(name, NO_ID) for name in lists]
    assert caplog.messages.count(f"failed: {', '.join(lists)}: {NO_ID}") == 1
    assert output.of_type("ACTIVATE_VERSION") == []
    for name in {"deployments", "deployment_roles"} & {*streams}:
        assert [row.get("deployment_id", row.get("id")) for row in output.rows[name]] == ["43"]


def test_entries_that_are_not_objects_are_reported_each() -> None:
    bodies = _bodies({"id": "42"}, None, "text", {"name": "without"})
    for streams in (("deployment_roles",), ("deployment_roles", "deployments")):
        output = sync_bodies(bodies, *streams)
        assert output.status == 1
        reason = f"an entry that is not an object (2 times); {NO_ID}"
        assert _failed(output) == [("deployments", reason)]


def test_bookmarks_of_deployments_in_an_incomplete_list_stay() -> None:
    first = sync_bodies(_bodies({"id": "42"}, {"id": "43"}), "deployment_recipes")
    second = sync_bodies(
        _bodies({"name": "N"}, {"id": "43"}), "deployment_recipes", state=first.state
    )
    assert len(first.bookmarks["deployment_recipes"]["partitions"]) == 2
    assert second.bookmarks == first.bookmarks
