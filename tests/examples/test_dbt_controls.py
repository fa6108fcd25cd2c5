"""The controls of ``examples/dbt`` on accounts made up for them, with rows worked out by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.dbt_runs import ADAPTERS, READ_AT, Project, new_project, source_tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.expected import Row

pytestmark = pytest.mark.slow

SEVERITIES = {
    "healthy": "critical",
    "whitelist_closed": "critical",
    "backup_recent": "high",
    "backup_usable": "high",
    "portal_tls": "high",
    "version_supported": "high",
    "grantee_in_account": "high",
    "backup_schedule": "medium",
    "backup_not_failing": "medium",
    "whitelist_entry_narrow": "medium",
    "grantee_active": "medium",
    "billed_and_listed": "medium",
    "two_admins": "low",
    "size_fits": "low",
    "billing_code": "low",
}
NOW = datetime.fromisoformat(READ_AT)


def ago(days: float = 0, **more: float) -> str:
    """A time before the run."""
    return str(NOW - timedelta(days=days, **more))


class MadeUp:
    """The rows of an account, and those that controls should have of it."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {name: [] for name in source_tables()}
        self.expected: set[tuple[str | None, ...]] = set()
        self._numbers = count(1)

    def read(self, *streams: str, of: str = "", outcome: str = "read", reason: str = "") -> None:
        """Note that streams were read, or why not."""
        self.rows["coverage"] += [
            {
                "stream": stream,
                "deployment_id": of,
                "outcome": outcome,
                "reason": reason or None,
                "read_at": READ_AT,
            }
            for stream in streams
        ]

    def case(
        self, expected: dict[str, str | list[str]], deployment: Row | None = None, **streams: Any
    ) -> str:
        """Add a deployment.

        Args:
            expected: Status and reason by control, such as ``ok: healthy``; a list of them, each
                with its resource in front, if it has several.
            deployment: Columns of it, or of its details.
            **streams: Its rows of a stream, or why that was refused. Others were not asked for.

        Returns:
            The deployment's id.
        """
        name = f"d{next(self._numbers)}"
        found = {"type": "postgresql", "created_at": ago(400), "customer_billing_code": "CC"}
        found |= {"id": name, "name": f"name of {name}", "account_id": "a1", **(deployment or {})}
        for stream in ("deployments", "deployment_details"):
            columns = source_tables()[stream]
            self.rows[stream].append({key: found[key] for key in found if key in columns})
        for short, rows in streams.items():
            stream = f"deployment_{short}"
            if isinstance(rows, str):
                self.read(stream, of=name, outcome="skipped", reason=rows)
            else:
                self.read(stream, of=name)
                self.rows[stream] += [{"deployment_id": name, **row} for row in rows]
        for control, texts in expected.items():
            for text in [f"self: {texts}"] if isinstance(texts, str) else texts:
                resource, status, *reason = text.split(": ", 2)
                resource = name if resource == "self" else resource
                self.expected.add((control, resource, name, status, reason[0] if reason else None))
        return name


BACKUPS = count()


def backup(status: str = "complete", kind: str = "daily", **more: Any) -> Row:
    row = {"id": f"{next(BACKUPS)}", "type": kind, "status": status, "created_at": ago(0.5)}
    return {**row, "is_restorable": True, "is_downloadable": False, **more}


def role(name: str, *users: str | None) -> Row:
    return {"name": name, "users": [{"id": each, "name": each and each.title()} for each in users]}


