"""The controls of ``examples/dbt`` on made-up accounts, with rows worked out by hand.

``controls.yml`` has the account of the first test.
"""

from __future__ import annotations

from datetime import datetime
from itertools import count, product
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support import ROOT
from tests.support.dbt_runs import READ_AT, WITHOUT_TESTS, Project, new_project, source_tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.expected import Row

pytestmark = pytest.mark.slow

BUILD = ("build", "--select", "+controls", *WITHOUT_TESTS)
A_BACKUP = {
    "type": "daily",
    "status": "complete",
    "created_at": "2018-06-01 00:00:00",
    "is_restorable": True,
    "is_downloadable": False,
}


class MadeUp:
    """The rows of an account, and those that controls should have of it."""

    def __init__(self, **rows: list[Row]) -> None:
        self.rows: dict[str, list[Row]] = {name: [] for name in source_tables()} | rows
        self.expected: set[tuple[str | None, ...]] = set()
        self._numbers = count(1)

    def read(self, stream: str, deployment_id: str = "", http_status: int | None = None) -> None:
        """Note that a stream was read, or the status that it was refused with."""
        row: Row = {"stream": stream, "deployment_id": deployment_id, "read_at": READ_AT}
        if http_status:
            row |= {"outcome": "skipped", "http_status": http_status}
            row["reason"] = f"HTTP {http_status}"
        self.rows["coverage"].append({"outcome": "read", **row})

    def add(self, case: Row) -> None:
        """Add a deployment as in ``controls.yml``."""
        name = f"d{next(self._numbers)}"
        found = {"type": "postgresql", "created_at": "2017-01-01", "customer_billing_code": "CC"}
        found |= {"id": name, "name": f"name of {name}", "account_id": "a1", **case.pop("is", {})}
        for stream in ("deployments", "deployment_details"):
            columns = source_tables()[stream]
            self.rows[stream].append({key: found[key] for key in found if key in columns})
        for key, value in case.items():
            stream = f"deployment_{key}"
            if stream not in self.rows:
                self._expect(key, name, value)
            elif isinstance(value, int):
                self.read(stream, name, value)
            else:
                self.read(stream, name)
                self.rows[stream] += [self._row(stream, name, each) for each in value]

    def _row(self, stream: str, name: str, row: Row | str) -> Row:
        if isinstance(row, str):
            row = {"id": row, "ip": row}
        if stream == "deployment_backups":
            row = {"id": f"{name} {len(self.rows[stream])}", **A_BACKUP, **row}
        return {"deployment_id": name, **row}

    def _expect(self, control: str, name: str, found: str | list[str]) -> None:
        for text in [f"self: {found}"] if isinstance(found, str) else found:
            resource, status, *reason = text.split(": ", 2)
            resource = name if resource == "self" else resource
            row = (control, resource, name, status, reason[0] if reason else None)
            self.expected.add(row)


