"""Write a report of the answers: one HTML file that needs no server, no script and no network.

Usage: ``python report.py answers.html``, after ``dbt build`` on DuckDB. As for dbt, COMPOSE_ANSWERS
names the DuckDB file. If COMPOSE_HASH_SALT is set, personal columns must be hashed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
from jinja2 import Environment, FileSystemLoader, StrictUndefined

MARTS = ("controls", "monthly_cost", "access_review", "deployment_timeline")

BUILDS = "select table_name, comment from duckdb_tables() where schema_name = current_schema()"

NOT_HASHED = """
select 1 from (
    select user_id as personal from access_review
    union all select user_name from access_review
    union all select user_id from deployment_timeline
) where not regexp_full_match(personal, '[0-9a-f]{64}')
"""

# Each deployment and user has a unique label: the name, with the end of the id if the name is empty
# or not unique. A hash (see COMPOSE_HASH_SALT) is no name, and is shortened in a text.
VIEWS = r"""
create temp view run as
select timestamp '{ran_at}' as ran_at, date_trunc('month', timestamp '{ran_at}') as this_month;

create temp macro shortened(words) as
    regexp_replace(words, '\b[0-9a-f]{{56}}([0-9a-f]{{8}})\b', 'user \1', 'g');

create temp macro labelled(thing, name, id, equal_names, equal_ends) as case
    when name <> '' and equal_names = 1 then name
    else coalesce(nullif(name, ''), thing) || ' ' || if(equal_ends = 1, right(id, 8), id)
end;

create temp view deployments as
select
    id as deployment_id,
    labelled(
        'deployment', name, id,
        count(*) over (partition by name), count(*) over (partition by name, right(id, 8))
    ) as deployment
from (
    select deployment_id as id, trim(coalesce(max(deployment_name), '')) as name
    from (
        select deployment_id, deployment_name from controls
        union all select deployment_id, deployment_name from monthly_cost
        union all select deployment_id, deployment_name from deployment_timeline
    ) where deployment_id is not null
    group by deployment_id
);

create temp view users as
select
    id as user_id,
    labelled(
        'user', name, id,
        count(*) over (partition by name), count(*) over (partition by name, right(id, 8))
    ) as person
from (
    select
        user_id as id,
        regexp_replace(trim(coalesce(max(user_name), '')), '^[0-9a-f]{{64}}$', '') as name
    from access_review where user_id is not null
    group by user_id
);

create temp view latest as
select *
from deployment_timeline cross join run
where happened_at > ran_at - interval 30 day and happened_at <= ran_at;

create temp view rates as
select
    coalesce(deployment, 'unknown: ' || resource_id) as deployment,
    resource_id,
    billing_code,
    currency,
    coalesce(sum(monthly_rate) filter (month = this_month), 0) as rate,
    coalesce(sum(cost) filter (month < this_month), 0) as last_month,
    coalesce(sum(billables_without_amount) filter (month = this_month), 0) as without_amount
from monthly_cost cross join run left join deployments using (deployment_id)
where month between this_month - interval 1 month and this_month
group by all;

create temp view people as
select
    coalesce(person, user_name, 'somebody') || if(user_id is null, ' (no id)', '') as person,
    account_id as account,
    count(distinct deployment_id) filter (can_read_data) as "read data",
    count(distinct deployment_id) filter (can_configure) as configure,
    count(distinct deployment_id) as "any role",
    count(distinct deployment_id) - count(distinct deployment_id) filter (team_id is null)
        as "only through a team",
    case bool_and(is_account_user) when true then 'yes' when false then 'no' else 'not read' end
        as "user of the account",
    min(days_since_last_event) as "days since last event"
from access_review left join users using (user_id)
group by user_id, person, user_name, account_id;
"""

SEVERITY = "list_position(['critical', 'high', 'medium', 'low'], severity)"

ALARMS = f"""
select severity, control, deployment, shortened(reason) as reason
from controls left join deployments using (deployment_id)
where status = 'alarm'
order by {SEVERITY}, control, deployment, reason
"""  # noqa: S608

NOT_ASSESSED = """
select
    control,
    status,
    shortened(reason) as reason,
    count(*) as checks,
    array_to_string(list(distinct deployment order by deployment)[:3], ', ')
        || if(count(distinct deployment) > 3, ', …', '') as deployments
from controls left join deployments using (deployment_id)
where status in ('error', 'skip')
group by all
order by all
"""

CONTROLS = f"""
select
    control,
    severity,
    count(*) filter (status = 'alarm') as alarm,
    count(*) filter (status = 'error') as error,
    count(*) filter (status = 'skip') as skip,
    count(*) filter (status = 'info') as info,
    count(*) filter (status = 'ok') as ok
