"""The report of ``examples/dbt``, opened in a real browser and compared with the marts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from tap_compose.sandbox.data import NOW
from tap_compose.sandbox.made_up_account import Account
from tests.examples.test_dbt import LOADS, MARTS, personal_values
from tests.support.dbt_runs import PROJECT, Project, on_duckdb
from tests.support.expected_answers import Load
from tests.support.target_runs import ENVIRONMENTS
from tools.browser import CHROMEDRIVER, CHROMIUM, Browser, browser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.expected import Row

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
    shutil.copy(project.folder / "compose.duckdb", path)
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
    names = Counter(row["deployment_name"] for row in entries)
    (busiest,) = (f"({n}) on {name}" for name, n in names.most_common(1))
    assert titles == [
        "1 of 20 deployments misses scheduled backups",
        f"{rate:,.2f} per month at the present rate, 44% of it for CC-2040",
        f"{len(people)} people can reach deployments, and 3 whitelists let in too many addresses",
        f"{len(entries)} entries in the timeline of the last 30 days, the most {busiest}",
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
return Object.fromEntries(["ink", "soft", "bad", "c0", "c1", "c2", "c3", "c4", "c5"].map(
    name => [name, Math.min(contrast(`--${name}`, "--paper"), contrast(`--${name}`, "--shade"))]
));
"""

LAYOUT = """
const clipped = [...document.querySelectorAll("svg text")].filter(text => {
    const box = text.getBoundingClientRect();
    return box.width > 0 && (box.left < 0 || box.right > innerWidth);
});
return {
    width: document.documentElement.scrollWidth,
    clipped: clipped.map(text => text.textContent),
    smallest: Math.min(...[...document.querySelectorAll("svg text")].map(
        text => text.getBoundingClientRect().height
    ).filter(height => height > 0)),
    background: getComputedStyle(document.body).backgroundColor,
    lines: new Set(
        [...document.querySelectorAll(".parts > :first-child, .parts > :nth-child(2)")].map(
            part => part.getBoundingClientRect().top
        )
    ).size,
};
"""


