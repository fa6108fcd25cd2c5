"""The marts of ``examples/dbt``, worked out in Python from the sandbox's account, load by load."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.support.expected import Row, expected_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_compose.sandbox.made_up_account import Account

Rows = dict[str, list[Row]]


@dataclass(frozen=True)
class Load:
    """What an account held when it was loaded.

    Attributes:
        account: The account.
        now: The variable ``now`` of the build after the load.
    """

    account: Account
    now: datetime


class Answers:
    """The marts after the last of some loads.

    Args:
        loads: All loads, the first one first, each followed by a build.
    """

    def __init__(self, *loads: Load) -> None:
        self.now = loads[-1].now
        self._loads = [(load.now, expected_rows(load.account)) for load in loads]
        self._rows = self._loads[-1][1]
        self._listed = {row["id"]: row for row in self._rows["deployments"]}
        self._ever = {row["id"]: row for _, rows in self._loads for row in rows["deployments"]}
        self._details = {
            row["id"]: row for _, rows in self._loads for row in rows.get("deployment_details", [])
        }

    def all(self) -> Rows:
        """Return the rows of each mart, in no order."""
        return {
            "monthly_cost": list(self._monthly_cost()),
            "access_review": list(self._access()),
            "deployment_timeline": [*self._events(), *self._recipes(), *self._alerts()],
        }

    # Cost.

    def _monthly_cost(self) -> Iterator[Row]:
        replaced: dict[str, datetime] = {}
        for row in self._rows["billables"]:
            if row["replaces_id"]:
                start = _moment(row["start_at"])
                replaced[row["replaces_id"]] = min(replaced.get(row["replaces_id"], start), start)
        totals: dict[tuple[Any, ...], Row] = {}
        for row in self._rows["billables"]:
            replaced_at = replaced.get(row["id"])
            start, end = _moment(row["start_at"]), _moment(row["end_at"])
            end = min(end, replaced_at or end)
            code = self._ever[row["identifier"]].get("customer_billing_code") or "none"
            for month, following in self._months(start, end):
                key = (month.date(), code, row["identifier"], row["sku"])
                total = totals.setdefault(key, _nothing())
                until = min(following, self.now)
                amount, has_ended = row["amount"], end <= until
                share = Decimal((min(end, until) - max(start, month)) / (following - month))
                _add(total, "cost", amount and amount * share)
                _add(total, "monthly_rate", Decimal(0) if has_ended else amount)
                is_replaced = replaced_at is not None and replaced_at <= self.now
                kind = "replaced" if is_replaced else "ended"
                total[f"{kind if has_ended else 'current'}_billables"] += 1
        for (month, code, deployment_id, sku), total in totals.items():
            cost = total.pop("cost")
            yield {
                "month": month,
                "billing_code": code,
                **_named(self._ever[deployment_id]),
                "sku": sku,
                "cost": cost and cost.quantize(Decimal("0.01")),
                **total,
            }

    def _months(self, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The first instants of the months in which something was billed, and of those after."""
        month = start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        while start < end and max(month, start) < min(end, self.now):
            following = (month + timedelta(days=32)).replace(day=1)
            yield month, following
            month = following

    # Access.

    def _access(self) -> Iterator[Row]:
        rows = self._rows
        teams = {team["id"]: team for team in rows["teams"]}
        users = {user["id"]: user for user in rows["account_users"]}
        grants: dict[tuple[str, str, str, str | None], Row] = {
            (role["deployment_id"], role["name"], user["id"], None): user
            for role in rows["deployment_roles"]
            for user in role["users"]
        }
        for role in rows["deployment_team_roles"]:
            for team in role["teams"]:
                for user in [*teams[team["id"]]["users"], *(team["users"] or [])]:
                    grants[role["deployment_id"], role["name"], user["id"], team["id"]] = user
        last: dict[str, Row] = {}
        for event in sorted(rows["audit_events"], key=lambda row: (row["created_at"], row["id"])):
            if event["user_id"]:
                last[event["user_id"]] = event
        for (deployment_id, role_name, user_id, team_id), user in grants.items():
            event = last.get(user_id, {})
            at = _moment(event["created_at"]) if event else None
            yield {
                "user_id": user_id,
                "user_name": user["name"],
                "email": event.get("email"),
                **_named(self._listed[deployment_id]),
                "role_name": role_name,
                "team_id": team_id,
                "team_name": team_id and teams[team_id]["name"],
                "is_account_user": user_id in users,
                "last_event": event.get("event"),
                "last_event_at": at,
                "days_since_last_event": at and (self.now - at).days,
            }

    # What happened.

    def _events(self) -> Iterator[Row]:
        kinds = {
            "deployment.provision": "provisioned",
            "deployment.provision_from_backup": "provisioned",
            "deployment.scale.members": "scaled",
            "deployment.add.nodes": "scaled",
            "deployment.remove.node": "scaled",
            "deployment.version.update": "upgraded",
            "deployment.deprovision": "deprovisioned",
        }
        for row in self._rows["audit_events"]:
            what = kinds.get(row["event"])
            if what and row["deployment_id"]:
                yield self._happened(row, what, "audit_events") | {
                    "detail": row["event"],
                    "status": None,
                    "user_id": row["user_id"],
                }

    def _recipes(self) -> Iterator[Row]:
        recipes = {row["id"]: row for _, rows in self._loads for row in rows["deployment_recipes"]}
        for row in recipes.values():
            is_first = row["id"] == self._details[row["deployment_id"]]["provision_recipe_id"]
            what = "provisioned" if is_first else {"Scaling up": "scaled"}.get(row["name"])
            if what and row["parent_id"] is None:
                yield self._happened(row, what, "deployment_recipes") | {
                    "detail": row["name"],
                    "status": row["status"],
                    "user_id": row["source_user"],
                }

    def _happened(self, row: Row, what: str, source: str) -> Row:
        return {
            "happened_at": _moment(row["created_at"]),
            **_named(self._ever[row["deployment_id"]]),
            "what": what,
            "source": source,
            "source_id": row["id"],
        }

    def _alerts(self) -> Iterator[Row]:
        """The alerts, whose ``source_id`` is made up by dbt."""
        before: dict[str, Row] = {}
        for now, rows in self._loads:
            for row in rows["deployment_health"]:
                is_new = row != before.get(row["deployment_id"])
                if is_new and row["summary"] != "healthy":
                    count = row["alert_count"]
                    yield {
                        "happened_at": now,
                        **_named(self._ever[row["deployment_id"]]),
                        "what": "alert",
                        "detail": f"{count} alert{'s' * (count != 1)}",
                        "status": row["summary"],
                        "user_id": None,
                        "source": "health_history",
                        "source_id": None,
                    }
            before = {row["deployment_id"]: row for row in rows["deployment_health"]}


def _nothing() -> Row:
    counts = dict.fromkeys(("current_billables", "ended_billables", "replaced_billables"), 0)
    return {"cost": None, "monthly_rate": None, **counts}


def _add(total: Row, name: str, amount: Decimal | None) -> None:
    """Add an amount that may be unknown, as SQL does."""
    if amount is not None:
        total[name] = (total[name] or 0) + amount


def _named(deployment: Row) -> Row:
    return {"deployment_id": deployment["id"], "deployment_name": deployment["name"]}


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")
