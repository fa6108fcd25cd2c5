"""The dbt project of ``examples/dbt``, on PostgreSQL and on DuckDB, against the sandbox's account.

What the marts should hold is worked out from the account in ``tests/support/expected_answers.py``,
not from the rows that were loaded.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import time
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from tap_compose.sandbox.data import NOW
from tap_compose.sandbox.made_up_account import Account, Size
from tap_compose.sandbox.quirks import Quirks
from tests.support import ROOT
from tests.support.dbt_runs import ADAPTERS, PROJECT, Project, new_project, on_duckdb
from tests.support.expected import expected_rows
from tests.support.expected_answers import Answers, Load
from tests.support.target_runs import (
    ENVIRONMENTS,
    ChangingAccount,
    Pipe,
    documented,
    settings_for_duckdb,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_compose.sandbox.data import Body
    from tests.support.expected import Row

pytestmark = pytest.mark.slow

MARTS = ("monthly_cost", "access_review", "deployment_timeline")


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
        billables = super().billables()
        replaced = {each["replaces_id"] for each in billables}
        for each in billables:
            if each["identifier"] in replaced:  # ends by what replaces it
                each["end_at"] = "9999-12-31T23:59:59.999Z"
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


LOADS = [
    Load(GrowingAccount(is_later=False), NOW.replace(tzinfo=None)),
    Load(GrowingAccount(is_later=True), NOW.replace(tzinfo=None) + timedelta(days=1)),
]


def marts_of(project: Project) -> dict[str, list[Row]]:
    return {name: project.mart(name) for name in MARTS}


@pytest.fixture(scope="module", params=ADAPTERS)
def started(
    request: pytest.FixtureRequest,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Project, dict[str, list[Row]]]:
    """The project after the first load and build, and its marts."""
    project = new_project(request.param, new_database, tmp_path_factory.mktemp(request.param))
    project.build(LOADS[0])
    return project, marts_of(project)


@pytest.fixture(scope="module")
def project(started: tuple[Project, dict[str, list[Row]]]) -> Project:
    """The project after the second load and build."""
    project, _ = started
    project.build(LOADS[1])
    return project


def _comparable(rows: list[Row]) -> list[str]:
    """Rows in one order and in words; a number is the same with more zeros behind its point."""
    return sorted(
        repr({name: _plain(value) for name, value in sorted(row.items())}) for row in rows
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:.8f}"
    return value


def _assert_same(found: dict[str, list[Row]], expected: dict[str, list[Row]]) -> None:
    for name in MARTS:
        found_rows, expected_rows = found[name], expected[name]
        if name == "deployment_timeline":  # dbt makes the ids of changes of health up
            found_rows = [
                {**row, "source_id": None} if row["source"] == "health_history" else row
                for row in found_rows
            ]
        assert _comparable(found_rows) == _comparable(expected_rows), name


def test_the_marts_tell_what_the_account_tells(
    started: tuple[Project, dict[str, list[Row]]],
) -> None:
    _, marts = started
    expected = Answers(LOADS[0]).all()
    assert all(expected.values())
    _assert_same(marts, expected)


def test_costs_are_the_same_everywhere(started: tuple[Project, dict[str, list[Row]]]) -> None:
    """In monthly_cost, in its facts, in FOCUS and by the query of docs/recipes.md.

    After the first load: JSONL files keep the rows of what is gone, and the query would count them.
    """
    project, marts = started
    now, months = LOADS[0].now, project.mart("billable_months")
    assert sum(row["cost"] or 0 for row in months) == sum(
        row["cost"] or 0 for row in marts["monthly_cost"]
    )
    focus = project.mart("focus_costs")
    assert {key for row in focus for key in row} >= FOCUS_COLUMNS
    found = {(row["x_BillableId"], row["BillingPeriodStart"].date()): row for row in focus}
    for row in months:
        other = found.pop((row["billable_id"], row["month"]), None)
        assert (other is None) == (row["cost"] is None)
        if other:
            code, cost = other["x_BillingCode"] or "none", other["BilledCost"]
            assert (code, cost) == (row["billing_code"], row["cost"])
            assert other["BillingPeriodEnd"].day == 1
    assert not found

    page = (ROOT / "docs" / "recipes.md").read_text().split("## Cost per billing code\n")[1]
    query = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)[0]
    schema = "main" if project.pipe.target == "target-jsonl" else "compose"
    rates = project.query(
        query.replace("CURRENT_TIMESTAMP AT TIME ZONE 'UTC'", f"TIMESTAMP '{now}'").replace(
            "compose.", f"{schema}."
        )
    )
    assert rates == project.query(
        "SELECT billing_code, sum(monthly_rate) AS amount, sum(active_billables) AS billables"
        " FROM answers.monthly_cost WHERE month = '2018-06-01' GROUP BY 1 ORDER BY 1"
    )


def test_the_marts_tell_what_has_changed(project: Project) -> None:
    expected = Answers(*LOADS).all()
    assert all(expected.values())
    for name, rows in Answers(LOADS[0]).all().items():
        assert _comparable(rows) != _comparable(expected[name])
    _assert_same(marts_of(project), expected)


def test_every_test_of_the_project_passes(project: Project) -> None:
    kinds = {each["unique_id"].split(".")[0] for each in project.results}
    assert kinds == {"model", "operation", "snapshot", "test", "unit_test"}
    assert all(each["status"] in {"success", "pass"} for each in project.results)


def test_what_was_loaded_just_now_is_fresh(project: Project) -> None:
    assert "PASS freshness of compose.coverage" in project.dbt("source", "freshness")


# History.


def _state(load: Load) -> dict[str, dict[tuple[str, ...], tuple[Any, ...]]]:
    """What the snapshots see of one load: the values of each key."""
    rows = expected_rows(load.account)
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
    before, after = (_state(load)[table] for load in LOADS)
    then, now = (load.now for load in LOADS)
    expected = [(*key, *after[key], now, None) for key in after if after[key] != before.get(key)]
    for key, values in before.items():
        expected.append((*key, *values, then, None if after.get(key) == values else now))
    found = project.query(
        f"SELECT {HISTORIES[table]}, dbt_valid_from, dbt_valid_to FROM answers_history.{table}"  # noqa: S608
    )
    directly = [row for row in found if not row.get("team_id")]
    assert sorted(map(repr, expected)) == sorted(repr(tuple(row.values())) for row in directly)
    assert {row[-1] for row in expected} == {None, now}
    assert any(row[-2] == now for row in expected)


# Privacy.


def _all_values(project: Project) -> set[str]:
    """Every value of every table that dbt has made, as text."""
    tables = project.query(
        "SELECT table_schema, table_name FROM information_schema.tables "
        "WHERE table_schema LIKE 'answers%'"
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


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_salt_hashes_all_that_is_personal(
    adapter: str, new_database: Callable[[], str], tmp_path: Path
) -> None:
    load = LOADS[0]
    project = new_project(adapter, new_database, tmp_path)
    project.salt = "it's a salt"

    def hashed(value: str | None) -> str | None:
        return value and hashlib.sha256(f"{project.salt}{value}".encode()).hexdigest()

    project.build(load)
    text = "\n".join(_all_values(project))
    personal = personal_values(load.account)
    assert len(personal) > 25
    assert {value for value in personal if value in text.split("\n")} == set()
    assert not any(name in text for name in ("Ada Byron", "@northwind.example"))

    expected = Answers(load).all()
    for name, columns in {
        "access_review": ("user_id", "user_name", "email"),
        "deployment_timeline": ("user_id",),
    }.items():
        for row in expected[name]:
            row.update({each: hashed(row[each]) for each in columns})
    _assert_same(marts_of(project), expected)


# JSONL files.


def test_of_several_loads_the_latest_rows_count(tmp_path: Path) -> None:
    project = on_duckdb(tmp_path)
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
    text = on_duckdb(tmp_path).dbt("run", status=2)
    assert (
        f"no JSONL files of tap-compose in {tmp_path / 'out'}: load first, or change COMPOSE_FILES"
        in text
    )


# Other ways to use it.


def test_tables_of_target_duckdb_give_the_same_controls(tmp_path: Path) -> None:
    found = []
    for target, config, settings in (
        ("target-jsonl", {"destination_path": "out", "do_timestamp_file": True}, {}),
        ("target-duckdb", documented("target-duckdb"), settings_for_duckdb()),
    ):
        folder = tmp_path / target
        folder.mkdir()
        project = on_duckdb(folder)
        project.pipe = Pipe(target, config, folder, settings)
        if target == "target-duckdb":
            del project.environment["COMPOSE_FILES"]
        for load in (0, 2):  # one deployment less
            project.pipe.load(ChangingAccount(load))
            time.sleep(1)  # both targets tell loads by seconds
        project.dbt("build", "--select", "+controls", "--exclude-resource-types", "unit_test")
        columns = "control, resource, deployment_name, account_id, status, checked_at IS NULL"
        found.append(project.query(f"SELECT {columns} FROM answers.controls ORDER BY ALL"))  # noqa: S608
        assert len({row["deployment_name"] for row in found[-1]} - {None}) == 3
    assert found[0] == found[1]


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

    project = on_duckdb(tmp_path)
    for account in ("first", "second"):
        rows = {"accounts": [{"id": account}], "deployments": [{"id": f"of {account}"}]}
        project.fill(rows, schema=account)
    for command in (["deps"], ["build"]):
        dbt = ENVIRONMENTS / "dbt" / "bin" / "dbt"
        ran = subprocess.run([dbt, *command], cwd=mine, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout
    project.dbt("build", answers_schema="other")
    for account, schema in (("first", "mine"), ("second", "other")):
        assert {row["account_id"] for row in project.mart("controls", schema)} == {account}
        history = project.mart("deployments_history", f"{schema}_history")
        assert [(row["deployment_id"], row["dbt_valid_to"]) for row in history] == [
            (f"of {account}", None)
        ]


# The page.


def with_samples(page: str, query: Callable[[str], list[Row]]) -> str:
    """A page with the result behind each of its queries."""

    def answered(block: re.Match[str]) -> str:
        rows = query(block[1])
        head = list(rows[0])
        lines = [
            head,
            ["---"] * len(head),
            *([_cell(each) for each in row.values()] for row in rows),
        ]
        table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        return f"```sql\n{block[1]}```\n\n{table}"

    return re.sub(r"```sql\n(.*?)```\n(?:\n(?:\|[^\n]*\n)+)?", answered, page, flags=re.DOTALL)


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def test_the_samples_of_the_page_are_from_the_sandbox(tmp_path: Path) -> None:
    project = on_duckdb(tmp_path)
    project.build(Load(Account(), NOW.replace(tzinfo=None)))
    page = (ROOT / "docs" / "answers.md").read_text()
    assert with_samples(page, project.query) == page
