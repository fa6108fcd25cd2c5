"""The dbt project of ``examples/dbt`` after two loads of an account into each target that it reads.

The logic of the marts has rows worked out by hand: the unit tests of ``marts.yml``, which are run
here, and ``test_dbt_controls.py``. The demo's answers are in ``test_dbt_report.py``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from tap_compose.sandbox.data import NOW
from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.quirks import Quirks
from tests.support.dbt_runs import (
    PROJECT,
    TARGETS,
    WITHOUT_TESTS,
    Project,
    behind_jsonl,
    new_project,
)
from tests.support.expected import expected_rows
from tests.support.target_runs import ENVIRONMENTS, without_ends

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_compose.sandbox.data import Body
    from tests.support.expected import Row

pytestmark = pytest.mark.slow

MARTS = ("controls", "monthly_cost", "access_review", "deployment_timeline")
FOCUS_COLUMNS = {
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency"),
    *("BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory", "ChargeClass"),
    *("ChargeDescription", "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost"),
    *("EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit"),
    *("ProviderName", "PublisherName", "ServiceCategory", "ServiceName"),
}
"""The columns that are mandatory in FOCUS 1.2."""


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
        self._is_later = False
        self.gone = self.deployment_ids[-2:]
        events = self.events  # of all deployments, whatever happens to them later
        self._is_later = is_later
        if is_later:
            events.add(NOW + timedelta(hours=3))
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
        billables = without_ends(super().billables())
        billables[1] |= {"amount": None}
        billables[-1] |= {"start_at": None}
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


BEFORE, AFTER = GrowingAccount(is_later=False), GrowingAccount(is_later=True)
TODAY = NOW.replace(tzinfo=None)
TOMORROW = TODAY + timedelta(days=1)


@dataclass
class Built:
    """The project after both loads, each followed by a build.

    Attributes:
        project: The project.
        marts: The rows of each mart after the first build, and after the second.
    """

    project: Project
    marts: list[dict[str, list[str]]]


@pytest.fixture(scope="module")
def builds(
    new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Built]:
    """The project behind each target."""

    def build(target: str) -> Built:
        project = new_project(target, new_database, tmp_path_factory.mktemp(target))
        marts = []
        for account, now in ((BEFORE, TODAY), (AFTER, TOMORROW)):
            project.build(account, now)
            marts.append({name: comparable(project.mart(name)) for name in MARTS})
        return Built(project, marts)

    with ThreadPoolExecutor(2) as threads:
        return dict(zip(TARGETS, threads.map(build, TARGETS), strict=True))


@pytest.fixture(params=TARGETS)
def project(request: pytest.FixtureRequest, builds: dict[str, Built]) -> Project:
    return builds[request.param].project


def comparable(rows: list[Row]) -> list[str]:
    """Rows in one order and in words, without what differs between equal loads."""
    return sorted(repr({name: _plain(row, name) for name in sorted(row)}) for row in rows)


def _plain(row: Row, name: str) -> Any:
    value = row[name]
    if name == "checked_at" or (name == "source_id" and row["source"] == "health_history"):
        return None
    # A number is the same with more zeros behind its point.
    return f"{value:.8f}" if isinstance(value, Decimal) else value


@pytest.mark.parametrize("target", TARGETS[1:])
def test_every_target_leads_to_the_same_answers(target: str, builds: dict[str, Built]) -> None:
    before, after = builds[TARGETS[0]].marts
    for mart in MARTS:
        assert before[mart]
        assert before[mart] != after[mart]
        assert builds[target].marts[0][mart] == before[mart], mart
        assert builds[target].marts[1][mart] == after[mart], mart


def test_the_last_name_of_a_deployment_counts_and_stays(project: Project) -> None:
    listed = [*expected_rows(BEFORE)["deployments"], *expected_rows(AFTER)["deployments"]]
    rows = project.mart("deployment_timeline")
    names = {row["deployment_id"]: row["deployment_name"] for row in rows}
    assert names.items() >= {row["id"]: row["name"] for row in listed}.items()


def test_focus_costs_are_those_of_the_months(project: Project) -> None:
    focus = project.mart("focus_costs")
    assert {key for row in focus for key in row} >= FOCUS_COLUMNS
    assert sorted(
        (row["x_BillableId"], row["BillingPeriodStart"].date(), row["BilledCost"]) for row in focus
    ) == sorted(
        (row["billable_id"], row["month"], row["cost"])
        for row in project.mart("billable_months")
        if row["cost"] is not None
    )
    assert {row["BillingPeriodEnd"].day for row in focus} == {1}


@pytest.mark.parametrize("target", ["target-jsonl", "target-postgres"])
def test_every_test_of_the_project_passes_on_fresh_rows(
    target: str, builds: dict[str, Built]
) -> None:
    project = builds[target].project
    project.dbt("test", now=f"{TOMORROW}")
    assert {each["unique_id"].split(".")[0] for each in project.results} >= {"test", "unit_test"}
    assert {each["status"] for each in project.results} <= {"success", "pass"}
    assert "PASS freshness of compose.coverage" in project.dbt("source", "freshness")


# History.


def _state(account: Account) -> dict[str, dict[tuple[str, ...], tuple[Any, ...]]]:
    """What the snapshots see of one load: the values of each key."""
    rows = expected_rows(account)
    return {
        "deployments_history": {
            (row["id"],): (row["name"], row["customer_billing_code"] or None)
            for row in rows["deployments"]
        },
        "scalings_history": {
            (row["deployment_id"],): (int(row["allocated_units"]),)
            for row in rows["deployment_scalings"]
        },
        "access_history": {
            (row["deployment_id"], row["name"], user["id"], ""): (user["name"],)
            for row in rows["deployment_roles"]
            for user in row["users"]
        },
        "whitelist_history": {
            (row["deployment_id"], row["id"]): (row["ip"],) for row in rows["deployment_whitelist"]
        },
        "health_history": {
            (row["deployment_id"],): (row["summary"], int(row["alert_count"]))
            for row in rows["deployment_health"]
        },
    }


HISTORIES = {
    "deployments_history": "deployment_id, deployment_name, billing_code",
    "scalings_history": "deployment_id, allocated_units",
    "access_history": "deployment_id, role_name, user_id, team_id, user_name",
    "whitelist_history": "deployment_id, whitelist_id, ip",
    "health_history": "deployment_id, summary, alert_count",
}


@pytest.mark.parametrize("table", HISTORIES)
def test_the_history_shows_the_change(project: Project, table: str) -> None:
    before, after = (_state(account)[table] for account in (BEFORE, AFTER))
    expected = [
        (*key, *after[key], TOMORROW, None) for key in after if after[key] != before.get(key)
    ]
    for key, values in before.items():
        expected.append((*key, *values, TODAY, None if after.get(key) == values else TOMORROW))
    found = project.query(
        f"SELECT {HISTORIES[table]}, dbt_valid_from, dbt_valid_to FROM answers_history.{table}"  # noqa: S608
    )
    directly = [row for row in found if not row.get("team_id")]
    assert sorted(map(repr, expected)) == sorted(repr(tuple(row.values())) for row in directly)
    assert {row[-1] for row in expected} == {None, TOMORROW}
    assert any(row[-2] == TOMORROW for row in expected)


# Privacy.


def _all_values(project: Project, schema: str) -> set[str]:
    """Every value of every table that dbt has made, as text."""
    tables = project.query(
        "SELECT table_schema, table_name FROM information_schema.tables "  # noqa: S608
        f"WHERE table_schema LIKE '{schema}%'"
    )
    assert len(tables) > 25
    return {
        str(value)
        for table in tables
        for row in project.query(f"SELECT * FROM {table['table_schema']}.{table['table_name']}")  # noqa: S608
        for value in row.values()
    }


def personal_values(account: Account) -> set[str]:
    rows = expected_rows(account)
    found = {
        row[name]
        for row in rows["audit_events"]
        for name in ("user_id", "email", "ip", "user_agent")
    }
    found |= {
        row[name] for row in rows["deployment_recipes"] for name in ("source_user", "source_ip")
    }
    found |= {row[name] for row in rows["account_users"] for name in ("id", "name")}
    found |= {row["name"] for row in rows["deployment_portal_users"]}
    # The office's address is in whitelists too, which are not personal.
    return found - {None} - {row["ip"] for row in rows["deployment_whitelist"]}


@pytest.mark.parametrize("project", ["target-jsonl", "target-postgres"], indirect=True)
def test_a_salt_hashes_all_that_is_personal(project: Project) -> None:
    project = replace(project, salt="it's a salt")

    def hashed(value: str | None) -> str | None:
        return value and hashlib.sha256(f"{project.salt}{value}".encode()).hexdigest()

    project.dbt("build", *WITHOUT_TESTS, answers_schema="salted", now=f"{TOMORROW}")
    values = _all_values(project, "salted")
    personal = personal_values(AFTER)
    assert len(personal) > 25
    assert personal & values == set()
    text = "\n".join(values)
    assert not any(name in text for name in ("Ada Byron", "@northwind.example"))
    for mart, columns in {
        "access_review": ("user_id", "user_name", "email"),
        "deployment_timeline": ("user_id",),
    }.items():
        plain, salted = (
            [
                row
                for row in project.mart(mart, schema)
                if row.get("source") != "health_history" and row["deployment_id"] not in BEFORE.gone
            ]
            for schema in ("answers", "salted")  # which has no history of the day before
        )
        expected = [{**row, **{each: hashed(row[each]) for each in columns}} for row in plain]
        assert comparable(salted) == comparable(expected)


# JSONL files.


def test_of_several_loads_the_latest_rows_count(tmp_path: Path) -> None:
    project = behind_jsonl(tmp_path)
    folder = tmp_path / "out"
    folder.mkdir()

    def write(name: str, *rows: Row) -> None:
        with (folder / name).open("a") as file:
            file.writelines(f"{json.dumps(row)}\n" for row in rows)

    def rows(table: str, *columns: str) -> list[tuple[Any, ...]]:
        sql = f"SELECT {', '.join(columns)} FROM answers_staging.stg_compose__{table}"  # noqa: S608
        found = project.query(sql)
        return sorted(tuple(row.values()) for row in found)

    tables = ("deployments", "audit_events", "deployment_recipes", "deployment_health")
    select = ("run", "--select", *(f"+stg_compose__{table}" for table in tables))

    def read(time: str, **outcomes: str) -> None:
        """Write the coverage of a load: an outcome by stream, or by stream and deployment."""
        for scope, outcome in outcomes.items():
            stream, _, deployment_id = scope.partition("__")
            row = {"stream": stream, "deployment_id": deployment_id, "outcome": outcome}
            moment = f"2018-06-01T{time}:00.000Z"
            write(f"coverage-20180601T{time.replace(':', '')}00.jsonl", {**row, "read_at": moment})

    # Without times in their names: lines further down are later, and what is gone stays.
    write("deployments.jsonl", {"id": "d1", "name": "old"}, {"id": "d2", "name": "gone"})
    write("deployments.jsonl", {"id": "d1", "name": "new"})
    write("deployment_health.jsonl", {"deployment_id": "d1"}, {"deployment_id": "d2"})
    write("deployment_recipes.jsonl", {"id": "r1", "status": "running"})
    project.dbt(*select)
    assert rows("deployments", "deployment_id", "deployment_name") == [
        ("d1", "new"),
        ("d2", "gone"),
    ]
    assert rows("deployment_health", "deployment_id") == [("d1",), ("d2",)]
    assert rows("audit_events", "event_id") == []

    # With times and coverage: what a load read counts, what it could not read stays.
    write("deployments-20180601T120000.jsonl", {"id": "d1", "name": "newer"}, {"id": "d3"})
    write("deployment_recipes-20180601T120000.jsonl", {"id": "r1", "status": "complete"})
    write("deployment_health-20180601T120000.jsonl", {"deployment_id": "d3"})
    write("audit_events-20180601T120000.jsonl", {"id": "e1"})
    read(
        "12:00",
        deployments="read",
        deployment_health__d1="skipped",
        deployment_health__d3="read",
    )
    write("audit_events-20180601T121500.jsonl", {"id": "e2"})  # a load of the audit log alone
    read("12:15", audit_events="read")
    project.dbt(*select)
    assert rows("deployments", "deployment_id", "deployment_name") == [
        ("d1", "newer"),
        ("d3", None),
    ]
    assert rows("deployment_health", "deployment_id") == [("d1",), ("d3",)]
    assert rows("deployment_recipes", "recipe_id", "status") == [("r1", "complete")]
    assert rows("audit_events", "event_id") == [("e1",), ("e2",)]

    # Read, and nothing there.
    read("12:30", deployment_health__d1="read", deployment_health__d3="failed")
    project.dbt(*select)
    assert rows("deployment_health", "deployment_id") == [("d3",)]


def test_a_folder_without_files_is_an_error(tmp_path: Path) -> None:
    text = behind_jsonl(tmp_path).dbt("run", status=2)
    assert (
        f"no JSONL files of tap-compose in {tmp_path / 'out'}: load first, or change COMPOSE_FILES"
        in text
    )


# As a package.


def test_a_project_takes_it_as_a_package_beside_another_account(tmp_path: Path) -> None:
    """From a Git repository on this machine, without a network."""
    repository, mine = tmp_path / "repository", tmp_path / "mine"
    written = shutil.ignore_patterns(
        ".meltano", "logs", "output", "target", "*.duckdb*", ".user.yml"
    )
    shutil.copytree(PROJECT, repository / "examples" / "dbt", ignore=written)
    for command in (
        ["init", "--quiet"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "first"],
    ):
        subprocess.run(["git", *command], cwd=repository, check=True)
    package = {"git": str(repository), "subdirectory": "examples/dbt", "revision": "HEAD"}
    profile = {"type": "duckdb", "path": str(tmp_path / "compose.duckdb"), "schema": "mine"}
    mine.mkdir()
    for name, content in {
        "packages.yml": {"packages": [package]},
        "dbt_project.yml": {
            "name": "mine",
            "profile": "mine",
            "vars": {"compose_answers": {"compose_schema": "first"}},
        },
        "profiles.yml": {"mine": {"target": "dev", "outputs": {"dev": profile}}},
    }.items():
        (mine / name).write_text(json.dumps(content))

    project = behind_jsonl(tmp_path)
    for account in ("first", "second"):
        rows = {"accounts": [{"id": account}], "deployments": [{"id": f"of {account}"}]}
        project.fill(rows, schema=account)
    for command in (["deps"], ["build", *WITHOUT_TESTS]):
        dbt = ENVIRONMENTS / "dbt" / "bin" / "dbt"
        ran = subprocess.run([dbt, *command], cwd=mine, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout
    project.dbt("build", *WITHOUT_TESTS, answers_schema="other")
    for account, schema in (("first", "mine"), ("second", "other")):
        assert {row["account_id"] for row in project.mart("controls", schema)} == {account}
        history = project.mart("deployments_history", f"{schema}_history")
        assert [(row["deployment_id"], row["dbt_valid_to"]) for row in history] == [
            (f"of {account}", None)
        ]