HALF = ("0.0.0.0/2", "64.0.0.0/3", "96.0.0.0/3", "64.0.0.0/4")
ENTRIES = {
    "198.51.100.7": "ok",
    "198.51.100.0/24": "ok",
    "198.51.0.0/23": "alarm",
    "198.51.100.7/8": "alarm",
    "0.0.0.0/0": "alarm",
    "2001:db8::/64": "ok",
    "2001:DB8::/63": "alarm",
    "2001:db8:0:0:1:2:3:4": "ok",
    "1:2:3:4:5:6:7::": "ok",
    "::/0": "alarm",
    "::ffff:0:0/96": "alarm",
    "0:0:0:0:0:ffff:c633:0/119": "alarm",
    "::ffff:198.51.100.0/120": "ok",
    "::ffff:198.51.100.0/24": "alarm",  # as IPv6
    "64:ff9b::198.51.100.7": "ok",
    "10.0.0.0/8": "info",
    "172.16.0.0/12": "info",
    "172.16.0.0/11": "alarm",
    "192.168.1.1": "info",
    "fd00::/8": "info",
    "fc00::/6": "alarm",
    **dict.fromkeys(
        [
            "",
            "*",
            "any",
            "office.example.com",
            "10.0.0.1-10.0.0.9",
            "1.2.3.4/33",
            "0.0.0.0/",
            "garbage/24",
            "1.2.3",
            "1.2.3.256",
            "1.2.3.4/24/1",
            "1.2.3.04",
            "1.2.3.4/255.255.255.0",
            ":::",
            "1::2::3",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4:5:6:7:8::",
            "12345::",
            "2001:db8::/129",
            "::1.2.3.256",
            "g::",
        ],
        "error",
    ),
}


def narrow(ip: str, status: str) -> str:
    reasons = {"error": f"not an address or network: {ip}", "info": f"{ip} is private"}
    return f"entry {ip}: {status}: {reasons.get(status, ip)}"


def made_up() -> MadeUp:
    it = MadeUp()
    it.rows["accounts"] += [{"id": "a1", "name": "One"}, {"id": "a2", "name": "Two"}]
    it.read(*(name for name in source_tables() if not name.startswith("deployment_")))
    _health(it)
    _whitelists(it)
    _backups(it)
    _versions_and_sizes(it)
    _people(it)
    _billables(it)
    return it


def _health(it: MadeUp) -> None:
    for summary, status in {
        "healthy": "ok",
        "warning": "alarm",
        "critical": "alarm",
        "unknown": "info",
        "waiting": "info",
    }.items():
        it.case({"healthy": f"{status}: {summary}"}, health=[{"summary": summary}])
    it.case({"healthy": "info: no summary"}, health=[{"summary": None}])
    it.case({"healthy": "error: deployment_health not read: HTTP 403"}, health="HTTP 403")
    it.case({"healthy": "skip: deployment_health not loaded"})


def _whitelists(it: MadeUp) -> None:
    portals = [{"id": "p", "name": "P", "type": "haproxy"}]
    ssh = [{"id": "s", "name": "S", "type": "ssh"}]
    it.case(
        {"whitelist_entry_narrow": [narrow(*each) for each in ENTRIES.items()]},
        whitelist=[{"id": f"entry {ip}", "ip": ip} for ip in ENTRIES],
    )
    all_open = "alarm: 0.0.0.0/0 lets in every address"
    unread = "error: deployment_whitelist not read: HTTP 401"
    for expected, ips, doors in (
        ("ok", ["198.51.100.0/24", "10.0.0.0/8"], portals),
        (all_open, ["198.51.100.7", "0.0.0.0/0"], portals),
        (all_open, ["0.0.0.0/0", "any"], portals),
        (all_open, ["0.0.0.0/0"], []),
        (all_open, ["0.0.0.0/0"], "HTTP 401"),
        ("alarm: ::/0 lets in every address", ["::/0"], portals),
        ("alarm: ::ffff:0:0/96 lets in every address", ["::ffff:0:0/96"], portals),
        ("alarm: its entries let in half of IPv4 or more", ["128.0.0.0/1"], portals),
        ("alarm: its entries let in half of IPv4 or more", HALF, portals),
        ("ok", HALF[:2] + HALF[3:], portals),
        ("error: 1 not an address or network", ["198.51.100.7", "any"], portals),
        ("alarm: no entry: every address is let in", [], portals),
        ("skip: no portal that a whitelist governs", [], []),
        ("skip: no portal that a whitelist governs", ["any"], ssh),
        ("skip: no portal that a whitelist governs", "HTTP 401", []),
        (unread, "HTTP 401", portals),
        ("error: deployment_portals not read: HTTP 401", [], "HTTP 401"),
        ("error: deployment_portals not read: HTTP 401", ["198.51.100.7"], "HTTP 401"),
    ):
        entries = ips if isinstance(ips, str) else [{"id": ip, "ip": ip} for ip in ips]
        narrow_rows = {"whitelist_entry_narrow": unread} if isinstance(ips, str) else {}
        if ips == []:
            narrow_rows = {"whitelist_entry_narrow": "skip: no entry"}
        it.case({"whitelist_closed": expected, **narrow_rows}, whitelist=entries, portals=doors)
    it.case({"whitelist_closed": "skip: deployment_whitelist not loaded"}, portals=portals)

    it.case({"portal_tls": "skip: no portal"}, portals=[])
    it.case({"portal_tls": "error: deployment_portals not read: HTTP 500"}, portals="HTTP 500")
    it.case(
        {
            "portal_tls": [
                "p1: ok: One: TLS",
                "p2: alarm: p2: no TLS",
                "p3: skip: p3: does not apply",
            ]
        },
        portals=[
            {"id": "p1", "name": "One", "ssl_enabled": True},
            {"id": "p2", "ssl_enabled": False},
            {"id": "p3", "ssl_enabled": None},
        ],
    )


