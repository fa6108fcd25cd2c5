"""The queries of docs/streams.md and docs/recipes.md, on warehouses with the demo's data."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
import pytest
from typing_extensions import override

from tap_compose.sandbox.made_up_account import Account
from tests.support import ROOT
from tests.support.expected import expected_rows
from tests.support.tap_runs import sqlalchemy_url
from tests.support.target_runs import Pipe, documented, settings_for_duckdb, without_ends
from tools.documents import queries

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import LiteralString

    from tap_compose.sandbox.data import Body

    Query = Callable[[str], list[tuple[Any, ...]]]

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "recipes.md").read_text()


class DemoAccount(Account):
    """The demo's account; a billable that another one replaces has no end."""

    @override
    def billables(self) -> list[Body]:
        return without_ends(super().billables())


ACCOUNT = DemoAccount()
ROWS = expected_rows(ACCOUNT)
DEPLOYMENTS = {row["id"]: row["name"] for row in ROWS["deployments"]}


def _section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def _sql(title: str, database: str = "") -> str:
    found = re.findall(rf"```sql ?(?:{database})?\n(.*?)```", _section(title), re.DOTALL)
    assert len(found) == 1
    return str(found[0])


@pytest.fixture(scope="module")
def in_duckdb(tmp_path_factory: pytest.TempPathFactory) -> Query:
    """The demo's account in DuckDB."""
    folder = tmp_path_factory.mktemp("duckdb")
    config = {"path": str(folder / "warehouse.duckdb"), "default_target_schema": "compose"}
    settings = settings_for_duckdb()
    Pipe("target-duckdb", config, folder, settings).load(ACCOUNT)
    connection = duckdb.connect(config["path"], read_only=True)
    return lambda sql: connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def in_postgres(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Query:
    """The demo's account in PostgreSQL."""
    database = new_database()
    config = {**documented("target-postgres"), "sqlalchemy_url": sqlalchemy_url(database)}
    Pipe("target-postgres", config, tmp_path_factory.mktemp("postgres")).load(ACCOUNT)
    return lambda sql: _asked(database, sql)


def _asked(database: str, sql: str) -> list[tuple[Any, ...]]:
    statement: LiteralString = sql
    with psycopg.connect(database) as connection:
        return connection.execute(statement).fetchall()


@pytest.fixture(params=["in_duckdb", "in_postgres"])
def query(request: pytest.FixtureRequest) -> Query:
    """Either of the two warehouses."""
    asked: Query = request.getfixturevalue(request.param)
    return asked


@pytest.mark.parametrize(("stream", "sql"), queries().items(), ids=list(queries()))
def test_the_example_of_a_stream(
    stream: str, sql: str, in_duckdb: Query, in_postgres: Query
) -> None:
    del stream
    found = in_postgres(sql)
    assert found
    assert [list(map(_plain, row)) for row in in_duckdb(sql)] == [
        list(map(_plain, row)) for row in found
    ]


def _plain(value: Any) -> Any:
    """A value as both have it: target-duckdb stores numbers as doubles, and lists as text."""
    if isinstance(value, Decimal | float):
        return round(float(value), 6)
    is_json = isinstance(value, str) and value.startswith("[")
    return (json.loads(value) if is_json else value) or None


def test_cost_per_billing_code(query: Query) -> None:
    """Equal to the rates of June in docs/answers.md."""
    rates = [
        (code, round(float(rate), 2)) for code, rate, _ in query(_sql("Cost per billing code"))
    ]
    assert rates == [("CC-1001", 561.20), ("CC-2040", 810.00), ("none", 154.35)]


def test_who_has_which_role(in_duckdb: Query, in_postgres: Query) -> None:
    wanted = sorted(
        (user["id"], user["name"] or "", row["name"], DEPLOYMENTS[row["deployment_id"]])
        for row in ROWS["deployment_roles"]
        for user in row["users"]
    )
    for asked, database in ((in_duckdb, "duckdb"), (in_postgres, "postgresql")):
        found = asked(_sql("Who has which role", database))
        assert sorted((row[0], row[1] or "", *row[2:]) for row in found) == wanted


def test_who_scaled_a_deployment(query: Query) -> None:
    wanted = [
        (row["created_at"], row["event"], row["email"], DEPLOYMENTS[row["deployment_id"]])
        for row in ROWS["audit_events"]
        if row["event"].startswith("deployment.scale") and row["deployment_id"] in DEPLOYMENTS
    ]
    found = [
        (f"{at.isoformat(timespec='milliseconds')}Z", *others)
        for at, *others in query(_sql("Who scaled a deployment"))
    ]
    assert [row[0] for row in found] == sorted((row[0] for row in wanted), reverse=True)
    assert sorted(found) == sorted(wanted)


def test_the_catalog_of_the_audit_log(tmp_path: Path) -> None:
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for line in re.findall(r"^\$ (.*)$", _section("Audit log every 15 minutes"), re.MULTILINE):
        subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, check=True)
    catalog = json.loads((tmp_path / "audit" / "catalog.json").read_text())
    assert [each["tap_stream_id"] for each in catalog["streams"]] == ["audit_events"]
