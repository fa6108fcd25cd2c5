"""Running the dbt project of ``examples/dbt`` on DuckDB and PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
import yaml
from psycopg.rows import dict_row

from tests.support import ROOT
from tests.support.tap_runs import sqlalchemy_url
from tests.support.target_runs import ENVIRONMENTS, Pipe, documented, settings_for_duckdb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from typing_extensions import LiteralString

    from tap_compose.sandbox.made_up_account import Account
    from tests.support.expected import Row

PROJECT = ROOT / "examples" / "dbt"
TARGETS = ("target-jsonl", "target-duckdb", "target-postgres")
WITHOUT_TESTS = ("--exclude-resource-types", "test", "unit_test")


@dataclass
class Project:
    """The dbt project in front of what a target has loaded.

    Attributes:
        folder: Where everything is kept that is written.
        pipe: The tap into a target.
        environment: What dbt needs to know of the place of the tables.
        query: Returns the rows of a query on the answers.
        run: Runs SQL statements.
        variables: Of every call of dbt.
    """

    folder: Path
    pipe: Pipe
    environment: dict[str, str]
    query: Callable[[str], list[Row]]
    run: Callable[[str], object]
    salt: str = ""
    variables: dict[str, Any] = field(default_factory=dict)
    results: list[Row] = field(default_factory=list)

    def dbt(self, *arguments: str, status: int = 0, **variables: Any) -> str:
        process = subprocess.run(
            [
                ENVIRONMENTS / "dbt" / "bin" / "dbt",
                *arguments,
                f"--vars={json.dumps({**self.variables, **variables})}",
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
        if status == 0:
            results = json.loads((self.folder / "target" / "run_results.json").read_text())
            self.results = results["results"]
        return process.stdout

    def build(self, account: Account, now: datetime) -> str:
        """Load an account and build the answers, as at a time; the project's tests take longer."""
        self.pipe.load(account)
        return self.dbt("build", *WITHOUT_TESTS, now=f"{now}")

    def fill(self, rows: Mapping[str, Sequence[Row]], schema: str = "loaded") -> None:
        """Make the tables of one load, as a database target would, instead of a load.

        Args:
            rows: Of each stream; without an ``_sdc_extracted_at`` they are from READ_AT. Without a
                stream ``coverage`` everything was read at READ_AT.
            schema: Of the tables.
        """
        self.environment.pop("COMPOSE_FILES", None)
        self.variables["compose_schema"] = schema
        rows = {"coverage": [*everything_read(rows)], **rows}
        statements = [f"DROP SCHEMA IF EXISTS {schema} CASCADE", f"CREATE SCHEMA {schema}"]
        for table, columns in source_tables().items():
            listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
            name = f"{schema}.{table}"
            statements.append(f"CREATE TABLE {name} ({listed}, _sdc_extracted_at timestamp)")
            for row in rows.get(table, []):
                loaded = {"_sdc_extracted_at": READ_AT, **row}
                values = ", ".join(map(_literal, loaded.values()))
                statements.append(f"INSERT INTO {name} ({', '.join(loaded)}) VALUES ({values})")  # noqa: S608
        self.run(";\n".join(statements))

    def mart(self, name: str, schema: str = "answers") -> list[Row]:
        return self.query(f"SELECT * FROM {schema}.{name}")  # noqa: S608


READ_AT = "2018-06-01 12:00:00"


def source_tables() -> dict[str, dict[str, str]]:
    """The type of each column of each stream that the project reads."""
    (source,) = yaml.safe_load((PROJECT / "models" / "sources.yml").read_text())["sources"]
    return {
        table["name"]: {each["name"]: each["data_type"] for each in table["columns"]}
        for table in source["tables"]
    }


def everything_read(rows: Mapping[str, Sequence[Row]]) -> Iterator[Row]:
    """The coverage of a run that read every stream of every deployment."""
    ids = [row["id"] for row in rows["deployments"]]
    for stream in source_tables():
        for scope in ids if stream.startswith("deployment_") else [""]:
            yield {"stream": stream, "deployment_id": scope, "outcome": "read", "read_at": READ_AT}


def _literal(value: Any) -> str:
    if value is None or isinstance(value, (bool, int, float)):
        return "NULL" if value is None else str(value)
    text = json.dumps(value) if isinstance(value, (list, dict)) else str(value)
    quoted = text.replace("'", "''")
    return f"'{quoted}'"


def new_project(target: str, new_database: Callable[[], str], folder: Path) -> Project:
    """A project behind one of TARGETS; the database of a warehouse is empty."""
    if target == "target-jsonl":
        return behind_jsonl(folder)
    if target == "target-duckdb":
        pipe = Pipe(target, documented(target), folder, settings_for_duckdb())
        return _on_duckdb(pipe, {})
    return _on_postgres(folder, new_database())


def behind_jsonl(folder: Path) -> Project:
    """A project that reads the files of target-jsonl."""
    config = {"destination_path": "out", "do_timestamp_file": True}
    pipe = Pipe("target-jsonl", config, folder)
    return _on_duckdb(pipe, {"COMPOSE_FILES": str(folder / "out")})


def _on_duckdb(pipe: Pipe, environment: dict[str, str]) -> Project:
    path = str(pipe.folder / "compose.duckdb")

    def query(sql: str) -> list[Row]:
        with duckdb.connect(path, read_only=True) as connection:
            found = connection.sql(sql)
            return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]

    def run(sql: str) -> None:
        with duckdb.connect(path, config={"storage_compatibility_version": "v1.0.0"}) as connection:
            connection.execute(sql)

    environment = {**environment, "COMPOSE_ANSWERS": path}
    return Project(pipe.folder, pipe, environment, query, run)


def _on_postgres(folder: Path, database: str) -> Project:
    def query(sql: str) -> list[Row]:
        statement: LiteralString = sql
        with psycopg.connect(database, row_factory=dict_row) as connection:
            return connection.execute(statement).fetchall()

    def run(sql: str) -> None:
        statements: LiteralString = sql
        with psycopg.connect(database) as connection:
            connection.execute(statements)

    config = {**documented("target-postgres"), "sqlalchemy_url": sqlalchemy_url(database)}
    config["hard_delete"] = False  # coverage is enough to see what is gone
    parts = psycopg.conninfo.conninfo_to_dict(database)
    environment = {
        "DBT_TARGET": "postgres",
        "TARGET_POSTGRES_HOST": str(parts["host"]),
        "TARGET_POSTGRES_USER": str(parts["user"]),
        "TARGET_POSTGRES_DATABASE": str(parts["dbname"]),
    }
    pipe = Pipe("target-postgres", config, folder)
    return Project(folder, pipe, environment, query, run)