def _backups(it: MadeUp) -> None:
    late, edge = ago(2, seconds=1), ago(2)
    newest = "newest complete backup: 2018-05-30 "
    for control, expected, deployment, rows in (
        ("recent", f"ok: {newest}12:00", {}, [backup(created_at=edge)]),
        ("recent", f"alarm: {newest}11:59", {}, [backup(created_at=late)]),
        (
            "recent",
            f"alarm: {newest}11:59",
            {},
            [backup(created_at=late), backup(created_at="2099-01-01"), backup("failed")],
        ),
        ("recent", "alarm: no complete backup", {}, [backup("failed"), backup("running")]),
        ("recent", "alarm: no complete backup", {"created_at": None}, []),
        ("recent", "alarm: no complete backup", {"created_at": late}, []),
        ("recent", "skip: the deployment is too new", {"created_at": edge}, []),
        ("recent", "info: the complete backup has no date", {}, [backup(created_at=None)]),
        ("usable", "ok", {}, [backup()]),
        ("usable", "ok", {}, [backup(is_restorable=None, is_downloadable=True)]),
        (
            "usable",
            "alarm: can be neither restored nor downloaded",
            {},
            [backup(is_restorable=False), backup(created_at=late)],
        ),
        (
            "usable",
            "info: is_restorable or is_downloadable is null",
            {},
            [backup(is_restorable=False, is_downloadable=None)],
        ),
        ("usable", "skip: no complete backup", {}, [backup("failed")]),
        (
            "schedule",
            "ok",
            {},
            [
                backup(kind="weekly", created_at=ago(8)),
                backup(kind="monthly", created_at=ago(32)),
            ],
        ),
        ("schedule", "alarm: overdue: weekly, monthly", {}, [backup()]),
        (
            "schedule",
            "alarm: overdue: monthly",
            {},
            [
                backup(kind="weekly", created_at=ago(8)),
                backup(kind="monthly", created_at=ago(32, seconds=1)),
            ],
        ),
        ("schedule", "ok", {"created_at": ago(8)}, []),
        ("schedule", "alarm: overdue: weekly", {"created_at": ago(9)}, []),
        ("schedule", "info: the deployment has no date", {"created_at": None}, []),
        (
            "schedule",
            "alarm: overdue: weekly",
            {"created_at": None},
            [backup(kind="weekly", created_at=ago(9))],
        ),
        ("not_failing", "ok", {}, []),
        ("not_failing", "ok", {}, [backup("failed"), backup()]),
        ("not_failing", "ok", {}, [backup("failed", created_at="2099-01-01")]),
        (
            "not_failing",
            "alarm: failing: daily, weekly",
            {},
            [
                backup("failed"),
                backup(created_at=ago(0.6)),
                backup("failed", "weekly"),
                backup(kind="monthly"),
            ],
        ),
    ):
        it.case({f"backup_{control}": expected}, deployment, backups=rows)
    refused = "error: deployment_backups not read: HTTP 403"
    it.case(
        {f"backup_{each}": refused for each in ("recent", "usable", "schedule", "not_failing")},
        backups="HTTP 403",
    )


