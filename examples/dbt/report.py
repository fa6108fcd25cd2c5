"""Write a report of the answers: one HTML file that needs no server, no script and no network.

Usage: ``python report.py answers.html``, after ``dbt build`` on DuckDB. As for dbt, COMPOSE_ANSWERS
names the DuckDB file. If COMPOSE_HASH_SALT is set, personal columns must be hashed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Sized

Row = dict[str, Any]

NUMBER = (int, float, Decimal)

MOST = 12
"""Maximum number of bars from top to bottom of a chart. Its table has all rows."""

DAYS = 30
"""Length of the timeline in days."""

BAD = "var(--bad)"
NO_BACKUP = "no backup"
KINDS = ["provisioned", "scaled", "upgraded", "alert", "deprovisioned"]
ROLES = ["admin", "manager", "developer", "other"]

# Deployments and users get short labels that are unique. A hash is too long for one.
VIEWS = """
create temp view run as
select ran_at, cast(date_trunc('month', ran_at) as date) as this_month
from answers_staging.int_run_time;

create temp view deployments as
select
    deployment_id,
    coalesce(deployment_name, deployment_id) || case
        when count(*) over (partition by deployment_name) > 1 then ' ' || right(deployment_id, 6)
        else ''
    end as deployment
from answers_staging.int_deployments_ever;

create temp view users as
select
    user_id,
    case
        when user_name is null or regexp_full_match(user_name, '[0-9a-f]{64}')
            then 'user ' || right(user_id, 8)
        when count(*) over (partition by user_name) > 1
            then user_name || ' ' || right(user_id, 6)
        else user_name
    end as person
from (select distinct user_id, user_name from answers.access_review);
"""

NOT_HASHED = """
select 1 from (
    select user_id as personal from answers.access_review
    union all select user_name from answers.access_review
    union all select user_id from answers.deployment_timeline
) where not regexp_full_match(personal, '[0-9a-f]{64}')
"""

BACKUPS = """
select
    deployment,
    type,
    newest_backup_at as "newest backup (UTC)",
    extract(epoch from ran_at - newest_backup_at) / 3600 as hours,
    missing_types as overdue,
    failed_backups as "failed backups"
from answers.backup_freshness
inner join deployments using (deployment_id)
cross join run
order by hours desc nulls first, deployment
"""

COSTS = """
select month, billing_code, sum(cost) as cost
from answers.monthly_cost
cross join run
where month between this_month - interval 12 month and this_month - interval 1 day
group by all
order by all
"""

RATES = """
select
    coalesce(deployment, 'no deployment') as deployment,
    billing_code as "billing code",
    sum(monthly_rate) as "per month"
from answers.monthly_cost
inner join run on month = this_month
left join deployments using (deployment_id)
group by all
having sum(monthly_rate) <> 0
order by "per month" desc, deployment
"""

PEOPLE = """
with reach as (
    select
        user_id,
        deployment_id,
        bool_or(role_name = 'admin') as is_admin,
        bool_or(role_name = 'manager') as is_manager,
        bool_or(role_name = 'developer') as is_developer,
        bool_and(team_id is not null) as is_by_team,
        any_value(days_since_last_event) as days_since_last_event
    from answers.access_review
    group by all
)
select
    person,
    count(*) filter (is_admin) as admin,
    count(*) filter (is_manager and not is_admin) as manager,
    count(*) filter (is_developer and not is_manager and not is_admin) as developer,
    count(*) filter (not (is_admin or is_manager or is_developer)) as other,
    count(*) as "all",
    count(*) filter (is_by_team) as "only through a team",
    any_value(days_since_last_event) as "days since last event"
from reach
inner join users using (user_id)
group by user_id, person
order by "all" desc, admin desc, manager desc, person
"""

OPEN = """
select deployment, reason as whitelist, ip as network
from answers.open_access
inner join deployments using (deployment_id)
order by all
"""

TIMELINE = """
select
    happened_at as "when (UTC)",
    coalesce(deployment, deployment_id) as deployment,
    what,
    status,
    coalesce(person, 'user ' || right(user_id, 8)) as who