from controls
group by control, severity
order by {SEVERITY}, control
"""  # noqa: S608

RATES_BY_CODE = """
select
    billing_code as "billing code", sum(rate) as now, sum(last_month) as "last month",
    sum(rate) - sum(last_month) as change
from rates group by all order by now desc, billing_code
"""

RATES = """
select deployment, billing_code as "billing code", rate as now, last_month as "last month"
from rates where rate <> 0 or last_month <> 0 order by now desc, deployment, resource_id
"""

# In three columns: what begins a row, what becomes a column, and a number.
MONTHS = """
with costs as (
    select
        month,
        billing_code,
        sum(cost) as cost,
        sum(sum(cost)) over (partition by billing_code) as total
    from monthly_cost cross join run
    where month between this_month - interval 12 month and this_month - interval 1 day
    group by month, billing_code
),
ranked as (
    select *, dense_rank() over (order by total desc nulls last, billing_code) as place from costs
)
select
    strftime(month, '%b %Y') as month,
    if(place <= 5, billing_code, 'all others') as code,
    sum(cost)
from ranked group by all order by any_value(ranked.month) desc, min(place)
"""

KINDS = """
select * from (
    select deployment, what, count(*) as entries
    from latest join deployments using (deployment_id) group by all
) order by sum(entries) over (partition by deployment) desc, deployment, what
"""

EVENTS = """
select
    happened_at as "when (UTC)", deployment, what, status,
    coalesce(person, 'user ' || right(user_id, 8)) as who
from latest join deployments using (deployment_id) left join users using (user_id)
where what <> 'backed up' order by happened_at desc, source_id limit 20
"""


class Table(NamedTuple):
    """A table. One of its columns may have bars behind its numbers."""

    title: str
    head: list[str]
    rows: list[tuple[Any, ...]]
    bar: str = ""

    @property
    def numbers(self) -> list[bool]:
        """Whether each column holds numbers."""
        columns = zip(*self.rows, strict=True)
        return [any(isinstance(each, int | Decimal) for each in column) for column in columns]

    def length(self, row: tuple[Any, ...]) -> float:
        """Return the length of a row's bar in percent."""
        place = self.head.index(self.bar)
        longest = max(each[place] or 0 for each in self.rows)
        return 100 * float(row[place] or 0) / float(longest) if longest > 0 else 0


class Section(NamedTuple):
    """An answer. Its title is a figure and its meaning."""

    name: str
    figure: str
    finding: str
    note: str
    tables: list[Table]


