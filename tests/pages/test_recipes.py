"""The queries of docs/streams.md and docs/recipes.md, on warehouses with the demo's data."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
import pytest

from tap_compose.sandbox.made_up_account import Account
from tap_compose.sandbox.server import Sandbox
from tests.support import ROOT
from tests.support.expected import expected_rows
from tests.support.tap_runs import config_for, sqlalchemy_url, sync
from tests.support.target_runs import ENVIRONMENTS, Pipe, documented, settings_for_duckdb
from tools.documents import queries

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import LiteralString

    Query = Callable[[str], list[tuple[Any, ...]]]

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "recipes.md").read_text()
ACCOUNT = Account()
ROWS = expected_rows(ACCOUNT)
DEPLOYMENTS = {row["id"]: row for row in ROWS["deployments"]}
COMMANDS = os.pathsep.join(
    [str(Path(sys.executable).parent), str(ENVIRONMENTS / "target-postgres" / "bin")]
)
ENVIRONMENT = {**os.environ, "PATH": f"{COMMANDS}{os.pathsep}{os.environ['PATH']}"}


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


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")


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
    wanted: dict[str, list[Decimal]] = {}
    capsules = {row["capsule_id"]: row["deployment_id"] for row in ROWS["deployment_logfiles"]}
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    for row in ROWS["billables"]:
        if _moment(row["end_at"]) > now:
            place = DEPLOYMENTS.get(capsules.get(row["identifier"], row["identifier"]), {})
            code = place.get("customer_billing_code") or "none"
            wanted.setdefault(code, []).append(Decimal(str(row["amount"])))
    assert wanted.keys() == {"none", "CC-1001", "CC-2040"}
    found = {
        code: (round(Decimal(amount), 2), count)
        for code, amount, count in query(_sql("Cost per billing code"))
    }
    assert found == {code: (sum(amounts), len(amounts)) for code, amounts in wanted.items()}


def test_who_has_which_role(in_duckdb: Query, in_postgres: Query) -> None:
    wanted = sorted(
        (user["id"], user["name"] or "", row["name"], DEPLOYMENTS[row["deployment_id"]]["name"])
        for row in ROWS["deployment_roles"]
        for user in row["users"]
    )
    assert len(wanted) > 20
    for asked, database in ((in_duckdb, "duckdb"), (in_postgres, "postgresql")):
        found = asked(_sql("Who has which role", database))
        assert sorted((row[0], row[1] or "", *row[2:]) for row in found) == wanted


def test_what_was_done_to_a_deployment(query: Query) -> None:
    wanted = [
        (
            _moment(row["created_at"]),
            row["event"],
            row["email"] or "the platform",
            DEPLOYMENTS[row["deployment_id"]]["name"],
        )
        for row in sorted(ROWS["audit_events"], key=lambda row: row["id"])
        if row["event"].startswith("deployment.scale") and row["deployment_id"] in DEPLOYMENTS
    ]
    wanted.sort(key=lambda row: row[0], reverse=True)
    assert len(wanted) > 20
    found = query(_sql("Who scaled a deployment"))
    # Rows of target-duckdb have null for an empty text.
    assert [(row[0], row[1], row[3]) for row in found] == [
        (row[0], row[1], row[3]) for row in wanted
    ]
    assert {row[2] for row in found} == {row[2] for row in wanted}


def test_the_audit_log_every_15_minutes(tmp_path: Path) -> None:
    section = _section("Audit log every 15 minutes")
    for line in re.findall(r"^\$ (.*)$", section, re.MULTILINE):
        subprocess.run(["bash", "-c", line], cwd=tmp_path, env=ENVIRONMENT, check=True)
    catalog = json.loads((tmp_path / "audit" / "catalog.json").read_text())
    with Sandbox(account=Account()) as sandbox:
        first = sync(config_for(sandbox), catalog=catalog)
        assert {path.split("?")[0] for path in sandbox.log.paths} == {"/audit_events"}
        sandbox.log.clear()
        second = sync(config_for(sandbox), catalog=catalog, state=first.state)
        assert second.status == 0
        assert len(sandbox.log.paths) == 2  # the second tells a short page from the last one
