"""What real targets hold once the tap was piped into them, against what the API holds.

The configs are those of docs/targets.md, which also says in words what is asserted here.
"""

from __future__ import annotations

import csv
import json
import re
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec
import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier
from typing_extensions import LiteralString, override

from tap_compose.sandbox.faults import Fault
from tests.support import ROOT
from tests.support.contract import FIELDS, KEYS, REPLICATION_KEYS
from tests.support.expected import Row, expected_rows
from tests.support.tap_runs import sqlalchemy_url
from tests.support.target_runs import (
    ChangingAccount,
    Pipe,
    documented,
    in_tokyo,
    settings_for_duckdb,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_compose.sandbox.data import Body
    from tap_compose.sandbox.made_up_account import Account

    Rows = dict[str, list[Row]]
    Hold = dict[str, Callable[[Any], Any]]

pytestmark = pytest.mark.slow

LOADS = [ChangingAccount(load) for load in range(3)]
SETTINGS = {"include_connection_strings": True, "emit_activate_version_messages": True}


# What should be there.


def whole(account: Account, *, connection_strings: bool = True) -> Rows:
    rows = expected_rows(account, connection_strings=connection_strings)
    return {stream: rows.get(stream, []) for stream in FIELDS}


def brought(before: Rows, now: Rows) -> Rows:
    """What an incremental run brings: full tables, and what is new with the overlap."""
    newest: dict[str, str] = {}
    for row in before["deployment_recipes"]:
        newest[row["deployment_id"]] = max(newest.get(row["deployment_id"], ""), row["updated_at"])

    def is_new(time: str, bookmark: str) -> bool:
        return _moment(time) >= _moment(bookmark) - timedelta(seconds=60)

    last = max(row["created_at"] for row in before["audit_events"])
    recipes = now["deployment_recipes"]
    return {
        **now,
        "audit_events": [row for row in now["audit_events"] if is_new(row["created_at"], last)],
        "deployment_recipes": [
            row for row in recipes if is_new(row["updated_at"], newest[row["deployment_id"]])
        ],
    }


def loads() -> list[Rows]:
    """What each load of the account brings."""
    first, second, third = map(whole, LOADS)
    return [first, brought(first, second), brought(second, third)]


def appended(*loads: Rows) -> Rows:
    return {stream: [row for rows in loads for row in rows[stream]] for stream in FIELDS}


def upserted(before: Rows, now: Rows) -> Rows:
    """All that ever was, as it was last."""
    return {
        stream: list({tuple(row[name] for name in KEYS[stream]): row for row in rows}.values())
        for stream, rows in appended(before, now).items()
    }


def without_gone_rows(before: Rows, now: Rows) -> Rows:
    """What is left once the rows of full tables that no longer exist were deleted."""
    rows = upserted(before, now)
    return {**now, **{stream: rows[stream] for stream in REPLICATION_KEYS}}


# What a target makes of a value, by the kind of its column. The drivers tell the types of columns:
# NUMERIC is a Decimal, BIGINT an int, DOUBLE a float, TIMESTAMP a time without a zone.


def kind_of(stream: str, name: str) -> str:
    kind = FIELDS[stream][name]
    if isinstance(kind, list):
        return "texts" if kind == ["string"] else "objects"
    return "object" if isinstance(kind, dict) else str(kind)


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")


def _reread(value: Any) -> Any:
    """A value after a way through JSON."""
    encoded = msgspec.json.Encoder(decimal_format="number").encode(value)
    return json.loads(encoded, parse_float=Decimal)


IN_JSONL: Hold = dict.fromkeys(("number", "integer", "object"), _reread)
IN_CSV: Hold = {
    "time": lambda text: str(_moment(text).replace(tzinfo=timezone.utc)),
    "number": str,
    "integer": str,
    "boolean": str,
}
IN_DUCKDB: Hold = {
    "string": lambda text: text or None,
    "time": _moment,
    "number": float,
    "integer": int,
}
IN_POSTGRES: Hold = {"time": _moment, "integer": int}

JSON_KINDS = {"texts", "objects", "object"}


def held(rows: Rows, hold: Hold, null: Any = None) -> Rows:
    """Rows as a target should hold them."""

    def value(stream: str, name: str, given: Any) -> Any:
        if given is None:
            return null
        return hold.get(kind_of(stream, name), lambda same: same)(given)

    return {
        stream: [{name: value(stream, name, row[name]) for name in row} for row in each]
        for stream, each in rows.items()
    }


def comparable(rows: Rows) -> dict[str, list[str]]:
    """Rows in one order and in words, in which 1, 1.0, true and Decimal(1) differ."""
    return {
        stream: sorted(json.dumps(row, sort_keys=True, default=repr) for row in rows[stream])
        for stream in rows
    }


# Deleted or not read.


def states_of_backups(database: str) -> dict[str, set[str]]:
    """The states that the backups of each deployment have, by the query of docs/targets.md."""
    page = (ROOT / "docs" / "targets.md").read_text()
    (query,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    statement: LiteralString = query
    states: dict[str, set[str]] = {}
    with psycopg.connect(database) as connection:
        for _, deployment_id, state in connection.execute(statement).fetchall():
            states.setdefault(deployment_id, set()).add(state)
    return states


class WithFewerBackups(ChangingAccount):
    """The account with one deployment less, and with one backup less of another."""

    @override
    def resource(self, deployment_id: str, name: str) -> Body:
        body = super().resource(deployment_id, name)
        if name == "backups" and deployment_id == self.deployment_ids[1]:
            body["_embedded"]["backups"].pop()
        return body


def test_deleted_rows_and_rows_that_were_not_read(tmp_path: Path, database: str) -> None:
    pipe = postgres_pipe(tmp_path, database, hard_delete=False)
    pipe.settings = {}
    first, second, third, gone = LOADS[1].deployment_ids
    pipe.load(LOADS[1])
    assert states_of_backups(database) == {
        each: {"exists"} for each in (first, second, third, gone)
    }
    pipe.faults = [Fault("403", 1, f"/deployments/{first}/backups")]
    pipe.load(WithFewerBackups(2))
    expected = {
        first: {"not read"},
        second: {"exists", "deleted"},
        third: {"exists"},
        gone: {"deleted"},
    }
    assert states_of_backups(database) == expected
    pipe.settings["deployment_ids"] = [third]
    pipe.load(WithFewerBackups(2))
    assert states_of_backups(database) == expected


# JSON lines, in one file, and CSV, in a file for each load: everything is appended.


def jsonl_rows(folder: Path) -> Rows:
    lines = {each: (folder / f"{each}.jsonl").read_text().splitlines() for each in FIELDS}
    return {
        stream: [json.loads(line, parse_float=Decimal) for line in lines[stream]]
        for stream in FIELDS
    }


def csv_rows(folder: Path) -> Rows:
    rows: Rows = {stream: [] for stream in FIELDS}
    for path in sorted(folder.glob("*.csv")):
        stream = path.stem.split("-")[0]
        if stream not in FIELDS:
            continue
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                assert row.keys() == FIELDS[stream].keys()
                read = {
                    name: json.loads(text) if text and kind_of(stream, name) in JSON_KINDS else text
                    for name, text in row.items()
                }
                rows[stream].append(read)
    return rows


@pytest.mark.parametrize(
    ("target", "rows_of", "hold", "null"),
    [("target-jsonl", jsonl_rows, IN_JSONL, None), ("target-csv", csv_rows, IN_CSV, "")],
    ids=["jsonl", "csv"],
)
def test_files(
    tmp_path: Path, target: str, rows_of: Callable[[Path], Rows], hold: Hold, null: Any
) -> None:
    pipe = Pipe(target, documented(target), tmp_path, SETTINGS)
    there = appended()
    for account, load in zip(LOADS, loads(), strict=True):
        pipe.load(account)
        there = appended(there, load)
        assert comparable(rows_of(tmp_path / "out")) == comparable(held(there, hold, null))


def test_csv_without_connection_strings(tmp_path: Path) -> None:
    Pipe("target-csv", documented("target-csv"), tmp_path).load(LOADS[0])
    expected = held(whole(LOADS[0], connection_strings=False), IN_CSV, null="")
    assert comparable(csv_rows(tmp_path / "out")) == comparable(expected)


# DuckDB: rows are upserted, and stay.


def duckdb_pipe(folder: Path) -> Pipe:
    settings = {**SETTINGS, **settings_for_duckdb()}
    return Pipe("target-duckdb", documented("target-duckdb"), folder, settings)


def duckdb_rows(folder: Path, where: str = "true") -> Rows:
    """All rows, JSON read."""
    rows: Rows = {}
    with duckdb.connect(str(folder / "compose.duckdb"), read_only=True) as connection:
        for stream in FIELDS:
            found = connection.sql(f'SELECT * FROM "{stream}" WHERE {where}')  # noqa: S608
            rows[stream] = [
                dict(zip(found.columns, map(read_json, found.types, row), strict=True))
                for row in found.fetchall()
            ]
    return rows


def read_json(kind: object, value: Any) -> Any:
    return json.loads(value) if str(kind) == "JSON" and value is not None else value


def without_added_columns(rows: Rows) -> Rows:
    return {
        stream: [{name: row[name] for name in FIELDS[stream]} for row in rows[stream]]
        for stream in rows
    }


def test_duckdb(tmp_path: Path) -> None:
    pipe = duckdb_pipe(tmp_path)
    there = appended()
    for account, load in zip(LOADS, loads(), strict=True):
        time.sleep(1)  # loaded_at is in whole seconds
        started = int(time.time())
        pipe.load(account)
        there = upserted(there, load)
        rows = duckdb_rows(tmp_path)
        assert comparable(without_added_columns(rows)) == comparable(held(there, IN_DUCKDB))
        amounts = {row["id"]: row["amount"] for row in there["billables"]}
        texts = {row["id"]: row["amount_text"] for row in rows["billables"]}
        assert {key: text and Decimal(text) for key, text in texts.items()} == amounts

        latest = duckdb_rows(tmp_path, f"loaded_at >= {started}")
        assert comparable(without_added_columns(latest)) == comparable(held(load, IN_DUCKDB))


def test_duckdb_with_an_empty_part_of_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_type(self: ChangingAccount, deployment_id: str, name: str) -> Body:
        body = resource(self, deployment_id, name)
        if name == "portal_users" and deployment_id == self.deployment_ids[0]:
            body["_embedded"]["portal_users"][0]["type"] = None
        return body

    resource = ChangingAccount.resource
    monkeypatch.setattr(ChangingAccount, "resource", without_type)
    duckdb_pipe(tmp_path).load(LOADS[0])
    types = [row["type"] for row in duckdb_rows(tmp_path)["deployment_portal_users"]]
    assert types.count("-") == 1


# PostgreSQL: rows are upserted, and deleted or marked as deleted.


def postgres_pipe(folder: Path, database: str, **config: Any) -> Pipe:
    url = sqlalchemy_url(database)
    options = documented("target-postgres")["sqlalchemy_url"].split("?")[1]
    written = {**documented("target-postgres"), "sqlalchemy_url": f"{url}&{options}", **config}
    return Pipe("target-postgres", written, folder, SETTINGS)


def postgres_rows(database: str, where: LiteralString = "true") -> Rows:
    query = SQL("SELECT * FROM compose.{} WHERE {}")
    with psycopg.connect(database, row_factory=dict_row) as connection:
        return {
            stream: connection.execute(query.format(Identifier(stream), SQL(where))).fetchall()
            for stream in FIELDS
        }


def test_postgres(tmp_path: Path, database: str) -> None:
    in_tokyo(database)
    pipe = postgres_pipe(tmp_path, database)
    there = appended()
    for account in LOADS:
        pipe.load(account)
        there = without_gone_rows(there, whole(account))
        rows = without_added_columns(postgres_rows(database))
        assert comparable(rows) == comparable(held(there, IN_POSTGRES))


def test_postgres_can_mark_rows_instead_of_deleting_them(tmp_path: Path, database: str) -> None:
    pipe = postgres_pipe(tmp_path, database, hard_delete=False)
    stream_maps = documented("target-postgres", 1)["stream_maps"]
    pipe.settings = {"stream_maps": stream_maps}
    pipe.load(LOADS[1])
    pipe.settings["emit_activate_version_messages"] = True
    pipe.load(LOADS[2])
    before, now = (whole(account, connection_strings=False) for account in LOADS[1:])
    left = without_gone_rows(before, now)
    for rows, expected in (
        (postgres_rows(database), upserted(before, now)),
        (postgres_rows(database, "_sdc_deleted_at IS NULL"), left),
    ):
        for stream in stream_maps:
            for row in rows[stream]:
                row["version"] = row["database_version"]
        assert comparable(without_added_columns(rows)) == comparable(held(expected, IN_POSTGRES))

    pipe.load(LOADS[1])  # what was gone is back
    assert not any(postgres_rows(database, "_sdc_deleted_at IS NOT NULL").values())


def test_postgres_takes_null_characters(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = ChangingAccount.summary
    monkeypatch.setattr(ChangingAccount, "free_form", {"member": {"c\0": ["\0d"]}})
    monkeypatch.setattr(
        ChangingAccount, "summary", lambda *each: {**summary(*each), "notes": "a\0b"}
    )
    postgres_pipe(tmp_path, database).load(ChangingAccount(0))
    rows = postgres_rows(database)
    assert {row["notes"] for row in rows["deployments"]} == {"a\ufffdb"}
    assert {"member": {"c\ufffd": ["\ufffdd"]}} in [row["data"] for row in rows["audit_events"]]
