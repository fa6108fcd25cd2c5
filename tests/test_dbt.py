"""The dbt project of ``examples/dbt``, on PostgreSQL and on DuckDB, against the sandbox's account.

What the marts should hold is worked out from the account (``tests/expected_answers.py``), not from
the rows that were loaded.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
import pytest
from psycopg.rows import dict_row
from typing_extensions import override

from tap_compose.sandbox.account import Account, Size
from tap_compose.sandbox.data import NOW
from tap_compose.sandbox.quirks import Quirks
from tests.documents import ROOT
from tests.expected_answers import Answers, Load
from tests.tap_runs import sqlalchemy_url
from tests.target_runs import ENVIRONMENTS, Pipe, documented

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import LiteralString

    from tap_compose.sandbox.data import Body
    from tests.expected import Row

pytestmark = pytest.mark.slow

PROJECT = ROOT / "examples" / "dbt"
MARTS = (
    "backup_freshness",
    "monthly_cost",
    "access_review",
    "deployment_timeline",
    "upgradable_deployments",
    "open_access",
)


class GrowingAccount(Account):
    """An account before and after a day in which much changes.

    Args:
        is_later: Whether the day is over. Two deployments are gone then, one of which could hardly
            be read before.
    """

    def __init__(self, *, is_later: bool) -> None:
        super().__init__(
            Size(deployments=13, events=700, recipes=6, seed=5, accounts=2, quirks=Quirks.ALL)
        )
        self._is_later = is_later
        self.gone = self.deployment_ids[-2:]
        if is_later:
            self.events.add(NOW + timedelta(hours=3))
            self.deployment_ids = self.deployment_ids[:-2]

    @property
    @override
    def leaving(self) -> str | None:
        return None if self._is_later else super().leaving

    @property
    @override
    def ill(self) -> str:
        return self.deployment_ids[2 if self._is_later else 1]

    @override
    def summary(self, deployment_id: str) -> Body:
        summary = super().summary(deployment_id)
        if self._is_later and deployment_id == self.deployment_ids[0]:
            summary |= {"name": "renamed", "customer_billing_code": "CC-3000"}
        return summary

    @override
    def billables(self) -> list[Body]:
        billables = super().billables()
        billables[1] |= {"amount": None}
        billables[6] |= {"end_at": "2018-06-02T00:00:00Z", "replaces_id": billables[3]["id"]}
        return billables

    @override
    def resource(self, deployment_id: str, name: str) -> Body:
        body = super().resource(deployment_id, name)
        place = self.deployment_ids.index(deployment_id)
        items = next(iter(body.get("_embedded", {"": []}).values()))
        if name == "whitelist" and place == 4:
            items.clear()
        elif name == "whitelist" and place == 5 and self._is_later:
            items[0]["ip"] = "10.0.0.0/8"
        elif name == "whitelist" and place == 6:
            items[0]["ip"] = "2001:db8::/32"
        elif name == "backups" and place == 2:
            items[:] = [{**each, "status": "failed"} for each in items if each["type"] == "daily"]
        elif name == "scalings" and place == 5 and self._is_later:
            body["allocated_units"] += 7
        elif name == "roles" and place == 5 and self._is_later:
            items[0]["users"] = self.people[2:4]
        return body


LOADS = [
    Load(GrowingAccount(is_later=False), NOW.replace(tzinfo=None)),
    Load(GrowingAccount(is_later=True), NOW.replace(tzinfo=None) + timedelta(days=1)),
]


@dataclass
class Project:
    """The dbt project in front of what a target has loaded.

    Attributes:
        folder: Where everything is kept that is written.
        pipe: The tap into a target.
        environment: What dbt needs to know of the place of the tables.
        query: Returns the rows of a query on the answers.
    """

    folder: Path
    pipe: Pipe
    environment: dict[str, str]
    query: Callable[[str], list[Row]]
    salt: str = ""
    results: list[Row] = field(default_factory=list)

    def dbt(self, *arguments: str, status: int = 0) -> str:
        process = subprocess.run(
            [
                ENVIRONMENTS / "dbt" / "bin" / "dbt",
                *arguments,
                f"--profiles-dir={PROJECT}",
                f"--project-dir={PROJECT}",
                f"--target-path={self.folder / 'target'}",
                f"--log-path={self.folder / 'logs'}",
            ],
            cwd=self.folder,
            env={**os.environ, **self.environment, "COMPOSE_HASH_SALT": self.salt},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert process.returncode == status, process.stdout + process.stderr
        results = json.loads((self.folder / "target" / "run_results.json").read_text())
        self.results = results.get("results", [])
        return process.stdout

    def build(self, load: Load) -> str:
        self.pipe.load(load.account)
        return self.dbt("build", "--vars", json.dumps({"now": f"{load.now}"}))

    def mart(self, name: str) -> list[Row]:
        return self.query(f"SELECT * FROM answers.{name}")  # noqa: S608

    def marts(self) -> dict[str, list[Row]]:
        return {name: self.mart(name) for name in MARTS}


def on_duckdb(folder: Path) -> Project:
    path = folder / "compose.duckdb"

    def query(sql: str) -> list[Row]:
        with duckdb.connect(str(path), read_only=True) as connection:
            found = connection.sql(sql)
            return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]

    config = {"destination_path": "out", "do_timestamp_file": True}
    environment = {"COMPOSE_FILES": str(folder / "out"), "COMPOSE_ANSWERS": str(path)}
    return Project(folder, Pipe("target-jsonl", config, folder), environment, query)


def on_postgres(folder: Path, database: str) -> Project:
    def query(sql: str) -> list[Row]:
        statement: LiteralString = sql
        with psycopg.connect(database, row_factory=dict_row) as connection:
            return connection.execute(statement).fetchall()

    config = {**documented("target-postgres"), "sqlalchemy_url": sqlalchemy_url(database)}
    settings = {"emit_activate_version_messages": True}
    parts = psycopg.conninfo.conninfo_to_dict(database)
    environment = {
        "DBT_TARGET": "postgres",
        "TARGET_POSTGRES_HOST": str(parts["host"]),
        "TARGET_POSTGRES_USER": str(parts["user"]),
        "TARGET_POSTGRES_DATABASE": str(parts["dbname"]),
    }
    return Project(folder, Pipe("target-postgres", config, folder, settings), environment, query)


ADAPTERS = ("duckdb", "postgres")


@pytest.fixture(scope="module", params=ADAPTERS)
def project(
    request: pytest.FixtureRequest,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Project:
    """The project after two loads, each followed by a build."""
    project = _project(request.param, new_database, tmp_path_factory.mktemp(request.param))
    for load in LOADS:
        project.build(load)
    return project


def _project(adapter: str, new_database: Callable[[], str], folder: Path) -> Project:
    return on_duckdb(folder) if adapter == "duckdb" else on_postgres(folder, new_database())


def _comparable(rows: list[Row]) -> list[str]:
    """Rows in one order and in words; a number is the same with more zeros behind its point."""
    return sorted(
        repr({name: _plain(name, value) for name, value in sorted(row.items())}) for row in rows
    )


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:.2f}"
    return value


def _assert_same(found: dict[str, list[Row]], expected: dict[str, list[Row]]) -> None:
    for name in MARTS:
        found_rows, expected_rows = found[name], expected[name]
        if name == "deployment_timeline":  # dbt makes the ids of alerts up
            found_rows = [
                {**row, "source_id": None} if row["what"] == "alert" else row for row in found_rows
            ]
        assert _comparable(found_rows) == _comparable(expected_rows), name  # DEBUG


def test_the_marts_tell_what_the_account_tells(project: Project) -> None:
    expected = Answers(*LOADS).all()
    assert all(expected.values())
    _assert_same(project.marts(), expected)