def _versions_and_sizes(it: MadeUp) -> None:
    offered = {"9.4": "deprecated", "9.6": "stable", "10": "beta", "11": "alpha", "12": None}
    it.rows["database_versions"] += [
        {"application": "postgresql", "version": version, "status": status}
        for version, status in offered.items()
    ]
    transition = {"application": "postgresql", "from_version": "9.4", "to_version": "9.6"}
    ways = [{**transition, "method": each} for each in ("in_place", "restore")]
    ways.append({**transition, "to_version": "9.5", "method": "restore"})
    for version, expected, upgrades in (
        ("9.6", "ok: 9.6 is stable", []),
        ("9.4", "alarm: 9.4 is deprecated; upgrades: 9.5, 9.6", ways),
        ("9.4", "alarm: 9.4 is deprecated; no upgrade known", "HTTP 403"),
        ("10", "alarm: 10 is beta; no upgrade known", []),
        ("11", "alarm: 11 is alpha; no upgrade known", []),
        ("9.1", "alarm: 9.1 is no longer offered; no upgrade known", []),
        ("12", "info: 12 is of unknown status", []),
        (None, "info: version is null", []),
    ):
        it.case(
            {"version_supported": expected}, {"version": version}, details=[], versions=upgrades
        )
    it.case(
        {"version_supported": "error: deployment_details not read: HTTP 401"},
        {"version": "9.1"},
        details="HTTP 401",
    )

    for used, allocated, minimum, status in (
        (1, 2, 1, "ok"),
        (2, 2, 1, "alarm"),
        (3, 2, None, "alarm"),
        (1, 3, 1, "alarm"),
        (1, 3, 3, "ok"),
        (1, 3, None, "info"),
        (None, 3, 1, "info"),
        (1, None, 1, "info"),
    ):
        shown = ["?" if each is None else each for each in (used, allocated, minimum)]
        it.case(
            {"size_fits": "{}: {} of {} units used, minimum {}".format(status, *shown)},
            scalings=[{"used_units": used, "allocated_units": allocated, "minimum_units": minimum}],
        )
    it.case({"size_fits": "error: deployment_scalings not read: HTTP 403"}, scalings="HTTP 403")
    for code, expected in {
        None: "alarm: no billing code",
        " ": "alarm: no billing code",
        "CC": "ok: CC",
    }.items():
        it.case({"billing_code": expected}, {"customer_billing_code": code})


def _people(it: MadeUp) -> None:
    it.rows["account_users"] += [
        {"account_id": "a1", "id": each, "name": each.title()} for each in ("ada", "bob", "cat")
    ] + [{"account_id": "a2", "id": "dan", "name": "Dan"}]
    it.rows["audit_events"] += [
        {"id": "e1", "account_id": "a1", "user_id": "ada", "created_at": ago(90)},
        {"id": "e2", "account_id": "a1", "user_id": "bob", "created_at": ago(90, seconds=1)},
        {"id": "e3", "account_id": "a1", "user_id": "bob", "created_at": None},
        {"id": "e4", "account_id": "a2", "user_id": "dan", "created_at": ago(10)},
    ]
    it.rows["teams"].append({"id": "t1", "name": "Ops", "users": [{"id": "ada", "name": "Ada"}]})
    nothing: dict[str, Any] = {"roles": [], "team_roles": []}
    ops = {"name": "admin", "teams": [{"id": "t1", "name": "Ops"}]}
    members = {"name": "admin", "teams": [{"id": "t2", "users": [{"id": "cat"}]}]}

    def team_and(*roles: Row) -> dict[str, Any]:
        return {"roles": list(roles), "team_roles": [ops]}

    it.case(
        {
            "grantee_in_account": [
                "ada: ok: Ada",
                "bob: ok: Bob",
                "dan: alarm: Dan is not a user of the account",
                ": error: a user without id",
            ],
            "grantee_active": [
                "ada: ok: Ada: last event 2018-03-03 12:00",
                "bob: alarm: Bob: last event 2018-03-03 11:59",
                "dan: ok: Dan: last event 2018-05-22 12:00",
                ": error: a user without id: no event",
            ],
            "two_admins": "ok: 2 admins",
        },
        **team_and(role("admin", "bob", "bob"), role("manager", "bob", "dan", None, None)),
    )
    it.case(
        {
            "grantee_in_account": ["eve: alarm: Eve is not a user of the account", "cat: ok: cat"],
            "grantee_active": ["eve: alarm: Eve: no event", "cat: alarm: cat: no event"],
            "two_admins": "alarm: only cat",
        },
        roles=[role("developer", "eve")],
        team_roles=[members],
    )
    it.case(
        {
            "grantee_in_account": ["ada: alarm: Ada is not a user of the account"],
            "grantee_active": ["ada: ok: Ada: last event 2018-03-03 12:00"],
            "two_admins": "alarm: only Ada",
        },
        {"account_id": "a2"},
        **team_and(),
    )
    it.case(
        {"grantee_active": ["eve: skip: Eve: no event in a log that is shorter"]},
        {"account_id": "a2"},
        roles=[role("developer", "eve")],
        team_roles=[],
    )
    it.case(
        {"grantee_in_account": ["ada: skip: the account is unknown"]},
        {"account_id": None},
        roles=[role("developer", "ada")],
        team_roles=[],
    )
    none = "info: no admin is named; the API does not list owners"
    it.case(
        {
            "grantee_in_account": "skip: no role",
            "grantee_active": "skip: no role",
            "two_admins": none,
        },
        **nothing,
    )
    refused = "error: deployment_roles not read: HTTP 403"
    it.case(
        {
            "grantee_in_account": [f"self: {refused}", "ada: ok: Ada"],
            "two_admins": refused,
        },
        roles="HTTP 403",
        team_roles=[ops],
    )
    it.case(
        {"two_admins": "ok: 2 admins"}, roles=[role("admin", "ada", "bob")], team_roles="HTTP 403"
    )


