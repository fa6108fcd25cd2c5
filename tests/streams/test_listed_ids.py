"""Entries of the lists that other streams take ids from: every spelling of an id, and none."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.server import Sandbox
from tests.support.tap_runs import Output, command, config_for, sync

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZE = Size(deployments=4, events=20, recipes=2, seed=3)
LISTS = {"accounts": "/accounts", "deployments": "/deployments"}
Entry = dict[str, Any]


def _as_number(entry: Entry) -> None:
    entry["id"] = int(entry["id"])


def _as_underscore(entry: Entry) -> None:
    entry["_id"] = entry.pop("id")


def _as_numeric_underscore(entry: Entry) -> None:
    entry["_id"] = int(entry.pop("id"))


def _as_null_beside(entry: Entry) -> None:
    entry["_id"], entry["id"] = entry["id"], None


def _as_nothing(entry: Entry) -> None:
    del entry["id"]


def _as_empty(entry: Entry) -> None:
    entry["id"] = ""


def _account(change: Callable[[Entry], None] | None = None) -> Account:
    """An account with ids of digits, and its first account and deployment changed."""
    ids = ["42", *(str(1001 + place) for place in range(SIZE.deployments))]
    with patch("tap_compose.sandbox.made_up_account.made_id", side_effect=ids):
        account = Account(SIZE)
    for name, path in LISTS.items():
        if change is not None:
            change(account.account_level[path]["_embedded"][name][0])
    return account


def _run(change: Callable[[Entry], None] | None, **arguments: Any) -> Output:
    with Sandbox(account=_account(change)) as sandbox:
        settings = arguments.pop("settings", {})
        return sync(config_for(sandbox, **settings), **arguments)


def _dropped(output: Output) -> list[tuple[str, str]]:
    return [(each[1], each[3]) for each in output.missing if each[0] == "failed"]


@pytest.mark.parametrize(
    "change", [_as_number, _as_underscore, _as_numeric_underscore, _as_null_beside]
)
def test_an_id_in_another_spelling_is_used_as_text(change: Callable[[Entry], None]) -> None:
    expected, output = _run(None), _run(change)
    assert output.status == expected.status == 0
    assert output.rows == expected.rows
    assert output.bookmarks == expected.bookmarks
    assert output.rows["accounts"][0]["id"] == "42"
    assert {row["account_id"] for row in output.rows["account_users"]} == {"42"}
    assert output.rows["deployments"][0]["id"] == "1001"
    assert output.rows["deployment_details"][0]["id"] == "1001"


@pytest.mark.parametrize("change", [_as_nothing, _as_empty])
@pytest.mark.parametrize(
    ("streams", "lists"),
    [
        (["accounts", "account_users", "deployments", "deployment_addons"], LISTS),
        (["accounts", "deployments"], LISTS),
        (["account_users", "deployment_addons", "deployment_roles"], LISTS),
        (["deployment_addons"], ["deployments"]),
    ],
    ids=" ".join,
)
def test_an_entry_without_an_id_is_reported_once_whoever_reads_the_list(
    change: Callable[[Entry], None], streams: list[str], lists: list[str]
) -> None:
    output = _run(change, streams=streams, settings={"emit_activate_version_messages": True})
    assert output.status == 1
    assert Counter(_dropped(output)) == Counter((name, "a row without its id") for name in lists)
    assert output.of_type("ACTIVATE_VERSION") == []
    for name in {"deployments", "deployment_addons"} & set(streams):
        ids = {row.get("deployment_id", row.get("id")) for row in output.rows[name]}
        assert "1001" not in ids
        assert {"1002", "1003"} <= ids


def test_entries_that_are_no_objects_are_reported_each() -> None:
    account = _account()
    deployments = account.account_level["/deployments"]["_embedded"]["deployments"]
    deployments += [None, "text", {"name": "without"}]
    for streams in (["deployment_addons"], ["deployment_addons", "deployments"]):
        with Sandbox(account=account) as sandbox:
            output = sync(config_for(sandbox), streams=streams)
        assert output.status == 1
        assert _dropped(output) == [
            ("deployments", "an entry that is not an object (2 times); a row without its id")
        ]


def test_bookmarks_of_deployments_in_an_incomplete_list_stay() -> None:
    first = _run(None, streams=["deployment_recipes"])
    whole = {
        each["context"]["deployment_id"]: each
        for each in first.bookmarks["deployment_recipes"]["partitions"]
    }
    assert "1001" in whole
    second = _run(_as_nothing, streams=["deployment_recipes"], state=first.state)
    partitions = second.bookmarks["deployment_recipes"]["partitions"]
    assert {each["context"]["deployment_id"]: each for each in partitions} == whole


def test_of_a_process(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    with Sandbox(account=_account(_as_nothing)) as sandbox:
        config.write_text(json.dumps(config_for(sandbox)))
        output = command("--config", config)
        tested = command("--config", config, "--test")
    assert (output.status, tested.status) == (1, 1)
    line = "| failed: accounts, deployments: a row without its id\n"
    assert output.stderr.count(line) == 1
    assert "2 failed" in output.stderr.splitlines()[-1]
    for name in ("accounts", "deployments"):
        assert re.search(rf"^{name} +no +a row without its id$", tested.stderr, re.MULTILINE)