@pytest.mark.parametrize(
    ("width", "rows"), [(390, 8), (1200, 4)], ids=["on a phone", "on a laptop"]
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read(page: Path, chromium: Browser, width: int, rows: int, scheme: str) -> None:
    chromium.open(page, width=width, scheme=scheme)
    assert chromium.console() == []
    assert chromium.requests() == [page.as_uri()]
    layout = chromium.run(LAYOUT)
    assert layout["width"] == width
    assert layout["clipped"] == []
    assert layout["smallest"] > 11
    assert layout["lines"] == rows
    assert (layout["background"] == "rgb(255, 255, 255)") == (scheme == "light")
    for name, contrast in chromium.run(CONTRASTS).items():
        assert contrast > (4.5 if name in {"ink", "soft"} else 3), name


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
    unnamed = "return document.querySelectorAll('svg').length"
    assert chromium.run(unnamed) == len(chromium.run(CHARTS)) == 6
    assert all(len(chart["text"]) > 100 for chart in chromium.run(CHARTS).values())
    assert chromium.run("return document.querySelectorAll('th:not([scope])').length") == 0
    assert chromium.run("return document.querySelectorAll('details table').length") == 6


# What it is made from.

HOSTILE = (
    "<script>document.title = 1</script><img src=x onerror='document.title = 2'>&amp;\"$1{{ 7 }}"
)


def test_text_is_not_markup(project: Project, tmp_path: Path, chromium: Browser) -> None:
    hostile = "'" + HOSTILE.replace("'", "''") + "' || "
    tables = dict.fromkeys(MARTS, "answers") | {"int_deployments_ever": "answers_staging"}
    statements = [
        f"UPDATE {schema}.{table} SET {column} = {hostile}{column}"  # noqa: S608
        for table, schema in tables.items()
        for column in _text_columns(project, table)
    ]
    page = write_report(changed(project, tmp_path, *statements))
    chromium.open(page)
    assert chromium.console() == []
    assert chromium.requests() == [page.as_uri()]
    assert chromium.run("return document.title") == "Compose account, 2018-06-01 12:00 UTC"
    assert chromium.run("return document.querySelectorAll('script, img').length") == 0
    assert chromium.run("return document.documentElement.scrollWidth") == 1200
    tables = chromium.run(TABLES)
    assert tables[OVERDUE][1][:2] == [
        f"{HOSTILE}catalogue-scylla-19",
        f"{HOSTILE}daily, weekly, monthly",
    ]
    assert tables[COSTS][0][1] == f"{HOSTILE}CC-2040"
    assert tables[RATES][1][:2] == [f"{HOSTILE}orders-postgresql-0", f"{HOSTILE}CC-2040"]
    assert tables[PEOPLE][1] == [f"{HOSTILE}Ada Byron", "0", "0", "0", "19", "19", "0", "1"]
    assert tables[OPEN][1][1:] == [f"{HOSTILE}wide", f"{HOSTILE}0.0.0.0/0"]
    assert tables[LATEST][2][3:] == [f"{HOSTILE}complete", f"{HOSTILE}Ada Byron"]
    charts = chromium.run(CHARTS)
    assert f"{HOSTILE}orders-postgresql-0: 885.69" in charts[RATES]["text"]
    for title in (BACKUP_AGES, COSTS, RATES, PEOPLE, BUSIEST):
        assert any(each.startswith("<script>") for each in charts[title]["letters"]), title


def _text_columns(project: Project, table: str) -> list[str]:
    """The columns of a table that hold text of people or of the API."""
    columns = project.query(
        "SELECT column_name FROM information_schema.columns"  # noqa: S608
        f" WHERE table_name = '{table}' AND data_type = 'VARCHAR'"
    )
    names = [row["column_name"] for row in columns]
    return [name for name in names if not name.endswith("_id") and name != "what"]


def test_an_empty_account_has_an_empty_report(
    project: Project, tmp_path: Path, chromium: Browser
) -> None:
    page = write_report(
        changed(project, tmp_path, *(f"DELETE FROM answers.{mart}" for mart in MARTS))  # noqa: S608
    )
    chromium.open(page)
    assert chromium.console() == []
    titles = "return [...document.querySelectorAll('h2')].map(title => title.textContent)"
    assert chromium.run(titles) == [
        "0 of 0 deployments miss scheduled backups",
        "0.00 per month at the present rate",
        "0 people can reach deployments, and 0 whitelists let in too many addresses",
        "0 entries in the timeline of the last 30 days",
    ]
    assert list(chromium.run(TABLES)) == [DAYS]
    assert "NaN" not in page.read_text()


def test_equal_names_and_unknown_ids_keep_apart(
    project: Project, tmp_path: Path, chromium: Browser
) -> None:
    page = write_report(
        changed(
            project,
            tmp_path,
            "UPDATE answers_staging.int_deployments_ever SET deployment_name = 'same'"
            " WHERE deployment_name LIKE 'orders-%'",
            "UPDATE answers.access_review SET user_name = 'Same Name'"
            " WHERE user_name IN ('Ada Byron', 'Jim Gray')",
            "UPDATE answers.monthly_cost SET deployment_id = NULL"
            " WHERE deployment_name = 'queue-rabbitmq-4'",
        )
    )
    ids = project.query(
        "SELECT right(deployment_id, 6) AS id FROM answers.backup_freshness"
        " WHERE deployment_name LIKE 'orders-%'"
    )
    chromium.open(page)
    tables = chromium.run(TABLES)
    same = {f"same {row['id']}" for row in ids}
    assert len(same) == 3
    assert same <= {row[0] for row in tables[BACKUP_AGES]}
    users = {row[0]: row[4] for row in tables[PEOPLE] if row[0].startswith("Same Name ")}
    assert sorted(users.values()) == ["19", "6"]
    assert ["no deployment", "CC-1001", "867.23"] in tables[RATES]


def test_without_answers_there_is_no_report(tmp_path: Path) -> None:
    page = tmp_path / "answers.html"
    process = run_report(tmp_path / "missing.duckdb", page)
    assert process.returncode == 1
    assert re.fullmatch(
        r"cannot write the report: .*missing\.duckdb.*; run dbt build first\n", process.stderr
    )
    assert not page.exists()


# Privacy.


def test_with_a_salt_it_holds_nothing_personal(
    tmp_path: Path, project: Project, chromium: Browser
) -> None:
    salted = on_duckdb(tmp_path)
    salted.salt = "a salt"
    salted.build(LOADS[0])
    page = write_report(tmp_path / "compose.duckdb", salted.salt)
    text = page.read_text()
    personal = personal_values(LOADS[0].account)
    assert [each for each in personal if re.search(rf"\b{re.escape(each)}\b", text)] == []
    assert "@" not in text.partition("<body>")[2]
    chromium.open(page)
    users = {row["user_id"] for row in salted.mart("access_review")}
    title = next(each for each in chromium.run(TABLES) if each.startswith("Deployments that"))
    shown = {row[0] for row in chromium.run(TABLES)[title][1:]}
    assert shown == {f"user {user[-8:]}" for user in users}

    page = tmp_path / "refused.html"
    process = run_report(project.folder / "compose.duckdb", page, salted.salt)
    assert process.returncode == 1
    assert process.stderr == (
        "cannot write the report: COMPOSE_HASH_SALT is set, but the answers hold names;"
        " run dbt build with it first\n"
    )
    assert not page.exists()