def _billables(it: MadeUp) -> None:
    listed = it.case({})
    it.rows["deployment_logfiles"].append({"id": "l", "deployment_id": listed, "capsule_id": "c1"})
    it.rows["deployment_alerts"].append({"id": "l", "deployment_id": "gone", "capsule_id": "c2"})
    it.rows["audit_events"].append(
        {"id": "e5", "account_id": "a1", "deployment_id": "gone", "created_at": ago(200)}
    )
    for name, identifier, deployment_id, status, reason in (
        ("b1", listed, listed, "ok", None),
        ("b2", "c1", listed, "ok", None),
        ("b3", "gone", "gone", "alarm", "the deployment is gone"),
        ("b4", "c2", "gone", "alarm", "the deployment is gone"),
        ("b5", "x", None, "info", "unknown identifier: x"),
        ("b6", None, None, "info", "unknown identifier: null"),
    ):
        row = {"id": name, "account_id": "a1", "identifier": identifier, "start_at": ago(300)}
        it.rows["billables"].append({**row, "end_at": "9999-12-31"})
        it.expected.add(("billed_and_listed", name, deployment_id, status, reason))
    it.rows["billables"].append({**row, "id": "b7", "end_at": ago(1)})  # billed no more
    it.expected.add(("billed_and_listed", "a2", None, "skip", "no current billable"))


