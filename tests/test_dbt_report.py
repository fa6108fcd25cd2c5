"""The report of ``examples/dbt`` in a real browser, compared with the marts that it is made from."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from tap_compose.sandbox.account import Account
from tap_compose.sandbox.data import NOW
from tests.browser import CHROMEDRIVER, CHROMIUM, Browser, browser
from tests.expected_answers import Load
from tests.target_runs import ENVIRONMENTS
from tests.test_dbt import LOADS, MARTS, PROJECT, Project, on_duckdb, personal_values

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.expected import Row

pytestmark = pytest.mark.slow

RAN_AT = NOW.replace(tzinfo=None)
KINDS = ("provisioned", "scaled", "upgraded", "alert", "deprovisioned")

BACKUP_AGES = "Age of the newest backup, in hours: the 12 oldest of 20"
OVERDUE = "Overdue backups"
COSTS = "Cost of the last 12 full months, by billing code"
RATES = "Present rate per month, by deployment"
PEOPLE = "Deployments that a person can reach, by role"
OPEN = "Whitelists that let in too many addresses"
DAYS = "Entries per day"
BUSIEST = "Entries per deployment: the 12 busiest of 20"
LATEST = "The 10 latest entries"

TABLES = """
return Object.fromEntries([...document.querySelectorAll(".scroll")].map(box => [
    box.getAttribute("aria-label"),
    [...box.querySelectorAll("tr")].map(row => [...row.children].map(cell => cell.textContent)),
]));
"""

CHARTS = """
return Object.fromEntries([...document.querySelectorAll("[role=img]")].map(image => [
    image.parentElement.querySelector("h3").textContent,
    {
        text: image.getAttribute("aria-label"),
        letters: [...image.querySelectorAll("text")].map(text => text.textContent),
        bars: [...image.querySelectorAll(".mark-rect path")].map(bar => {
            const box = bar.getBBox();
            return [box.width, box.height];
        }),
    },
]));
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The answers of the demo."""
    project = on_duckdb(tmp_path_factory.mktemp("report"))
    project.build(Load(Account(), RAN_AT))
    return project


@pytest.fixture(scope="module")
def page(project: Project) -> Path:
    """The report of the demo."""
    return write_report(project.folder / "compose.duckdb")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM or not CHROMEDRIVER:
        pytest.skip("no browser: install chromium and chromium-driver")
    with browser() as started:
        yield started


def write_report(answers: Path, salt: str = "") -> Path:
    page = answers.with_suffix(".html")
    process = run_report(answers, page, salt)
    assert process.returncode == 0, process.stderr
    assert process.stdout + process.stderr == ""
    return page


def run_report(answers: Path, page: Path, salt: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ENVIRONMENTS / "dbt" / "bin" / "python", PROJECT / "report.py", answers, page],
        env={**os.environ, "COMPOSE_HASH_SALT": salt},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def changed(project: Project, folder: Path, *statements: str) -> Path:
    """The answers after some statements."""
    path = shutil.copy(project.folder / "compose.duckdb", folder / "changed.duckdb")
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)
    return path


def numbers(rows: list[list[str]], first: int = 1) -> list[float]:
    return [float(cell.replace(",", "")) for row in rows for cell in row[first:]]


# Figures.


def by_name(rows: list[Row], name: str, *parts: str) -> list[list[str]]:
    """Rows of a table that counts timeline entries of each kind."""
    counts = Counter((row[name], row["what"]) for row in rows)
    names = Counter(row[name] for row in rows)
    return [
        [each, *(str(counts[each, kind]) for kind in parts), str(names[each])] for each in names
    ]


def test_every_table_shows_what_the_marts_hold(
    project: Project, page: Path, chromium: Browser
) -> None:
    chromium.open(page)
    shown = {title: rows[1:] for title, rows in chromium.run(TABLES).items()}
    assert set(shown) == {
        BACKUP_AGES, OVERDUE, COSTS, RATES, PEOPLE, OPEN, DAYS, BUSIEST, LATEST
    }  # fmt: skip

    backups = project.query(
        "SELECT * FROM answers.backup_freshness ORDER BY newest_backup_at NULLS FIRST"
    )
    assert shown[BACKUP_AGES] == [
        [row["deployment_name"], row["type"], *_age(row["newest_backup_at"])] for row in backups
    ]
    assert shown[OVERDUE] == [["catalogue-scylla-19", "daily, weekly, monthly", "–", "0"]]  # noqa: RUF001
    assert [row["deployment_name"] for row in backups if row["missing_types"]] == [
        "catalogue-scylla-19"
    ]

    months = project.query(
        "SELECT month, list(cost ORDER BY billing_code) AS costs, sum(cost) AS total FROM"
        " (SELECT month, billing_code, sum(cost) AS cost FROM answers.monthly_cost GROUP BY ALL)"
        " WHERE month BETWEEN '2017-06-01' AND '2018-05-01' GROUP BY month ORDER BY month DESC"
    )
    assert len(months) == 12
    assert chromium.run(TABLES)[COSTS][0] == ["month", "CC-2040", "CC-1001", "none", "total"]
    for row, cells in zip(months, shown[COSTS], strict=True):
        first, second, none = row["costs"]
        assert cells == [
            f"{row['month']:%b %Y}",
            *(f"{each:,.2f}" for each in (second, first, none, row["total"])),
        ]
    rates = project.query(
        "SELECT deployment_name, billing_code, monthly_rate FROM answers.monthly_cost"
        " WHERE month = '2018-06-01' ORDER BY monthly_rate DESC"
    )
    assert shown[RATES] == [
        [row["deployment_name"], row["billing_code"], f"{row['monthly_rate']:,.2f}"]
        for row in rates
    ]
    assert len(rates) == 11

    assert shown[PEOPLE] == _people(project.mart("access_review"))
    assert sorted(shown[OPEN]) == sorted(
        [row["deployment_name"], row["reason"], row["ip"]] for row in project.mart("open_access")
    )

    entries = project.query(
        "SELECT *, strftime(happened_at, '%d %b') AS day FROM answers.deployment_timeline"
        " WHERE happened_at >= '2018-05-03' ORDER BY happened_at DESC, source_id"
    )
    assert [row for row in shown[DAYS] if row[-1] != "0"] == by_name(entries, "day", *KINDS)
    assert [row[0] for row in shown[DAYS]] == [
        f"{RAN_AT - timedelta(days):%d %b}" for days in range(30)
    ]
    assert sorted(shown[BUSIEST]) == sorted(by_name(entries, "deployment_name", *KINDS))
    names = {row["user_id"]: row["user_name"] for row in project.mart("access_review")}
    assert (
        shown[LATEST]
        == [
            [
                f"{row['happened_at']:%Y-%m-%d %H:%M}",
                row["deployment_name"],
                row["what"],
                row["status"],
                names[row["user_id"]] if row["user_id"] else "–",  # noqa: RUF001
            ]
            for row in entries[:10]
        ]
    )


def _age(newest: Any) -> list[str]:
    if newest is None:
        return ["–", "–"]  # noqa: RUF001
    return [f"{newest:%Y-%m-%d %H:%M}", f"{(RAN_AT - newest) / timedelta(hours=1):.1f}"]


def _people(rows: list[Row]) -> list[list[str]]:
    """Each person with the deployments where a role is their highest one."""
    ranks = ["admin", "manager", "developer"]
    found = []
    for user in {row["user_id"] for row in rows}:
        own = [row for row in rows if row["user_id"] == user]
        places = {row["deployment_id"] for row in own}
        highest = Counter(
            min(ranks.index(row["role_name"]) for row in own if row["deployment_id"] == place)
            for place in places
        )
        direct = {row["deployment_id"] for row in own if row["team_id"] is None}
        found.append(
            [
                own[0]["user_name"] or f"user {user[-8:]}",
                *(str(highest[rank]) for rank in range(3)),
                str(len(places)),
                str(len(places - direct)),
                str(own[0]["days_since_last_event"]),
            ]
        )
    return sorted(found, key=lambda row: (-int(row[4]), -int(row[1]), -int(row[2]), row[0]))


def test_every_title_states_the_finding(project: Project, page: Path, chromium: Browser) -> None:
    chromium.open(page)
    script = "return [...document.querySelectorAll('{}')].map(each => each.textContent)"
    titles = chromium.run(script.format("h2"))
    rate = sum(
        row["monthly_rate"]
        for row in project.mart("monthly_cost")
        if f"{row['month']}" == "2018-06-01"
    )
    people = {row["user_id"] for row in project.mart("access_review")}
    entries = [
        row
        for row in project.mart("deployment_timeline")
        if f"{row['happened_at']}" >= "2018-05-03"
    ]
    assert titles == [
        "1 of 20 deployments misses scheduled backups",
        f"{rate:,.2f} per month at the present rate, 44% of it for CC-2040",
        f"{len(people)} people can reach deployments, and 3 whitelists let in too many addresses",
        f"{len(entries)} entries in the timeline of the last 30 days,"
        " the most (19) on queue-elastic-search-12",
    ]
    assert chromium.run(script.format("nav a")) == titles


def test_every_chart_shows_its_table(page: Path, chromium: Browser) -> None:
    chromium.open(page)
    tables = chromium.run(TABLES)
    charts = chromium.run(CHARTS)
    assert set(charts) == {BACKUP_AGES, COSTS, RATES, PEOPLE, DAYS, BUSIEST}
    # Where a bar's parts stand in its row, and whether bars go up, with the latest first.
    columns = {RATES: (2, 3, False), PEOPLE: (1, 4, False), BUSIEST: (1, 6, False)}
    columns |= {COSTS: (1, 4, True), DAYS: (1, 6, True)}
    for title, (first, last, is_vertical) in columns.items():
        rows = tables[title][1:][::-1] if is_vertical else tables[title][1:13]
        expected = numbers([row[:last] for row in rows], first)
        lengths = [box[is_vertical] for box in charts[title]["bars"]]
        scale = max(expected) / max(lengths)
        assert [each * scale for each in lengths] == pytest.approx(expected, abs=0.6), title
        letters = charts[title]["letters"]
        if is_vertical:
            assert rows[-1][0] in letters
            assert f"{rows[-1][0]}: {rows[-1][-1]}" in charts[title]["text"]
        else:
            assert [row[0] for row in rows] == [each for each in letters if each in _firsts(rows)]
            total = {row[0]: row[4 if title == PEOPLE else -1] for row in rows}
            assert [each for each in letters if each in total.values()] == list(total.values())
            assert all(f"{name}: {end}" in charts[title]["text"] for name, end in total.items())
    assert charts[BACKUP_AGES]["letters"][12:] == [
        "no backup",
        *(row[-1] for row in tables[BACKUP_AGES][2:13]),
    ]


def _firsts(rows: list[list[str]]) -> set[str]:
    return {row[0] for row in rows}
