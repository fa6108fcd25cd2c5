"""The report of ``examples/dbt``, opened in a real browser and compared with the marts."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from tap_compose.sandbox.data import NOW
from tap_compose.sandbox.made_up_account import Account
from tests.support.dbt_runs import PROJECT, Project, on_duckdb
from tests.support.expected_answers import Load
from tests.support.target_runs import ENVIRONMENTS
from tools.browser import CHROMEDRIVER, CHROMIUM, Browser, browser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

MARTS = ("controls", "monthly_cost", "access_review", "deployment_timeline")

TABLES = """
return Object.fromEntries([...document.querySelectorAll(".scroll")].map(box => [
    box.getAttribute("aria-label"),
    [...box.querySelectorAll("tr")].map(row => [...row.children].map(cell => cell.textContent)),
]));
"""
TITLES = "return [...document.querySelectorAll('h2')].map(each => each.textContent)"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The answers of the demo."""
    project = on_duckdb(tmp_path_factory.mktemp("report"))
    project.build(Load(Account(), NOW.replace(tzinfo=None)))
    return project


@pytest.fixture(scope="module")
def page(project: Project) -> Path:
    """The report of the demo."""
    return write_report(answers_of(project))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM or not CHROMEDRIVER:
        pytest.skip("no browser: install chromium and chromium-driver")
    with browser() as started:
        yield started


def answers_of(project: Project) -> Path:
    return project.folder / "compose.duckdb"


def write_report(answers: Path, salt: str = "") -> Path:
    page = answers.with_suffix(".html")
    process = run_report(answers, page, salt)
    assert process.returncode == 0, process.stderr
    assert process.stdout + process.stderr == ""
    return page


def run_report(answers: Path, page: Path, salt: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ENVIRONMENTS / "dbt" / "bin" / "python", PROJECT / "report.py", page],
        env={**os.environ, "COMPOSE_ANSWERS": str(answers), "COMPOSE_HASH_SALT": salt},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def changed(project: Project, folder: Path, *statements: str) -> Path:
    """The answers after some statements."""
    path = folder / "changed.duckdb"
    shutil.copy(answers_of(project), path)
    with duckdb.connect(str(path)) as connection:
        connection.execute("USE answers")
        for statement in statements:
            connection.execute(statement)
    return path


# Figures.


def shown(value: Any) -> str:
    return "–" if value is None else f"{value:,.2f}" if isinstance(value, float) else str(value)  # noqa: RUF001


def test_every_table_shows_what_the_marts_hold(
    project: Project, page: Path, chromium: Browser
) -> None:
    chromium.open(page)
    tables = {title: rows[1:] for title, rows in chromium.run(TABLES).items()}
    expected = {
        "Alarms": "SELECT severity, control, deployment_name, reason FROM answers.controls"
        " WHERE status = 'alarm'",
        "All controls": "SELECT control, severity, sum(status = 'alarm'), sum(status = 'error'),"
        " sum(status = 'skip'), sum(status = 'info'), sum(status = 'ok')"
        " FROM answers.controls GROUP BY 1, 2",
        "Rate by billing code": """
            SELECT billing_code, now::DOUBLE, before::DOUBLE, (now - before)::DOUBLE FROM (
                SELECT billing_code, sum(if(month = '2018-06-01', monthly_rate, 0)) AS now,
                    sum(if(month = '2018-05-01', cost, 0)) AS before
                FROM answers.monthly_cost WHERE month >= '2018-05-01' GROUP BY 1
            )""",
        "Deployments that a person has a role on": """
            SELECT coalesce(user_name, 'user ' || right(user_id, 8)),
                count(DISTINCT deployment_id) FILTER (role_name IN ('admin', 'developer')),
                count(DISTINCT deployment_id) FILTER (role_name IN ('admin', 'manager')),
                count(DISTINCT deployment_id),
                count(DISTINCT deployment_id) FILTER (NOT is_direct),
                if(bool_and(is_account_user), 'yes', 'no'), any_value(days_since_last_event)
            FROM (
                SELECT *, bool_or(team_id IS NULL) OVER each_deployment AS is_direct
                FROM answers.access_review
                WINDOW each_deployment AS (PARTITION BY user_id, deployment_id)
            ) GROUP BY user_id, user_name""",
    }
    for title, query in expected.items():
        rows = [[shown(value) for value in row.values()] for row in project.query(query)]
        assert sorted(tables[title]) == sorted(rows), title
    severities = ["critical", "high", "medium", "low"]
    places = [severities.index(row[0]) for row in tables["Alarms"]]
    assert places == sorted(places)
    months = tables["Cost of the last 12 full months"]
    assert [row[0] for row in months][::11] == ["May 2018", "Jun 2017"]
    totals = project.query(
        "SELECT sum(cost)::DOUBLE AS total FROM answers.monthly_cost"
        " WHERE month BETWEEN '2017-06-01' AND '2018-05-01' GROUP BY month ORDER BY month DESC"
    )
    assert [row[-1] for row in months] == [shown(row["total"]) for row in totals]
    rates = [float(row[2].replace(",", "")) for row in tables["Rate by deployment"]]
    assert sum(rates) == pytest.approx(1525.55)
    assert rates == sorted(rates, reverse=True)
    entries = tables["The latest entries, without backups"]
    assert len(entries) == 20
    assert [row[0] for row in entries] == sorted((row[0] for row in entries), reverse=True)


