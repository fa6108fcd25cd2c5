"""The answers of the demo, in docs/answers.md and in the report in a real browser."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from tap_compose.sandbox.data import NOW
from tap_compose.sandbox.made_up_account import Account
from tests.support import ROOT
from tests.support.dbt_runs import PROJECT, Project, behind_jsonl
from tests.support.target_runs import ENVIRONMENTS
from tools.browser import CHROMEDRIVER, CHROMIUM, Browser, browser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.expected import Row

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
    project = behind_jsonl(tmp_path_factory.mktemp("report"))
    project.build(Account(), NOW.replace(tzinfo=None))
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
    assert run_report(answers, page, salt) == (0, "")
    return page


def refusal(answers: Path, folder: Path, salt: str = "") -> str:
    """Why there is no report."""
    page = folder / "refused.html"
    status, text = run_report(answers, page, salt)
    assert (status, page.exists()) == (1, False)
    return text


def run_report(answers: Path, page: Path, salt: str) -> tuple[int, str]:
    """Return the exit status and what is printed."""
    process = subprocess.run(
        [ENVIRONMENTS / "dbt" / "bin" / "python", PROJECT / "report.py", page],
        env={**os.environ, "COMPOSE_ANSWERS": str(answers), "COMPOSE_HASH_SALT": salt},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    return process.returncode, process.stdout


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


def with_samples(page: str, query: Callable[[str], list[Row]]) -> str:
    """A page with the result behind each of its queries."""

    def answered(block: re.Match[str]) -> str:
        rows = query(block[1])
        head = list(rows[0])
        lines = [head, ["---"] * len(head), *(map(_cell, row.values()) for row in rows)]
        table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        return f"```sql\n{block[1]}```\n\n{table}"

    return re.sub(r"```sql\n(.*?)```\n(?:\n(?:\|[^\n]*\n)+)?", answered, page, flags=re.DOTALL)


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def test_the_samples_of_the_page_are_from_the_sandbox(project: Project) -> None:
    page = (ROOT / "docs" / "answers.md").read_text()
    assert with_samples(page, project.query) == page


CONTROLS = """
    healthy critical 1 0 1 0 18
    whitelist_closed critical 2 0 1 0 17
    backup_recent high 1 0 1 0 18
    backup_usable high 2 0 1 0 17
    grantee_in_account high 1 1 0 0 93
    portal_tls high 1 0 35 0 3
    version_supported high 3 0 1 0 16
    backup_not_failing medium 1 0 1 0 18
    backup_schedule medium 1 0 1 0 18
    billed_and_listed medium 0 0 0 0 23
    grantee_active medium 28 1 0 0 66
    whitelist_entry_narrow medium 2 0 2 0 35
    billing_code low 3 0 0 0 17
    size_fits low 5 0 1 0 14
    two_admins low 1 1 0 0 18
"""
"""The demo's controls: severity; then how many are alarm, error, skip, info and ok."""

PEOPLE = """
    Ada Byron, 19, 18, 19, 1, yes, 0
    Edgar Codd, 19, 13, 19, 6, yes, 9
    Grace Murray, 19, 10, 19, 9, yes, 6
    Barbara Huberman, 12, 0, 12, 0, yes, 141
    user 00000006, 12, 0, 12, 0, yes, 150
    Jim Gray, 4, 9, 9, 0, yes, 0
    Ivy Ooi, 3, 0, 3, 0, yes, 144
    Rob Field, 1, 0, 1, 0, no, –
"""  # noqa: RUF001
"""The demo's people: on how many deployments they read data, configure, have any role, and have one
only through a team; whether they are users of the account; and the days since their last event."""


def test_the_report_shows_the_answers(page: Path, chromium: Browser) -> None:
    chromium.open(page)
    assert chromium.run(TITLES) == [
        "52 alarms, 11 of them critical or high; 48 of 491 checks were not assessed",
        "1,525.55 USD per month, +3% against the cost of last month; 10% without a billing code",
        "8 people can read data, 4 can configure; 1 is no user of the account",
        "166 entries in the timeline of the last 30 days, 1 alert among them",
    ]
    assert chromium.run(TITLES.replace("h2", "nav a")) == chromium.run(TITLES)
    tables = {title: rows[1:] for title, rows in chromium.run(TABLES).items()}
    assert len(tables["Alarms"]) == 52
    assert tables["Alarms"][0] == ["critical", "healthy", "prod-search", "critical"]
    assert tables["All controls"] == [line.split() for line in CONTROLS.strip().splitlines()]
    assert tables["Rate by billing code"] == [
        ["CC-2040", "810.00", "759.01", "50.99"],
        ["CC-1001", "561.20", "561.20", "0.00"],
        ["none", "154.35", "154.35", "0.00"],
    ]
    months = tables["Cost of the last 12 full months"]
    assert months[0] == ["May 2018", "759.01", "561.20", "154.35", "1,474.56"]
    assert months[11] == ["Jun 2017", "553.62", "387.75", "164.06", "1,105.43"]
    assert tables["Rate by deployment"][0] == ["prod-search", "CC-2040", "247.50", "247.50"]
    people = [line.strip().split(", ") for line in PEOPLE.strip().splitlines()]
    assert tables["Deployments that a person has a role on"] == people
    counts = ["prod-metrics", "5", "5", "2", "0", "0", "0", "12"]
    assert tables["Entries by deployment"][0] == counts
    entries = tables["The latest entries, without backups"]
    assert len(entries) == 20
    assert entries[1] == ["2018-06-01 11:35", "staging-metrics", "deprovisioned", "–", "Jim Gray"]  # noqa: RUF001


# How it is shown.


@pytest.mark.parametrize("width", [390, 1200], ids=["on a phone", "on a laptop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read(page: Path, chromium: Browser, width: int, scheme: str) -> None:
    chromium.open(page, width=width, scheme=scheme)
    assert chromium.console() == []
    assert chromium.requests() == [page.as_uri()]
    assert chromium.run("return document.documentElement.scrollWidth") == width
    background = chromium.run("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    assert chromium.run("return document.documentElement.lang") == "en"
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


@pytest.mark.parametrize(
    "statement",
    [
        'COMMENT ON TABLE controls IS \'{"build": "other", "now": "2018-05-31 12:00:00"}\'',
        "COMMENT ON TABLE access_review IS NULL",
        "DROP TABLE deployment_timeline",
    ],
)
def test_tables_of_different_builds_are_refused(
    project: Project, tmp_path: Path, statement: str
) -> None:
    text = refusal(changed(project, tmp_path, statement), tmp_path)
    assert text.startswith("cannot write the report: the tables are not of one build")
    assert text.endswith("; run dbt build again, for all models\n")


def test_without_answers_there_is_no_report(tmp_path: Path) -> None:
    text = refusal(tmp_path / "missing.duckdb", tmp_path)
    why = r"cannot write the report: .*missing\.duckdb.*; run dbt build first\n"
    assert re.fullmatch(why, text)


def test_with_a_salt_it_shows_the_ends_of_hashes(
    project: Project, tmp_path: Path, chromium: Browser
) -> None:
    assert refusal(answers_of(project), tmp_path, "a salt") == (
        "cannot write the report: COMPOSE_HASH_SALT is set, but the answers hold names;"
        " run dbt build with it first\n"
    )

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