from answers.deployment_timeline
cross join run
left join deployments using (deployment_id)
left join users using (user_id)
where cast(happened_at as date) > cast(ran_at as date) - $days and happened_at <= ran_at
order by happened_at desc, source_id
"""


class Bar(NamedTuple):
    """A bar of a chart: its name, the lengths of its parts, and the label at its end."""

    name: str
    values: list[float]
    label: str = ""


# Colours are custom properties of the page, so that one chart fits light and dark.
CONFIG = {
    "aria": False,
    "background": None,
    "font": "Arial, Helvetica, Liberation Sans, sans-serif",
    "padding": 4,
    "view": {"stroke": None},
    "bar": {"stroke": "var(--paper)"},
    "text": {"color": "var(--ink)", "fontSize": 13},
    "axis": {
        "labelColor": "var(--ink)",
        "labelFontSize": 13,
        "labelLimit": 190,
        "labelPadding": 6,
        "domain": False,
        "gridColor": "var(--line)",
        "ticks": False,
        "title": None,
    },
    "legend": {
        "orient": "top",
        "labelColor": "var(--ink)",
        "labelFontSize": 12,
        "labelLimit": 150,
        "symbolStrokeWidth": 0,
        "columns": 3,
        "columnPadding": 6,
        "title": None,
    },
}


def horizontal(found: list[Bar], colours: dict[str, str]) -> Markup:
    """Draw bars from top to bottom, each with its label at its end."""
    found = found[:MOST]
    values = [{"name": bar.name, "value": sum(bar.values), "label": bar.label} for bar in found]
    longest = max((sum(bar.values) for bar in found), default=0)
    y = {"field": "name", "type": "nominal", "sort": None}
    scale = {"domainMax": 1.25 * longest or 1}  # room for the labels
    x = {"field": "value", "type": "quantitative", "axis": None, "scale": scale}
    labels = {
        "data": {"values": values},
        "mark": {"type": "text", "align": "left", "dx": 5},
        "encoding": {
            "y": y,
            "x": x,
            "text": {"field": "label", "type": "nominal"},
            "color": {
                "condition": {"test": f"datum.label === '{NO_BACKUP}'", "value": BAD},
                "value": "var(--ink)",
            },
        },
    }
    return _drawn([_bars(found, colours, y=y, x=x), labels], 21 * len(found))


def vertical(found: list[Bar], colours: dict[str, str], step: int) -> Markup:
    """Draw bars from left to right, with a name below the last one and each step before it."""
    axis = {
        "values": [bar.name for bar in found[::-step]],
        "labelAngle": 0,
        "labelOverlap": False,
    }
    x = {"field": "name", "type": "nominal", "sort": None, "axis": axis}
    y = {"field": "value", "type": "quantitative", "axis": {"tickCount": 4, "format": ",~f"}}
    return _drawn([_bars(found, colours, x=x, y=y)], 200)


def _bars(found: list[Bar], colours: dict[str, str], **places: dict[str, Any]) -> dict[str, Any]:
    """Encode bars whose parts are stacked in the order of the legend, without empty parts."""
    values = [
        {"name": bar.name, "part": part, "value": value, "order": order}
        for bar in found
        for order, (part, value) in enumerate(zip(colours, bar.values, strict=True))
    ]
    used = {each["part"] for each in values if each["value"]}
    domain = [part for part in colours if part in used]
    colour = {
        "field": "part",
        "type": "nominal",
        "scale": {"domain": domain, "range": [colours[part] for part in domain]},
        "legend": {} if len(domain) > 1 else None,
    }
    order = {"field": "order", "type": "quantitative"}
    return {
        "data": {"values": values},
        "mark": "bar",
        "encoding": {**places, "color": colour, "order": order},
    }


def _drawn(layers: list[dict[str, Any]], height: int) -> Markup:
    """Draw layers 400 pixels wide, so that letters are not too small on a phone."""
    svg = vl_convert.vegalite_to_svg(
        {
            "config": CONFIG,
            "width": 400,
            "height": height,
            "autosize": {"type": "fit-x", "contains": "padding"},
            "layer": layers,
        },
        vl_version="6.4",
        allowed_base_urls=[],
    )
    return Markup(svg)  # noqa: S704


class Part(NamedTuple):
    """A table, and perhaps a chart of it with the text for those who cannot see it."""

    title: str
    head: list[str]
    rows: list[list[Any]]
    chart: Markup | None = None
    text: str = ""

    @property
    def numbers(self) -> list[bool]:
        """Whether each column holds numbers."""
        return [
            any(isinstance(each, NUMBER) for each in column)
            for column in zip(*self.rows, strict=True)
        ]


class Section(NamedTuple):
    """An answer. Its title is a figure and its meaning."""

    name: str
    figure: str
    finding: str
    note: str
    parts: list[Part]


def backups(rows: list[Row]) -> Section:
    """Show the deployments without a fresh backup."""
    overdue = [row for row in rows if row["overdue"]]
    found = [
        Bar(
            row["deployment"],
            [0, row["hours"] or 0] if row["overdue"] else [row["hours"] or 0, 0],
            NO_BACKUP if row["hours"] is None else f"{row['hours']:,.1f}",
        )
        for row in rows
    ]
    return Section(
        "backups",
        f"{len(overdue)} of {len(rows)}",
        f"{_noun(rows, 'deployment')} {_noun(overdue, 'misses', 'miss')} scheduled backups",
        "Backups are scheduled daily, weekly and monthly. Only complete ones count.",
        [
            Part(
                f"Age of the newest backup, in hours{_most(found, 'oldest')}",
                *_table(rows, "deployment", "type", "newest backup (UTC)", "hours"),
                horizontal(found, {"on schedule": "var(--c0)", "overdue": BAD}),
                _in_words(found),
            ),
            Part(
                "Overdue backups",
                *_table(overdue, "deployment", "overdue", "newest backup (UTC)", "failed backups"),
            ),
        ],
    )


def cost(costs: list[Row], rates: list[Row]) -> Section:
    """Show the cost of each team: in the last 12 full months, and at the present rate."""
    by_code: Counter[str] = Counter()
    for row in costs:
        by_code[row["billing_code"]] += row["cost"]
    codes = [code for code, _ in by_code.most_common(5)]
    parts = codes + ["all others"] * (len(by_code) > len(codes))
    by_month: dict[date, list[Decimal]] = {}
    for row in costs:
        code = row["billing_code"]
        place = codes.index(code) if code in codes else len(codes)
        by_month.setdefault(row["month"], [Decimal(0)] * len(parts))[place] += row["cost"]
    months = [Bar(f"{month:%b %Y}", list(map(float, each))) for month, each in by_month.items()]
    rated = [
        Bar(row["deployment"], [float(row["per month"])], f"{row['per month']:,.2f}")
        for row in rates
    ]
    rate_by_code: Counter[str] = Counter()
    for row in rates:
        rate_by_code[row["billing code"]] += row["per month"]
    total = Decimal(rate_by_code.total())
    largest = ""
    if total > 0:
        ((code, rate),) = rate_by_code.most_common(1)
        largest = f", {rate / total:.0%} of it for {code}"
    return Section(
        "cost",
        f"{total:,.2f}",
        f"per month at the present rate{largest}",
        "Amounts are in US dollars.",
        [
            Part(
                "Cost of the last 12 full months, by billing code",
                ["month", *parts, "total"],
                [[f"{month:%b %Y}", *each, sum(each)] for month, each in by_month.items()][::-1],
                vertical(months, {each: f"var(--c{i})" for i, each in enumerate(parts)}, 3),
                "; ".join(f"{bar.name}: {sum(bar.values):,.2f}" for bar in months),
            ),
            Part(
                f"Present rate per month, by deployment{_most(rated, 'largest')}",
                *_table(rates, "deployment", "billing code", "per month"),
                horizontal(rated, {"per month": "var(--c0)"}),
                _in_words(rated),
            ),
        ],
    )


def access(people: list[Row], is_open: list[Row]) -> Section:
    """Show the deployments that each person can reach, and those that everybody can."""
    roles = ROLES if any(row["other"] for row in people) else ROLES[:-1]
    found = [Bar(row["person"], [row[role] for role in roles], f"{row['all']}") for row in people]
    deployments = {row["deployment"] for row in is_open}
    more = ("all", "only through a team", "days since last event")
    return Section(
        "access",
        f"{len(people)}",
        f"{_noun(people, 'person', 'people')} can reach deployments, and {len(deployments)} "
        f"{_noun(deployments, 'whitelist lets', 'whitelists let')} in too many addresses",
        "Of several roles on a deployment the highest one counts.",
        [
            Part(
                f"Deployments that a person can reach, by role{_most(found, 'first')}",
                *_table(people, "person", *roles, *more),
                horizontal(found, {each: f"var(--c{i})" for i, each in enumerate(roles)}),
                _in_words(found),
            ),
            Part(
                "Whitelists that let in too many addresses",
                *_table(is_open, "deployment", "whitelist", "network"),
            ),
        ],
    )


def timeline(rows: list[Row], ran_at: datetime) -> Section:
    """Show the latest events."""
    colours = {kind: f"var(--c{place})" for place, kind in enumerate(KINDS)} | {"alert": BAD}
    by_day = Counter((row["when (UTC)"].date(), row["what"]) for row in rows)
    by_name = Counter((row["deployment"], row["what"]) for row in rows)
    names = Counter(row["deployment"] for row in rows).most_common()
    dates = [ran_at.date() - timedelta(ago) for ago in reversed(range(DAYS))]
    days = [Bar(f"{day:%d %b}", [by_day[day, kind] for kind in KINDS]) for day in dates]
    found = [Bar(name, [by_name[name, kind] for kind in KINDS], f"{n:,}") for name, n in names]
    most = f", the most ({found[0].label}) on {found[0].name}" if found else ""
    return Section(
        "timeline",
        f"{len(rows):,}",
        f"{_noun(rows, 'entry', 'entries')} in the timeline of the last {DAYS} days{most}",
        "Many actions appear twice: as the audit event and as the recipe.",
        [
            Part(
                "Entries per day",
                ["day", *KINDS, "all"],
                [[bar.name, *bar.values, sum(bar.values)] for bar in reversed(days)],
                vertical(days, colours, 7),
                "; ".join(f"{bar.name}: {sum(bar.values):,}" for bar in days),
            ),
            Part(
                f"Entries per deployment{_most(found, 'busiest')}",
                ["deployment", *KINDS, "all"],
                [[bar.name, *bar.values, sum(bar.values)] for bar in found],
                horizontal(found, colours),
                _in_words(found),
            ),
            Part(
                "The 10 latest entries",
                *_table(rows[:10], "when (UTC)", "deployment", "what", "status", "who"),
            ),
        ],
    )


def _table(rows: list[Row], *names: str) -> tuple[list[str], list[list[Any]]]:
    return list(names), [[row[name] for name in names] for row in rows]


def _in_words(found: list[Bar]) -> str:
    return "; ".join(f"{bar.name}: {bar.label}" for bar in found[:MOST])


def _most(found: list[Bar], which: str) -> str:
    return f": the {MOST} {which} of {len(found)}" if len(found) > MOST else ""


def _noun(counted: Sized, one: str, many: str = "") -> str:
    """Return the word that agrees with the count."""
    return one if len(counted) == 1 else many or f"{one}s"


def cell(value: Any) -> str:
    """Return the text of a cell of a table."""
    if value is None:
        return "–"  # noqa: RUF001
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, float | Decimal):
        return f"{value:,.{1 if isinstance(value, float) else 2}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def report(path: str) -> str:
    """Return the report of the answers in a DuckDB file."""
    with duckdb.connect(path, read_only=True) as connection:

        def rows(query: str, **parameters: Any) -> list[Row]:
            found = connection.execute(query, parameters)
            names = [each[0] for each in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

        if os.environ.get("COMPOSE_HASH_SALT") and rows(NOT_HASHED):
            sys.exit(
                "cannot write the report: COMPOSE_HASH_SALT is set, but the answers hold names;"
                " run dbt build with it first"
            )
        connection.execute(VIEWS)
        ran_at = rows("select ran_at from run")[0]["ran_at"]
        sections = [
            backups(rows(BACKUPS)),
            cost(rows(COSTS), rows(RATES)),
            access(rows(PEOPLE), rows(OPEN)),
            timeline(rows(TIMELINE, days=DAYS), ran_at),
        ]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["cell"] = cell
    page = environment.get_template("report.html")
    text: str = page.render(ran_at=ran_at, sections=sections)
    return text


def main() -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("report", help="the HTML file to write", type=Path)
    path = parser.parse_args().report
    try:
        text = report(os.environ.get("COMPOSE_ANSWERS", "compose.duckdb"))
    except duckdb.Error as error:
        sys.exit(f"cannot write the report: {error}; run dbt build first")
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