def test_every_title_states_the_finding(project: Project, page: Path, chromium: Browser) -> None:
    chromium.open(page)
    ((checks, alarms, severe, unknown),) = (
        row.values()
        for row in project.query(
            "SELECT count(*), sum(status = 'alarm'),"
            " sum(status = 'alarm' AND severity IN ('critical', 'high')),"
            " sum(status IN ('error', 'skip')) FROM answers.controls"
        )
    )
    ((entries, alerts),) = (
        row.values()
        for row in project.query(
            "SELECT count(*), sum(what = 'alert') FROM answers.deployment_timeline"
            " WHERE happened_at > '2018-05-02 12:00:00'"
        )
    )
    found = f"{alarms} alarms, {severe} of them critical or high"
    assert chromium.run(TITLES) == [
        f"{found}; {unknown} of {checks} checks were not assessed",
        "1,525.55 USD per month, +3% against the cost of last month; 10% without a billing code",
        "8 people can read data, 4 can configure; 1 is no user of the account",
        f"{entries} entries in the timeline of the last 30 days, {alerts} alert among them",
    ]
    assert chromium.run(TITLES.replace("h2", "nav a")) == chromium.run(TITLES)


# How it is shown.

CONTRASTS = """
const style = getComputedStyle(document.documentElement);
const light = name => {
    const hex = style.getPropertyValue(name).trim().replace(/^#(.)(.)(.)$/, "#$1$1$2$2$3$3");
    const parts = [1, 3, 5].map(place => parseInt(hex.slice(place, place + 2), 16) / 255)
        .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
};
const contrast = (one, other) => {
    const [dark, bright] = [light(one), light(other)].sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
};
return ["ink bar", "ink shade", "soft paper", "bad paper", "link shade"].map(pair => {
    const [one, other] = pair.split(" ");
    return contrast(`--${one}`, `--${other}`);
});
"""


