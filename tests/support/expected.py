"""The rows that a sandbox account should become, worked out without the tap's code."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tap_compose.sandbox.deployment_bodies import RESOURCES
from tests.support.contract import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_compose.sandbox.made_up_account import Account

Row = dict[str, Any]

_SPECIAL = {"addons", "alerts", "backups", "logfiles", "recipes"}
"""The bodies of deployments whose objects are not simply the rows of a stream."""


def expected_rows(account: Account, *, connection_strings: bool = False) -> dict[str, list[Row]]:
    """Return what every stream should hold, in the order of the responses."""
    rows = {
        stream: [_row(FIELDS[stream], wire) for wire in wires]
        for stream, wires in _wires(account).items()
    }
    if not connection_strings:
        for row in rows["deployment_details"]:
            row["connection_strings"] = None
    rows["audit_events"].sort(key=lambda row: row["created_at"])
    return rows


def _wires(account: Account) -> dict[str, list[Row]]:
    body = account.account_level
    databases = _listed(body["/databases"])
    wires = {stream: _listed(body[f"/{stream}"]) for stream in FIELDS if f"/{stream}" in body} | {
        "account_users": [
            {"account_id": account_id, **user}
            for account_id in account.ids
            for user in _listed(body[f"/accounts/{account_id}/users"])
        ],
        "audit_events": [account.events.event_at(each) for each in range(len(account.events))],
        "databases": [{**each, "versions": each["_embedded"]["versions"]} for each in databases],
        "database_versions": [
            version for each in databases for version in each["_embedded"]["versions"]
        ],
        "deployments": [_with_url(each) for each in _listed(body["/deployments"])],
    }
    for deployment_id in account.deployment_ids:
        if deployment_id != account.leaving:
            for stream, wire in _deployment_wires(account, deployment_id):
                wires.setdefault(stream, []).append(wire)
    return wires


def _deployment_wires(account: Account, deployment_id: str) -> Iterator[tuple[str, Row]]:
    injected = {"deployment_id": deployment_id}
    details = _with_url(account.resource(deployment_id, ""))
    cluster = details["_links"]["cluster"]["href"].removesuffix("{?embed}").split("/")[-1]
    yield "deployment_details", {**details, "cluster_id": details.get("cluster_id") or cluster}

    alerts = account.resource(deployment_id, "alerts")
    raised = alerts["_embedded"]["alerts"]
    yield (
        "deployment_health",
        {**injected, "summary": alerts["summary"], "alert_count": len(raised)},
    )
    for alert in raised:
        parts = [deployment_id, alert["capsule_id"], alert.get("name"), alert["message"]]
        text = json.dumps(parts, separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()
        yield "deployment_alerts", {**alert, "id": digest, "summary": alerts["summary"]}

    addons = account.resource(deployment_id, "addons")
    for addon in addons.get("addons") or _listed(addons):
        yield "deployment_addons", {**injected, **addon}
    for logfile in _listed(account.resource(deployment_id, "logfiles")):
        yield (
            "deployment_logfiles",
            {**logfile, "date": logfile.get("date") or logfile["created_at"]},
        )
    for backup in _listed(account.resource(deployment_id, "backups")):
        yield "deployment_backups", {**backup, "id": backup.get("id") or backup["_id"]}

    seen: set[str] = set()
    for recipe in _flat(account.resource(deployment_id, "recipes"), None):
        if recipe["id"] not in seen:
            seen.add(recipe["id"])
            yield "deployment_recipes", recipe

    for name in RESOURCES.keys() - _SPECIAL:
        if f"deployment_{name}" in FIELDS:
            for wire in _listed(account.resource(deployment_id, name)):
                yield f"deployment_{name}", {**injected, **wire}


def _listed(body: Row) -> list[Row]:
    """The objects of the list in a body, or the body itself if it has none."""
    (entries,) = body.get("_embedded", {"": [body]}).values()
    return list(entries)


def _flat(body: Row, parent_id: str | None) -> Iterator[Row]:
    for recipe in body["_embedded"]["recipes"]:
        yield {**recipe, "parent_id": recipe["parent_id"] or parent_id}
        yield from _flat(recipe, recipe["id"])


def _with_url(deployment: Row) -> Row:
    href = deployment["_links"]["compose_web_ui"]["href"]
    return {**deployment, "compose_web_ui_url": href.removesuffix("{?embed}")}


def _row(fields: dict[str, Any], wire: Row) -> Row:
    return {name: _value(kind, wire.get(name)) for name, kind in fields.items()}


def _value(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(kind, dict):
        return _row(kind, value)
    if isinstance(kind, list):
        entries = value if isinstance(value, list) else [value] if value else []
        return [_value(kind[0], each) for each in entries]
    if kind == "string":
        return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    convert = {"time": _time, "number": _decimal, "integer": _decimal}.get(kind)
    return convert(value) if convert else value


def _decimal(value: Any) -> Decimal:
    return Decimal(str(value))


def _time(text: str) -> str:
    for spelling in ("%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%dT%H:%M:%S%z"):
        try:
            moment = datetime.strptime(text, spelling).astimezone(timezone.utc)
        except ValueError:
            continue
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
    assert int(text.split("-", maxsplit=1)[0]) > 9999
    return "9999-12-31T23:59:59.000Z"
