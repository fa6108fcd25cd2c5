"""What goes over the wire: docs/compose-api.md, Read endpoints, written down as JSON Schemas.

Made from the page and not from the code. The bodies of the sandbox are held against it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Schema = dict[str, Any]


def record(fields: Schema, maybe: Schema | None = None) -> Schema:
    """An object with no other fields; those in ``maybe`` may be null or absent."""
    optional = {name: {"anyOf": [each, {"type": "null"}]} for name, each in (maybe or {}).items()}
    return {
        "type": "object",
        "properties": fields | optional,
        "required": list(fields),
        "additionalProperties": False,
    }


def each(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def all_as(schema: Schema, names: str) -> Schema:
    return dict.fromkeys(names.split(), schema)


ID = {"type": "string", "pattern": "^[0-9a-f]{24}$"}
TEXT = {"type": "string"}
BOOL = {"type": "boolean"}
INT = {"type": "integer"}
NUMBER = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\d+(\.\d+)?$"}]}
TIME = {
    "type": "string",
    "pattern": r"^\d{4,5}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}Z|Z|\.\d{3}[+-]\d\d:\d\d)$",
}
TEXTS = each(TEXT)


def link(pattern: str) -> Schema:
    href = {"type": "string", "pattern": rf"^{pattern}\{{\?embed\}}$"}
    return record({"href": href, "templated": {"const": True}})


BASE = r"http://127\.0\.0\.1:\d+/2016-07"
NAMED = {"id": ID, "name": TEXT}
PERSON = record({"id": ID}, {"name": TEXT})
TEAM = record({**NAMED, "users": each(PERSON)})
WEB_UI = {"compose_web_ui": link("https://.*")}
SUMMARY = {**NAMED, "type": TEXT, "created_at": TIME}
NOTES = all_as(TEXT, "notes customer_billing_code")
LINKS = {
    **WEB_UI,
    **{
        name: link(f"{BASE}/deployments/[0-9a-f]{{24}}/{name}")
        for name in ("scalings", "backups", "alerts", "portal_users")
    },
    "cluster": link(f"{BASE}/clusters/[0-9a-f]{{24}}"),
}
CONNECTION_STRINGS = record(
    {
        **all_as(TEXTS, "cli direct"),
        **all_as({"anyOf": [TEXTS, TEXT]}, "health ssh admin ssh_admin"),
        "maps": each({"type": "object", "additionalProperties": TEXT}),
        "misc": record({}, all_as(TEXTS, "cli_readonly direct_readonly ssh_cli")),
    }
)
DETAILS = record(
    {
        **SUMMARY,
        **all_as(ID, "account_id provision_recipe_id"),
        "version": TEXT,
        "connection_strings": CONNECTION_STRINGS,
        "_links": record(LINKS),
    },
    {**NOTES, "cluster_id": {"anyOf": [ID, {"const": ""}]}, "ca_certificate_base64": TEXT},
)
EVENT_DATA = record({}, all_as(TEXT, "units memory storage cluster deployment"))
AUDIT_EVENT = record(
    {
        **all_as(ID, "id account_id"),
        "event": TEXT,
        "created_at": TIME,
        "data": EVENT_DATA,
        "_links": record({"self": link(f"{BASE}/audit_events/[0-9a-f]{{24}}")}),
    },
    {**all_as(ID, "deployment_id cluster_id user_id"), **all_as(TEXT, "email ip user_agent")},
)
CLUSTER = record(
    {
        **all_as(ID, "id account_id"),
        **all_as(TEXT, "account_slug name type provider region subdomain"),
        "multitenant": BOOL,
        "created_at": TIME,
    },
    {"tags": TEXTS},
)
BACKUP = record(
    {
        "deployment_id": ID,
        **all_as(TEXT, "name type status"),
        **all_as(BOOL, "is_downloadable is_restorable"),
        "_links": record({"self": link("deployments/[0-9a-f]{24}/backups/[0-9a-f]{24}")}),
    },
    {**all_as(ID, "id _id"), "created_at": TIME},
)
LOGFILE = record(
    {
        **all_as(ID, "id deployment_id capsule_id"),
        **all_as(TEXT, "name region status"),
        "file_size": NUMBER,
    },
    all_as(TIME, "date created_at"),
)
RECIPE = record(
    {
        **all_as(ID, "id account_id deployment_id"),
        **all_as(TEXT, "name template status status_detail"),
        **all_as(TIME, "created_at updated_at"),
        "_embedded": record({"recipes": each({"$ref": "#"})}),
    },
    {
        **all_as(ID, "parent_id source_user"),
        **all_as(TEXT, "source source_reason source_ip"),
        **all_as(INT, "operations_complete operations_total"),
    },
)
VERSION = record({**all_as(TEXT, "application status version"), "preferred": BOOL})
BILLABLE = record(
    {
        **all_as(ID, "id account_id"),
        **all_as(TEXT, "description identifier resource_identifier sku"),
        **all_as(NUMBER, "amount units"),
        **all_as(TIME, "start_at end_at"),
    },
    {"replaces_id": ID},
)
TEAM_ROLE = record({"name": TEXT, "teams": each(record(NAMED, {"users": each(PERSON)}))})
SIZES = "memory_per_unit_in_mb storage_per_unit_in_mb unit_size_in_mb"


class Line(NamedTuple):
    """A line of the page's tables.

    Attributes:
        path: The path; ``:account`` and ``:deployment`` stand for each of them.
        envelopes: The names that the list in ``_embedded`` may have; none if the body is bare.
        schema: That of an element, or of the bare body.
        never: Fields that are known but were empty in everything that was recorded.
    """

    path: str
    envelopes: tuple[str, ...]
    schema: Schema
    never: tuple[str, ...] = ()


OF = "deployments/:deployment"

LINES = (
    Line("accounts", ("accounts",), record({**NAMED, "slug": TEXT})),
    Line("accounts/:account/users", ("users",), PERSON),
    Line("user", (), record({"id": ID, "_links": record({"self": link(".*")})}, {"name": TEXT})),
    Line("teams", ("teams",), TEAM),
    Line("audit_events", ("audit_events",), AUDIT_EVENT),
    Line("billables", ("billables",), BILLABLE),
    Line("clusters", ("clusters",), CLUSTER),
    Line(
        "databases",
        ("applications",),
        record(
            {
                **all_as(TEXT, "type status display_name"),
                "_embedded": record({"versions": each(VERSION)}),
            }
        ),
    ),
    Line("datacenters", ("datacenters",), record(all_as(TEXT, "region provider slug"))),
    Line("deployments", ("deployments",), record({**SUMMARY, "_links": record(WEB_UI)}, NOTES)),
    Line(OF, (), DETAILS),
    Line(f"{OF}/addons", ("addons",), record({"name": TEXT, "is_active": BOOL})),
    Line(
        f"{OF}/alerts",
        ("alerts",),
        record(
            {"deployment_id": ID, **all_as(TEXT, "message status")},
            {"capsule_id": ID, "name": TEXT},
        ),
    ),
    Line(f"{OF}/backups", ("backups",), BACKUP),
    Line(f"{OF}/logfiles", ("logfiles", "logfile"), LOGFILE),
    Line(
        f"{OF}/portals",
        ("portals",),
        record(
            {"id": ID, **all_as(TEXT, "name type internal_ip zone hostname")}, {"ssl_enabled": BOOL}
        ),
    ),
    Line(f"{OF}/portal_users", ("portal_users",), record(all_as(TEXT, "name type"), {"id": ID})),
    Line(f"{OF}/recipes", ("recipes",), RECIPE, ("source_reason",)),
    Line(f"{OF}/roles", ("roles",), record({"name": TEXT, "users": each(PERSON)})),
    Line(
        f"{OF}/scalings",
        (),
        record(
            all_as(INT, "allocated_units used_units starting_units minimum_units"),
            {**all_as(INT, SIZES), "unit_type": TEXT},
        ),
    ),
    Line(f"{OF}/team_roles", ("team_roles",), TEAM_ROLE),
    Line(
        f"{OF}/versions",
        ("transitions",),
        record(all_as(TEXT, "application method from_version to_version")),
    ),
    Line(f"{OF}/whitelist", ("whitelist",), record({"id": ID, "ip": TEXT}, {"description": TEXT})),
)