@pytest.mark.parametrize("width", [390, 1200], ids=["on a phone", "on a laptop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read(page: Path, chromium: Browser, width: int, scheme: str) -> None:
    chromium.open(page, width=width, scheme=scheme)
    assert chromium.console() == []
    assert chromium.requests() == [page.as_uri()]
    assert chromium.run("return document.documentElement.scrollWidth") == width
    background = chromium.run("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    assert min(chromium.run(CONTRASTS)) > 4.5


def test_it_can_be_read_without_seeing_it(page: Path, chromium: Browser) -> None:
    chromium.open(page)
    assert chromium.run("return document.documentElement.lang") == "en"
    assert chromium.run("return document.title") == "Compose account, 2018-06-01 12:00 UTC"
    levels = chromium.run(
        "return [...document.querySelectorAll('h1, h2, h3, h4')].map(each => +each.tagName[1])"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert chromium.run("return document.querySelectorAll('th:not([scope])').length") == 0


# What it is made from.

HOSTILE = (
    "<script>document.title = 1</script><img src=x onerror='document.title = 2'>&amp;\"$1{{ 7 }}"
)


def test_text_is_not_markup(project: Project, tmp_path: Path, chromium: Browser) -> None:
    columns = {
        "controls": ("control", "deployment_name", "reason"),
        "monthly_cost": ("billing_code", "deployment_name", "sku"),
        "access_review": ("user_name", "email", "deployment_name", "team_name", "last_event"),
        "deployment_timeline": ("deployment_name", "detail", "status"),
    }
    hostile = "'" + HOSTILE.replace("'", "''") + "'"
    statements = [
        f"UPDATE {mart} SET {name} = {hostile} || {name}"  # noqa: S608
        for mart, names in columns.items()
        for name in names
    ]
    page = write_report(changed(project, tmp_path, *statements))
    chromium.open(page)
    assert chromium.console() == []
    assert chromium.requests() == [page.as_uri()]
    assert chromium.run("return document.title") == "Compose account, 2018-06-01 12:00 UTC"
    assert chromium.run("return document.querySelectorAll('script, img').length") == 0
    assert chromium.run("return document.documentElement.scrollWidth") == 1200
    tables = chromium.run(TABLES)
    assert all(cell.startswith(HOSTILE) for cell in tables["Alarms"][1][1:])
    assert tables["Cost of the last 12 full months"][0][1].startswith(HOSTILE)
    assert tables["Rate by deployment"][1][0].startswith(HOSTILE)
    assert tables["Deployments that a person has a role on"][1][0] == f"{HOSTILE}Ada Byron"


def test_an_empty_account_has_an_empty_report(
    project: Project, tmp_path: Path, chromium: Browser
) -> None:
    page = write_report(changed(project, tmp_path, *(f"DELETE FROM {mart}" for mart in MARTS)))  # noqa: S608
    chromium.open(page)
    assert chromium.run(TITLES) == [
        "0 alarms, 0 of them critical or high; 0 of 0 checks were not assessed",
        "0.00 per month",
        "0 people can read data, 0 can configure",
        "0 entries in the timeline of the last 30 days, 0 alerts among them",
    ]
    assert chromium.run(TABLES) == {}


def test_equal_empty_and_unknown_names_stay_apart(
    project: Project, tmp_path: Path, chromium: Browser
) -> None:
    page = write_report(
        changed(
            project,
            tmp_path,
            *(
                f"UPDATE {mart} SET deployment_name = CASE WHEN deployment_name LIKE 'prod-s%'"  # noqa: S608
                " THEN 'same' WHEN deployment_name LIKE '%feed' THEN ' ' ELSE deployment_name END"
                for mart in MARTS
            ),
            "UPDATE access_review SET user_name = 'Same Name'"
            " WHERE user_name IN ('Ada Byron', 'Jim Gray')",
            "UPDATE access_review SET user_id = NULL, is_account_user = NULL"
            " WHERE user_name = 'Rob Field'",
            "UPDATE access_review SET account_id = 'another' WHERE deployment_name = 'prod-config'",
            "UPDATE monthly_cost SET billing_code = 'CC-3', monthly_rate = NULL, cost = NULL,"
            " billables_without_amount = 1 WHERE deployment_name = 'prod-queue'",
        )
    )
    ids = {row["deployment_name"]: row["deployment_id"] for row in project.mart("access_review")}
    chromium.open(page)
    tables = chromium.run(TABLES)
    names = {row[0] for row in tables["Entries by deployment"]}
    assert {each for each in names if each.startswith(("same", "deployment "))} == {
        *(f"same {ids[f'prod-{name}'][-8:]}" for name in ("search", "sessions", "shop")),
        *(f"deployment {ids[f'{name}-feed'][-8:]}" for name in ("prod", "staging")),
    }
    people = tables["Deployments that a person has a role on"]
    assert people[0][1] == "account"
    same = [row[0] for row in people if row[0].startswith("Same Name ")]
    assert (len(same), len(set(same))) == (3, 2)  # one of them is in two accounts
    (rob,) = (row for row in people if row[0] == "Rob Field (no id)")
    assert rob[6] == "not read"
    assert ["CC-3", "0.00", "0.00", "0.00"] in tables["Rate by billing code"]
    assert "1 billable has no amount." in page.read_text()


@pytest.mark.parametrize("mart", MARTS)
@pytest.mark.parametrize(
    "statement",
    [
        'COMMENT ON TABLE {} IS \'{{"build": "of yesterday", "now": "2018-05-31 12:00:00"}}\'',
        "COMMENT ON TABLE {} IS NULL",
        "DROP TABLE {}",
    ],
)
def test_tables_of_different_builds_are_refused(
    project: Project, tmp_path: Path, mart: str, statement: str
) -> None:
    page = tmp_path / "answers.html"
    process = run_report(changed(project, tmp_path, statement.format(mart)), page)
    assert process.returncode == 1
    assert process.stderr.startswith("cannot write the report: the tables are not of one build")
    assert process.stderr.endswith("; run dbt build again, for all models\n")
    assert not page.exists()


def test_without_answers_there_is_no_report(tmp_path: Path) -> None:
    page = tmp_path / "answers.html"
    process = run_report(tmp_path / "missing.duckdb", page)
    assert process.returncode == 1
    assert re.fullmatch(
        r"cannot write the report: .*missing\.duckdb.*; run dbt build first\n", process.stderr
    )
    assert not page.exists()


def test_with_a_salt_it_shows_the_ends_of_hashes(
    project: Project, tmp_path: Path, chromium: Browser
) -> None:
    page = tmp_path / "refused.html"
    process = run_report(answers_of(project), page, "a salt")
    assert process.returncode == 1
    assert process.stderr == (
        "cannot write the report: COMPOSE_HASH_SALT is set, but the answers hold names;"
        " run dbt build with it first\n"
    )
    assert not page.exists()

    ada = hashlib.sha256(b"Ada Byron").hexdigest()
    hashed = changed(
        project,
        tmp_path,
        "UPDATE access_review SET user_id = sha256(user_id), user_name = sha256(user_name)",
        "UPDATE deployment_timeline SET user_id = sha256(user_id)",
        f"UPDATE controls SET reason = 'of {ada}' WHERE status = 'alarm'",  # noqa: S608
    )
    chromium.open(write_report(hashed, "a salt"))
    tables = chromium.run(TABLES)
    users = {row["user_id"] for row in project.mart("access_review")}
    ends = {f"user {hashlib.sha256(user.encode()).hexdigest()[-8:]}" for user in users}
    assert {row[0] for row in tables["Deployments that a person has a role on"][1:]} == ends
    assert {row[3] for row in tables["Alarms"][1:]} == {f"of user {ada[-8:]}"}