class Answers:
    """The marts of one build in a DuckDB file."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, schema: str) -> None:
        self._connection = connection
        connection.execute(f'use "{schema}"')
        builds = dict(connection.execute(BUILDS).fetchall())
        if len({builds.get(mart) for mart in MARTS}) > 1 or not builds.get(MARTS[0]):
            found = ", ".join(f"{mart} {builds.get(mart) or 'none'}" for mart in MARTS)
            sys.exit(
                f"cannot write the report: the tables are not of one build: {found};"
                " run dbt build again, for all models"
            )
        self.ran_at = datetime.fromisoformat(json.loads(builds[MARTS[0]])["now"])
        if os.environ.get("COMPOSE_HASH_SALT") and connection.execute(NOT_HASHED).fetchall():
            sys.exit(
                "cannot write the report: COMPOSE_HASH_SALT is set, but the answers hold names;"
                " run dbt build with it first"
            )
        connection.execute(VIEWS.format(ran_at=self.ran_at))

    def table(self, title: str, query: str, bar: str = "") -> Table:
        """Return the rows of a query."""
        found = self._connection.execute(query)
        return Table(title, [each[0] for each in found.description or ()], found.fetchall(), bar)

    def pivot(self, title: str, query: str, total: str) -> Table:
        """Return the rows of a query of three columns, the second of which becomes columns."""
        found = self.table(title, query)
        rows: dict[Any, dict[str, Any]] = {}
        for row, column, number in found.rows:
            rows.setdefault(row, {})[column] = number
        columns = list(dict.fromkeys(row[1] for row in found.rows))
        if "all others" in columns:
            columns.sort(key="all others".__eq__)
        return Table(
            title,
            [found.head[0], *columns, total],
            [
                (
                    row,
                    *(each.get(column, 0) for column in columns),
                    sum(filter(None, each.values())),
                )
                for row, each in rows.items()
            ],
            total,
        )

    def row(self, query: str) -> tuple[Any, ...]:
        """Return the only row of a query."""
        (found,) = self._connection.execute(query).fetchall()
        return found


def controls(answers: Answers) -> Section:
    """Show the alarms, and what could not be assessed."""
    alarms, high, unknown, checks = answers.row(
        "select count(*) filter (status = 'alarm'),"
        " count(*) filter (status = 'alarm' and severity in ('critical', 'high')),"
        " count(*) filter (status in ('error', 'skip')), count(*) from controls"
    )
    return Section(
        "controls",
        f"{alarms:,}",
        f"{_noun(alarms, 'alarm')}, {high:,} of them critical or high;"
        f" {unknown:,} of {checks:,} checks were not assessed",
        "A control is a rule that is checked for each deployment, or for each of its resources.",
        [
            answers.table("Alarms", ALARMS),
            answers.table("Not assessed", NOT_ASSESSED),
            answers.table("All controls", CONTROLS),
        ],
    )


def cost(answers: Answers) -> Section:
    """Show what is paid now, compared with the last month, and the months before."""
    currency, now, last_month, none, without_amount = answers.row(
        """select coalesce(any_value(currency), ''), coalesce(sum(rate), 0),
        coalesce(sum(last_month), 0), coalesce(sum(rate) filter (billing_code = 'none'), 0),
        coalesce(sum(without_amount), 0) from rates"""
    )
    change = f", {now / last_month - 1:+.0%} against the cost of last month" if last_month else ""
    share = f"; {none / now:.0%} without a billing code" if now else ""
    note = "The rate of now is what a full month costs at present."
    if without_amount:
        note += f" {without_amount:,} {_noun(without_amount, 'billable has', 'billables have')}"
        note += " no amount."
    return Section(
        "cost",
        f"{now:,.2f}",
        f"{currency} per month{change}{share}".strip(),
        note,
        [
            answers.table("Rate by billing code", RATES_BY_CODE, "now"),
            answers.pivot("Cost of the last 12 full months", MONTHS, "total"),
            answers.table("Rate by deployment", RATES, "now"),
        ],
    )


def people(answers: Answers) -> Section:
    """Show who can read data, and who can configure."""
    reading, configuring, strangers, unread, accounts = answers.row(
        """select count(*) filter ("read data" > 0), count(*) filter (configure > 0),
        count(*) filter ("user of the account" = 'no'),
        count(*) filter ("user of the account" = 'not read'), count(distinct account) from people"""
    )
    finding = f"{_noun(reading, 'person', 'people')} can read data, {configuring:,} can configure"
    if strangers:
        finding += (
            f"; {strangers:,} {_noun(strangers, 'is no user', 'are no users')} of the account"
        )
    if unread:
        finding += f"; for {unread:,} the users of the account were not read"
    hidden = "" if accounts > 1 else "exclude (account)"
    return Section(
        "people",
        f"{reading:,}",
        finding,
        "Developers and admins read data: connection strings, backups and log files."
        " Managers and admins configure.",
        [
            answers.table(
                "Deployments that a person has a role on",
                f"select * {hidden} from people"  # noqa: S608
                ' order by "read data" desc, configure desc, person, account',
                "read data",
            )
        ],
    )


def timeline(answers: Answers) -> Section:
    """Show what happened lately."""
    entries, alerts = answers.row("select count(*), count(*) filter (what = 'alert') from latest")
    return Section(
        "timeline",
        f"{entries:,}",
        f"{_noun(entries, 'entry', 'entries')} in the timeline of the last 30 days,"
        f" {alerts:,} {_noun(alerts, 'alert')} among them",
        "Many actions appear twice: as the audit event and as the recipe.",
        [
            answers.pivot("Entries by deployment", KINDS, "all"),
            answers.table("The latest entries, without backups", EVENTS),
        ],
    )


def _noun(count: int, one: str, many: str = "") -> str:
    """Return the word that agrees with the count."""
    return one if count == 1 else many or f"{one}s"


def cell(value: Any) -> str:
    """Return the text of a cell of a table."""
    if value is None or value == "":
        return "–"  # noqa: RUF001
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, Decimal):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def report(path: str, schema: str) -> str:
    """Return the report of the answers in a DuckDB file."""
    with duckdb.connect(path, read_only=True) as connection:
        answers = Answers(connection, schema)
        sections = [controls(answers), cost(answers), people(answers), timeline(answers)]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["cell"] = cell
    template = environment.get_template("report.html")
    text: str = template.render(ran_at=answers.ran_at, sections=sections)
    return text


def main() -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("report", help="the HTML file to write", type=Path)
    parser.add_argument("--schema", help="the variable answers_schema of dbt", default="answers")
    arguments = parser.parse_args()
    try:
        text = report(os.environ.get("COMPOSE_ANSWERS", "compose.duckdb"), arguments.schema)
    except duckdb.Error as error:
        sys.exit(f"cannot write the report: {error}; run dbt build first")
    arguments.report.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