@pytest.fixture(scope="module", params=["target-duckdb", "target-postgres"])
def project(
    request: pytest.FixtureRequest,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Project:
    return new_project(request.param, new_database, tmp_path_factory.mktemp(request.param))


def build_and_check(project: Project, it: MadeUp, **variables: bool) -> None:
    """Build, and compare the rows of the rules and deployments that something is expected of."""
    project.dbt(*BUILD, **variables)
    names = ("control", "resource", "deployment_id", "status", "reason")
    tested = {(row[0], row[2]) for row in it.expected}
    rows = {tuple(row[name] for name in names) for row in project.mart("controls")}
    assert {row for row in rows if (row[0], row[2]) in tested} == it.expected


def test_each_rule_finds_what_was_worked_out_by_hand(project: Project) -> None:
    cases = yaml.safe_load((ROOT / "tests/examples/controls.yml").read_text())
    it = MadeUp(**cases["account"])
    for stream in it.rows:
        if not stream.startswith("deployment_"):
            it.read(stream)
    for case in cases["deployments"]:
        it.add(case)
    it.expected |= {("billed_and_listed", *row) for row in cases["billed_and_listed"]}
    it.add({"whitelist": [ip for ips in cases["entries"].values() for ip in ips]})
    last = it.rows["deployments"][-1]["id"]
    for status, ips in cases["entries"].items():
        for ip in ips:
            reasons = {"error": f"not an address or network: {ip}", "info": f"{ip} is private"}
            it.expected.add(("whitelist_entry_narrow", ip, last, status, reasons.get(status, ip)))

    project.fill(it.rows)
    build_and_check(project, it)

    rows = project.mart("controls")
    ids = {row["id"] for row in it.rows["deployments"]}
    rules = {row["control"] for row in rows} - {"billed_and_listed"}
    assert len(rules) == 14
    assert {(row["control"], row["deployment_id"]) for row in rows} >= {*product(rules, ids)}
    for row in rows:
        assert row["account_id"] in {"a1", "a2", "a3", None}
        assert row["deployment_name"] == (
            f"name of {row['deployment_id']}" if row["deployment_id"] in ids else None
        )
        is_sure = row["status"] in {"alarm", "ok", "info"}
        assert row["checked_at"] in {datetime.fromisoformat(READ_AT), *([] if is_sure else [None])}


def test_what_a_run_could_not_read_is_never_an_alarm(project: Project) -> None:
    """Account-level streams that were refused, rows from before, and deployments that are gone."""
    before = {"_sdc_extracted_at": "2018-05-31 12:00:00"}
    it = MadeUp(accounts=[{"id": "a1"}], account_users=[{"account_id": "a1", "id": "ada"}])
    for stream in ("accounts", "billables", "deployments"):
        it.read(stream)
    for stream in ("account_users", "teams", "audit_events"):
        it.read(stream, http_status=403)
    it.add(
        {
            "whitelist_closed": "ok",
            "whitelist_entry_narrow": ["198.51.100.7: ok: 198.51.100.7"],
            "backup_recent": "error: deployment_backups not read: HTTP 403",
            "version_supported": "skip: database_versions not loaded",
            "grantee_in_account": [
                "eve: skip: account_users not read",
                "self: error: teams not read: HTTP 403",
            ],
            "grantee_active": [
                "eve: error: audit_events not read: HTTP 403",
                "self: error: teams not read: HTTP 403",
            ],
            "two_admins": "error: teams not read: HTTP 403",
            "size_fits": "skip: deployment_scalings not loaded",
            "details": [],
            "whitelist": ["198.51.100.7", {"id": "deleted", "ip": "0.0.0.0/0", **before}],
            "portals": [{"id": "p"}],
            "backups": 403,
            "roles": [
                {"name": "admin", "users": [{"id": "eve"}]},
                {"name": "manager", "users": [{"id": "bob"}], **before},
            ],
            "team_roles": [],
        }
    )
    old = {"id": "old", "deployment_id": "d1", **A_BACKUP, "created_at": "2018-01-01", **before}
    it.rows["deployment_backups"].append(old)
    it.rows["deployments"].append({"id": "d2", **before})
    billed = {"id": "b", "account_id": "a1", "identifier": "d2", "start_at": "2017-01-01"}
    it.rows["billables"].append({**billed, "end_at": "9999-12-31"})
    it.expected.add(("billed_and_listed", "b", "d2", "alarm", "the deployment is gone"))
    project.fill(it.rows)
    build_and_check(project, it)


def test_without_coverage_only_rows_are_facts(project: Project) -> None:
    """A load of before there was coverage, without a stream and a column."""
    it = MadeUp(accounts=[{"id": "a1"}])
    it.add(
        {
            "healthy": "alarm: critical",
            "whitelist_closed": "skip: deployment_whitelist not loaded",
            "backup_recent": "skip: deployment_backups not loaded",
            "grantee_active": [
                "ada: skip: audit_events not loaded",
                "self: skip: deployment_team_roles not loaded, teams not loaded",
            ],
            "billing_code": "skip: customer_billing_code not loaded",
            "health": [{"summary": "critical"}],
            "portals": [{"id": "p"}],
            "roles": [{"name": "admin", "users": [{"id": "ada"}]}],
        }
    )
    project.fill(it.rows)
    project.run(
        "ALTER TABLE loaded.deployments DROP COLUMN customer_billing_code;"
        "DROP TABLE loaded.audit_events; DROP TABLE loaded.coverage"
    )
    build_and_check(project, it, using_audit_events=False, using_coverage=False)
    advice = "load the stream, or set the variable using_audit_events: false"
    assert advice in project.dbt(*BUILD, status=1, using_coverage=False)
