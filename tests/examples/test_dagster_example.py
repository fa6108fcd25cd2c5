"""The Dagster example: four shards and the years of the audit log into one PostgreSQL."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from tap_compose.sandbox.data import NOW
from tap_compose.sandbox.faults import Fault
from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.server import Sandbox
from tap_compose.settings import Shard
from tests.support import ROOT
from tests.support.contract import KEYS
from tests.support.expected import Row, expected_rows
from tests.support.tap_runs import sqlalchemy_url

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

PIPELINE = ROOT / "examples/dagster/compose_pipeline.py"
DAGSTER = ROOT / ".venvs/dagster/bin/python"
SHARDS = [f"{part}/4" for part in range(1, 5)]
YEARS = ["2015", "2016", "2017", "2018"]


@dataclass
class Pipeline:
    """A Dagster of its own in front of a database, and the environment that it runs in."""

    folder: Path
    database: str
    environment: dict[str, str]

    def start(self, asset: str, *partition: str) -> subprocess.Popen[str]:
        command = ["-m", "dagster", "asset", "materialize", "--select", asset, "-f", str(PIPELINE)]
        return subprocess.Popen(
            [str(DAGSTER), *command, *(f"--partition={each}" for each in partition)],
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def materialize(self, asset: str, *partitions: str) -> tuple[list[int], str]:
        """Materialize partitions at the same time; gives exit statuses and the words of all."""
        started = [self.start(asset, each) for each in partitions] or [self.start(asset)]
        with ThreadPoolExecutor(len(started)) as threads:
            words = list(threads.map(lambda process: process.communicate()[0], started))
        assert self.environment["TAP_COMPOSE_API_TOKEN"] not in "".join(words)
        return [each.returncode for each in started], "".join(words)

    def assert_whole(self, expected: dict[str, list[Row]]) -> None:
        """Hold every table of some streams against the rows that it should have, each once."""
        for stream, rows in expected.items():
            by_key = itemgetter(*KEYS[stream])
            found = [_plain(row) for row in self.rows(stream)]
            assert sorted(found, key=by_key) == sorted(rows, key=by_key), stream

    def rows(self, stream: str) -> list[Row]:
        query = SQL("SELECT * FROM {}").format(Identifier("compose", stream))
        with psycopg.connect(self.database, row_factory=dict_row) as connection:
            return connection.execute(query).fetchall()


def _plain(row: Row) -> Row:
    """A row without what the target adds, and times as the tap writes them."""
    return {
        name: f"{value.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
        if isinstance(value, datetime)
        else value
        for name, value in row.items()
        if not name.startswith("_sdc_")
    }


def _recipes_written(words: str) -> int:
    return sum(map(int, re.findall(r"summary of deployment_recipes: (\d+) rows?", words)))


@pytest.fixture
def faults() -> list[Fault]:
    """What strikes the sandbox; it can be changed while that runs."""
    return [Fault("503", 0.0)]


@pytest.fixture
def served(faults: list[Fault]) -> Iterator[Sandbox]:
    account = Account(Size(deployments=12, events=3000, recipes=10, seed=10))
    with Sandbox(account=account, latency=0.02, faults=faults) as sandbox:
        yield sandbox


@pytest.fixture
def pipeline(tmp_path: Path, database: str, served: Sandbox) -> Pipeline:
    home = tmp_path / "home"
    home.mkdir()
    folders = [Path(sys.executable).parent, ROOT / ".venvs/target-postgres/bin"]
    environment = {
        "PATH": os.pathsep.join([*map(str, folders), os.environ["PATH"]]),
        "DAGSTER_HOME": str(home),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "COMPOSE_STATES": str(tmp_path / "states"),
        "TAP_COMPOSE_API_URL": served.url,
        "TAP_COMPOSE_API_TOKEN": served.token,
        "TAP_COMPOSE_MAX_RETRIES": "1",
        "TARGET_POSTGRES_SQLALCHEMY_URL": sqlalchemy_url(database),
        "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA": "compose",
        "TARGET_POSTGRES_LOAD_METHOD": "upsert",
    }
    return Pipeline(tmp_path, database, environment)


def test_four_shards_and_the_years_of_the_audit_log_into_one_database(
    pipeline: Pipeline, served: Sandbox, faults: list[Fault]
) -> None:
    account = served.account
    assert pipeline.materialize("compose_tables")[0] == [0]
    assert [stream for stream in expected_rows(account) if pipeline.rows(stream)] == []

    # Four shards at the same time. One of them cannot read one thing of one of its deployments.
    struck = next(each for each in account.deployment_ids if Shard(2, 4).holds(each))
    faults[:] = [Fault("503", 1.0, f"/deployments/{struck}/recipes")]
    statuses, first = pipeline.materialize("compose_deployments", *SHARDS)
    assert statuses == [0, 1, 0, 0]
    assert "tap-compose ended with 1" in first
    assert "/audit_events" not in served.log.counts
    expected = expected_rows(account)
    expected.pop("audit_events")
    recipes = expected["deployment_recipes"]
    expected["deployment_recipes"] = [row for row in recipes if row["deployment_id"] != struck]
    pipeline.assert_whole(expected)

    # Once the API has recovered, that shard alone runs again.
    faults.clear()
    statuses, repaired = pipeline.materialize("compose_deployments", "2/4")
    assert statuses == [0]
    assert _recipes_written(first) + _recipes_written(repaired) >= len(recipes)
    expected["deployment_recipes"] = recipes
    pipeline.assert_whole(expected)

    served.log.clear()
    assert pipeline.materialize("compose_audit_log", *YEARS)[0] == [0, 0, 0, 0]
    requests = served.log.counts
    assert requests.keys() == {"/audit_events"}
    pipeline.assert_whole(expected_rows(account))

    # What is new comes, and little else.
    for hours in range(3):
        account.events.add(NOW + timedelta(hours=hours))
    served.log.clear()
    assert pipeline.materialize("compose_audit_log", *YEARS)[0] == [0, 0, 0, 0]
    # A short first page may be all that a server allows: one more request tells.
    assert served.log.counts["/audit_events"] == 2 * len(YEARS) < requests["/audit_events"]
    statuses, again = pipeline.materialize("compose_deployments", *SHARDS)
    assert statuses == [0, 0, 0, 0]
    assert 0 < _recipes_written(again) < len(recipes) / 4
    pipeline.assert_whole(expected_rows(account))

    states = {each.name for each in (pipeline.folder / "states").iterdir()}
    parts = {f"deployments-{part}-of-4.json" for part in range(1, 5)}
    assert states == parts | {f"audit-log-{year}.json" for year in YEARS}
    for path in pipeline.folder.rglob("*"):
        assert path.is_dir() or served.token.encode() not in path.read_bytes()


def test_a_cancelled_year_goes_on_from_what_is_stored(pipeline: Pipeline, served: Sandbox) -> None:
    pipeline.environment["TAP_COMPOSE_MAX_CONCURRENCY"] = "1"
    with Sandbox(account=served.account, latency=0.5) as slow:
        pipeline.environment["TAP_COMPOSE_API_URL"] = slow.url
        process = pipeline.start("compose_audit_log", "2017")
        while len(slow.log.paths) < 5:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        words, _ = process.communicate()
    assert process.returncode != 0
    assert "stopped early: received SIGTERM" in words
    pipeline.environment["TAP_COMPOSE_API_URL"] = served.url
    assert pipeline.materialize("compose_audit_log", "2017")[0] == [0]
    events = expected_rows(served.account)["audit_events"]
    year = [row for row in events if row["created_at"].startswith("2017")]
    pipeline.assert_whole({"audit_events": year})


def test_a_target_that_fails_fails_the_partition_and_leaves_no_state(pipeline: Pipeline) -> None:
    script = pipeline.folder / "bin/target-postgres"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\ncat > /dev/null\necho the disk is full >&2\nexit 3\n")
    script.chmod(0o755)
    pipeline.environment["PATH"] = f"{script.parent}{os.pathsep}{pipeline.environment['PATH']}"
    statuses, words = pipeline.materialize("compose_audit_log", "2017")
    assert statuses == [1]
    assert "the disk is full" in words
    assert "target-postgres ended with 3" in words
    assert list((pipeline.folder / "states").iterdir()) == []


def test_the_schedules_ask_for_every_shard_and_for_the_last_two_years(pipeline: Pipeline) -> None:
    code = (
        "import datetime, dagster, compose_pipeline as pipeline\n"
        "moment = datetime.datetime(2018, 1, 1, tzinfo=datetime.timezone.utc)\n"
        "context = dagster.build_schedule_context(\n"
        "    scheduled_execution_time=moment,\n"
        "    repository_def=pipeline.definitions.get_repository_def(),\n"
        ")\n"
        "for each in (pipeline.every_night, pipeline.every_quarter_of_an_hour):\n"
        "    for request in each.evaluate_tick(context).run_requests:\n"
        "        print(request.run_key, request.partition_key, sep='|')\n"
    )
    environment = {**pipeline.environment, "PYTHONDONTWRITEBYTECODE": "1"}
    printed = subprocess.check_output(
        [DAGSTER, "-c", code], cwd=PIPELINE.parent, env=environment, text=True
    )
    asked = [line.split("|") for line in printed.splitlines()]
    assert [partition for _, partition in asked] == [*SHARDS, "2017", "2018"]
    assert len({key for key, _ in asked}) == len(asked)
    assert all("2018-01-01T00:00" in key for key, _ in asked)  # or the next night asks in vain
