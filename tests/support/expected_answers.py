"""Marts of ``examples/dbt``, worked out in Python from the sandbox's account, load by load."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, Any

from tests.support.expected import Row, expected_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_compose.sandbox.made_up_account import Account

Rows = dict[str, list[Row]]

KINDS = {
    "provision": "provisioned",
    "provision_from_backup": "provisioned",
    "scale.members": "scaled",
    "add.nodes": "scaled",
    "remove.node": "scaled",
    "version.update": "upgraded",
    "backup": "backed up",
    "backup_on_demand": "backed up",
    "deprovision": "deprovisioned",
    "apply_configuration": "changed",
    "reconfig": "changed",
    "capsule.destroy": "changed",
    "install_lets_encrypt_certs": "changed",
    "add.haproxy": "changed",
    "add.kibana": "changed",
    "remove.kibana": "changed",
}
RECIPES = {
    "provision": "provisioned",
    "scal": "scaled",
    "upgrad": "upgraded",
    "deprovision": "deprovisioned",
}


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
        self._ever = {row["id"]: row for row in self._all("deployments")}
        self._details = {row["id"]: row for row in self._all("deployment_details")}
        self._capsules = {
            row["capsule_id"]: row["deployment_id"]
            for row in [*self._all("deployment_logfiles"), *self._all("deployment_alerts")]
        }

    def all(self) -> Rows:
        """Return the rows of each mart, in no order."""
        return {
            "monthly_cost": list(self._monthly_cost()),
            "access_review": list(self._access()),
            "deployment_timeline": [*self._events(), *self._recipes(), *self._health()],
        }

    def _all(self, stream: str) -> list[Row]:
        return [row for _, rows in self._loads for row in rows.get(stream, [])]

    def _account_of(self, deployment_id: str) -> str | None:
        if deployment_id in self._details:
            return str(self._details[deployment_id]["account_id"])
        accounts = self._rows["accounts"]
        return accounts[0]["id"] if len(accounts) == 1 else None

    def _named(self, deployment_id: str) -> Row:
        deployment = self._ever.get(deployment_id, {})
        return {"deployment_id": deployment_id, "deployment_name": deployment.get("name")}

    # Cost.

    def _monthly_cost(self) -> Iterator[Row]:
        costs: dict[tuple[Any, ...], list[Decimal | None]] = {}
        rates: dict[tuple[Any, ...], list[Decimal | None]] = {}
        actives: dict[tuple[Any, ...], list[bool]] = {}
        for row in self._rows["billables"]:
            identifier, amount = row["identifier"], row["amount"]
            deployment_id = str(self._capsules.get(identifier, identifier))
            end = min([_moment(row["end_at"]), *self._replaced(row)])
            last = min(end, self.now) - timedelta(seconds=1)
            start = _moment(row["start_at"]) if row["start_at"] else _month_of(last)
            for month, following in self._months(start, end):
                until = min(end, following, self.now)
                key = (
                    *(month.date(), row["account_id"], self._code(deployment_id, until)),
                    *(deployment_id, row["sku"]),
                )
                share = Fraction(*_in_ms(until - max(start, month), following - month))
                costs.setdefault(key, []).append(_prorated(amount, share))
                is_active = end > min(following, self.now)
                actives.setdefault(key, []).append(is_active)
                rates.setdefault(key, []).append(amount if is_active else Decimal(0))
        for key, found in costs.items():
            first, account_id, code, resource_id, sku = key
            is_known = resource_id in self._ever
            yield {
                "month": first,
                "account_id": account_id,
                "billing_code": code or "none",
                "resource_id": resource_id,
                "deployment_id": resource_id if is_known else None,
                "deployment_name": self._ever[resource_id]["name"] if is_known else None,
                "sku": sku,
                "currency": "USD",
                "cost": _sum(found),
                "monthly_rate": _sum(rates[key]),
                "active_billables": sum(actives[key]),
                "billables_without_amount": found.count(None),
            }

    def _replaced(self, row: Row) -> Iterator[datetime]:
        """When others replace the resource of a billable, or the same one with another size."""
        for other in self._rows["billables"]:
            is_later = (row["start_at"] or "") < (other["start_at"] or "")
            if other["replaces_id"] == row["identifier"] and is_later:
                is_same = other["identifier"] == row["identifier"]
                if not is_same or other["sku"] == row["sku"]:
                    yield _moment(other["start_at"])

    def _code(self, deployment_id: str, at: datetime) -> str | None:
        """The billing code that a deployment had at a time, or else its first one."""
        codes = [
            (now, row["customer_billing_code"])
            for now, rows in self._loads
            for row in rows["deployments"]
            if row["id"] == deployment_id
        ]
        known = [code for now, code in codes if now <= at] or [code for _, code in codes[:1]]
        return known[-1] if known else None

    def _months(self, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The first instants of the months in which something was billed, and of those after."""
        month = _month_of(start)
        while start < end and max(month, start) < min(end, self.now):
            following = (month + timedelta(days=32)).replace(day=1)
            yield month, following
            month = following

    # People.

    def _access(self) -> Iterator[Row]:
        rows = self._rows
        teams = {team["id"]: team for team in rows["teams"]}
        users = {(user["account_id"], user["id"]) for user in rows["account_users"]}
        read_accounts = {account_id for account_id, _ in users}
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
            account_id = self._account_of(deployment_id)
            yield {
                "account_id": account_id,
                "user_id": user_id,
                "user_name": user["name"],
                "email": event.get("email"),
                **self._named(deployment_id),
                "role_name": role_name,
                "can_read_data": role_name in {"developer", "admin"},
                "can_configure": role_name in {"manager", "admin"},
                "team_id": team_id,
                "team_name": team_id and teams[team_id]["name"],
                "is_account_user": (account_id, user_id) in users
                if account_id in read_accounts
                else None,
                "last_event": event.get("event"),
                "last_event_at": at,
                "days_since_last_event": at and (self.now - at).days,
            }

    # What happened.

    def _events(self) -> Iterator[Row]:
        for row in self._rows["audit_events"]:
            if row["deployment_id"]:
                yield self._happened(row, KINDS[row["event"].removeprefix("deployment.")]) | {
                    "detail": row["event"],
                    "status": None,
                    "user_id": row["user_id"],
                    "source": "audit_events",
                }

    def _recipes(self) -> Iterator[Row]:
        recipes = {row["id"]: row for row in self._all("deployment_recipes")}
        for row in recipes.values():
            name = row["name"].lower()
            kinds = [kind for word, kind in RECIPES.items() if name.startswith(word)]
            if row["id"] == self._details.get(row["deployment_id"], {}).get("provision_recipe_id"):
                kinds = ["provisioned"]
            if kinds and row["parent_id"] is None:
                yield self._happened(row, kinds[0]) | {
                    "detail": row["name"],
                    "status": row["status"],
                    "user_id": row["source_user"],
                    "source": "deployment_recipes",
                }

    def _happened(self, row: Row, what: str) -> Row:
        return {
            "happened_at": _moment(row["created_at"]),
            "account_id": row["account_id"],
            **self._named(row["deployment_id"]),
            "what": what,
            "source_id": row["id"],
        }

    def _health(self) -> Iterator[Row]:
        """The changes of health, whose ``source_id`` is made up by dbt."""
        before: dict[str, Row] = {}
        for now, rows in self._loads:
            for row in rows["deployment_health"]:
                deployment_id, count = row["deployment_id"], row["alert_count"]
                known = before.get(deployment_id)
                if row["summary"] == "healthy":
                    what = "recovered" if known and known["summary"] != "healthy" else None
                else:
                    what = "alert" if row != known else None
                before[deployment_id] = row
                if what:
                    yield {
                        "happened_at": now,
                        "account_id": self._account_of(deployment_id),
                        **self._named(deployment_id),
                        "what": what,
                        "detail": f"{count} alert{'s' * (count != 1)}",
                        "status": row["summary"],
                        "user_id": None,
                        "source": "health_history",
                        "source_id": None,
                    }


def _prorated(amount: Decimal | None, share: Fraction) -> Decimal | None:
    if amount is None:
        return None
    return Decimal(floor(Fraction(amount) * share * 10**8 + Fraction(1, 2))).scaleb(-8)


def _month_of(at: datetime) -> datetime:
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _in_ms(*periods: timedelta) -> list[int]:
    return [each // timedelta(milliseconds=1) for each in periods]


def _sum(amounts: list[Decimal | None]) -> Decimal | None:
    """Add amounts, as SQL does."""
    known = [each for each in amounts if each is not None]
    return sum(known, Decimal(0)) if known else None


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")