@pytest.fixture(scope="module", params=ADAPTERS)
def project(
    request: pytest.FixtureRequest,
    new_database: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Project:
    return new_project(request.param, new_database, tmp_path_factory.mktemp(request.param))


BUILD = ("build", "--select", "+controls", "--exclude-resource-types", "test", "unit_test")


def controls(project: Project, it: MadeUp) -> list[Row]:
    project.fill(it.rows)
    project.dbt(*BUILD)
    return project.mart("controls")


def as_tuples(rows: list[Row]) -> set[tuple[str | None, ...]]:
    names = ("control", "resource", "deployment_id", "status", "reason")
    return {tuple(row[name] for name in names) for row in rows}


def test_each_rule_finds_what_was_worked_out_by_hand(project: Project) -> None:
    it = made_up()
    rows = controls(project, it)
    tested = {(row[0], row[2]) for row in it.expected}
    found = {row for row in as_tuples(rows) if (row[0], row[2]) in tested}
    assert found == it.expected
    for row in rows:
        assert row["severity"] == SEVERITIES[row["control"]]
        assert row["account_id"] in {"a1", "a2", None}
        assert (row["deployment_name"] or "gone") in {f"name of {row['deployment_id']}", "gone"}
        assert row["checked_at"] in {NOW, None}
    ids = {row["id"] for row in it.rows["deployments"]}
    rules = {rule for rule in SEVERITIES if rule != "billed_and_listed"}
    assert {(row["control"], row["deployment_id"]) for row in rows} >= {
        (rule, each) for rule in rules for each in ids
    }
    assert len({(row["control"], row["deployment_id"], row["resource"]) for row in rows}) == len(
        rows
    )


def test_what_a_run_could_not_read_is_never_an_alarm(project: Project) -> None:
    """Account-level streams that were refused, rows from before, and a deployment that is gone."""
    it = MadeUp()
    it.rows["accounts"].append({"id": "a1", "name": "One"})
    it.read("accounts", "billables", "deployments")
    it.read("account_users", "teams", outcome="skipped", reason="HTTP 403")
    it.read("audit_events", outcome="failed", reason="HTTP 500")
    it.rows["account_users"].append({"account_id": "a1", "id": "ada", "name": "Ada"})
    before = {"_sdc_extracted_at": ago(1)}
    it.case(
        {
            "whitelist_closed": "ok",
            "whitelist_entry_narrow": ["kept: ok: 198.51.100.7"],
            "backup_recent": "error: deployment_backups not read: HTTP 403",
            "version_supported": "skip: database_versions not loaded",
            "grantee_in_account": [
                "eve: skip: account_users not read",
                "self: error: teams not read: HTTP 403",
            ],
            "grantee_active": [
                "eve: error: audit_events not read: HTTP 500",
                "self: error: teams not read: HTTP 403",
            ],
            "two_admins": "error: teams not read: HTTP 403",
            "size_fits": "skip: deployment_scalings not loaded",
        },
        {"version": "9.1"},
        details=[],
        whitelist=[
            {"id": "kept", "ip": "198.51.100.7"},
            {"id": "deleted", "ip": "0.0.0.0/0", **before},
        ],
        portals=[{"id": "p", "type": "haproxy"}],
        backups="HTTP 403",
        roles=[role("admin", "eve"), {**role("manager", "bob"), **before}],
        team_roles=[],
    )
    it.rows["deployment_backups"].append(
        {**backup(created_at=ago(30)), "deployment_id": "d1", **before}
    )
    it.rows["deployments"].append({"id": "d2", "name": "gone", **before})
    it.rows["billables"].append(
        {
            "id": "b",
            "identifier": "d2",
            "start_at": ago(9),
            "end_at": "9999-12-31",
            "account_id": "a1",
        }
    )
    it.expected.add(("billed_and_listed", "b", "d2", "alarm", "the deployment is gone"))
    rows = controls(project, it)
    tested = {row[0] for row in it.expected}
    assert {row for row in as_tuples(rows) if row[0] in tested} == it.expected


def test_without_coverage_only_rows_are_facts(project: Project) -> None:
    """A load of before there was coverage, without a stream and a column."""
    it = MadeUp()
    it.rows["accounts"].append({"id": "a1", "name": "One"})
    it.case(
        {
            "healthy": "alarm: critical",
            "whitelist_closed": "skip: deployment_whitelist not loaded",
            "backup_recent": "skip: deployment_backups not loaded",
            "grantee_active": [
                "ada: skip: audit_events not loaded",
                "self: skip: deployment_team_roles not loaded, teams not loaded",
            ],
            "billing_code": "skip: customer_billing_code not loaded",
        },
        health=[{"summary": "critical"}],
        portals=[{"id": "p"}],
        roles=[role("admin", "ada")],
        team_roles=[],
    )
    it.rows["coverage"].clear()
    project.fill(it.rows)
    project.run(
        "ALTER TABLE loaded.deployments DROP COLUMN customer_billing_code;"
        "DROP TABLE loaded.audit_events; DROP TABLE loaded.coverage"
    )
    project.dbt(*BUILD, using_audit_events=False, using_coverage=False)
    tested = {row[0] for row in it.expected}
    rows = as_tuples(project.mart("controls"))
    assert {row for row in rows if row[0] in tested} == it.expected
    assert "load the stream, or set the variable using_audit_events: false" in project.dbt(
        *BUILD, status=1
    )
