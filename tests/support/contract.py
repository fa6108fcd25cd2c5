"""The fields of docs/compose-api.md, Read endpoints, written down by hand: one entry per path.

The columns of the catalog and the bodies of the sandbox are held against this table, so it must
not be made from the code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Schema = dict[str, Any]


def _texts(schema: Schema) -> Schema:
    return {"type": "object", "additionalProperties": schema}


_TEXT: Schema = {"type": "string"}
_LIST: Schema = {"type": "array", "items": _TEXT}
_NUMBER = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\d+(\.\d+)?$"}]}
_TIME = r"^\d{4,5}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}Z|Z|\.\d{3}[+-]\d\d:\d\d)$"

KINDS: dict[str, tuple[Schema, Any]] = {
    "text": (_TEXT, "string"),
    "id": ({"type": "string", "pattern": "^([0-9a-f]{24})?$"}, "string"),
    "time": ({"type": "string", "pattern": _TIME}, "time"),
    "bool": ({"type": "boolean"}, "boolean"),
    "int": ({"type": "integer"}, "integer"),
    "size": (_NUMBER, "integer"),
    "number": (_NUMBER, "number"),
    "list": (_LIST, ["string"]),
    "list_or_text": ({"anyOf": [_LIST, _TEXT]}, ["string"]),
    "maps": ({"type": "array", "items": _texts(_TEXT)}, ["object"]),
    "lists": (_texts(_LIST), "object"),
    "data": (_texts(_TEXT), "object"),
    "recipes": ({"type": "array", "items": {"$ref": "#"}}, None),
}
"""The JSON Schema of each kind of value in a body, and the type of its column."""

Fields = dict[str, Any]
"""The fields of an object: the name, with ``?`` if it may be null or absent, and the kind."""


def fields(text: str, **members: Any) -> Fields:
    """Read ``name:kind?``; the kind is ``id`` after its name, else text, unless it is given."""
    found: Fields = {}
    for word in text.split():
        name, _, kind = word.rstrip("?").partition(":")
        is_id = name == "id" or name.endswith("_id")
        optional = "?" * word.endswith("?")
        found[name + optional] = members.get(name, kind or ("id" if is_id else "text"))
    return found


@dataclass(eq=False)
class Resource:
    """A path of the API, and the stream that has its rows; both are named alike unless it is given.

    Attributes:
        path: The path; ``:account`` and ``:deployment`` stand for each of them.
        fields: The fields of an element, or of the bare body.
        key: The stream's key.
        stream: The stream.
        envelope: The names that the list in ``_embedded`` may have; empty if the body is bare.
        is_bare: Whether the body is the object itself.
        columns: Columns that are no fields of an element; ``deployment_id`` always is one.
        replication_key: The stream's.
        never: Fields that are known but were empty in everything that was recorded.
    """

    path: str
    fields: Fields
    key: str = "id"
    stream: str = ""
    envelope: str = ""
    is_bare: bool = False
    columns: Fields = field(default_factory=dict)
    replication_key: str = ""
    never: str = ""

    def __post_init__(self) -> None:
        name = self.path.rpartition("/")[2]
        if self.path.startswith(f"{OF}/"):
            self.stream = f"deployment_{name}"
            if "deployment_id" not in self.fields:
                self.columns = fields("deployment_id")
        self.stream = self.stream or name
        self.envelope = "" if self.is_bare else self.envelope or name


OF = "deployments/:deployment"
PERSON = fields("id name?")
VERSION = fields("application status version preferred:bool")
SUMMARY = fields("id name type notes? customer_billing_code? created_at:time")
WEB_UI = fields("compose_web_ui_url")
CONNECTION_STRINGS = fields(
    "health:list_or_text ssh:list_or_text admin:list_or_text ssh_admin:list_or_text "
    "cli:list direct:list maps:maps misc:lists"
)
DETAILS = fields(
    "account_id cluster_id? version ca_certificate_base64? provision_recipe_id connection_strings",
    connection_strings=CONNECTION_STRINGS,
)
EVENT = fields(
    "id account_id deployment_id? cluster_id? user_id? email? event ip? user_agent? "
    "created_at:time data:data"
)
BILLABLE = fields(
    "id account_id description identifier resource_identifier sku replaces_id? "
    "amount:number units:number start_at:time end_at:time"
)
CLUSTER = fields(
    "id account_id account_slug name type provider region subdomain multitenant:bool "
    "created_at:time tags:list?"
)
BACKUP = fields(
    "id? _id? deployment_id name type status is_downloadable:bool is_restorable:bool "
    "created_at:time?"
)
LOGFILE = fields(
    "id deployment_id capsule_id name region status file_size:size date:time? created_at:time?"
)
RECIPE = fields(
    "id account_id deployment_id parent_id? name template status status_detail source? "
    "source_user:id? source_reason? source_ip? created_at:time updated_at:time "
    "operations_complete:int? operations_total:int? _embedded",
    _embedded={"recipes": "recipes"},
)
SCALINGS = fields(
    "allocated_units:int used_units:int starting_units:int minimum_units:int "
    "memory_per_unit_in_mb:int? storage_per_unit_in_mb:int? unit_size_in_mb:int? unit_type?"
)
PORTAL = fields("id name type internal_ip zone hostname ssl_enabled:bool?")
TEAM = fields("id name users?", users=[PERSON])
APPLICATION = fields("type status display_name _embedded", _embedded={"versions": [VERSION]})

RESOURCES = (
    Resource("accounts", fields("id name slug")),
    Resource(
        "accounts/:account/users",
        PERSON,
        key="account_id id",
        stream="account_users",
        columns=fields("account_id"),
    ),
    Resource("user", PERSON, is_bare=True),
    Resource("teams", fields("id name users", users=[PERSON])),
    Resource("audit_events", EVENT, replication_key="created_at"),
    Resource("billables", BILLABLE),
    Resource("clusters", CLUSTER),
    Resource(
        "databases",
        APPLICATION,
        key="type",
        envelope="applications",
        columns={"versions": [VERSION]},
    ),
    Resource("datacenters", fields("region provider slug"), key="slug"),
    Resource("deployments", SUMMARY, columns=WEB_UI),
    Resource(OF, SUMMARY | DETAILS, stream="deployment_details", is_bare=True, columns=WEB_UI),
    Resource(f"{OF}/addons", fields("name is_active:bool"), key="deployment_id name"),
    Resource(
        f"{OF}/alerts",
        fields("capsule_id? deployment_id message name? status"),
        columns=fields("id summary"),
    ),
    Resource(f"{OF}/backups", BACKUP),
    Resource(f"{OF}/logfiles", LOGFILE, envelope="logfiles logfile"),
    Resource(f"{OF}/portals", PORTAL),
    Resource(f"{OF}/portal_users", fields("name type id?"), key="deployment_id type name"),
    Resource(f"{OF}/recipes", RECIPE, replication_key="updated_at", never="source_reason"),
    Resource(f"{OF}/roles", fields("name users", users=[PERSON]), key="deployment_id name"),
    Resource(f"{OF}/scalings", SCALINGS, key="deployment_id", is_bare=True),
    Resource(f"{OF}/team_roles", fields("name teams", teams=[TEAM]), key="deployment_id name"),
    Resource(
        f"{OF}/versions",
        fields("application method from_version to_version"),
        key="deployment_id application from_version to_version method",
        envelope="transitions",
    ),
    Resource(f"{OF}/whitelist", fields("id description? ip"), key="deployment_id id"),
)
_OF_THE_SAME_BODIES = (
    ("database_versions", "databases", "application version", VERSION),
    (
        *("deployment_health", f"{OF}/alerts", "deployment_id"),
        fields("deployment_id summary alert_count:int"),
    ),
)


def schema_of(kind: Any) -> Schema:
    """Return the JSON Schema of a value in a body. Objects have no other fields but links."""
    if isinstance(kind, str):
        return KINDS[kind][0]
    if isinstance(kind, list):
        return {"type": "array", "items": schema_of(kind[0])}
    members = {
        name.rstrip("?"): {"anyOf": [schema_of(each), {"type": "null"}]}
        if name.endswith("?")
        else schema_of(each)
        for name, each in kind.items()
    }
    return {
        "type": "object",
        "properties": {**members, "_links": {"type": "object"}},
        "required": [name for name in kind if not name.endswith("?")],
        "additionalProperties": False,
    }


def _column_of(kind: Any) -> Any:
    if isinstance(kind, str):
        return KINDS[kind][1]
    if isinstance(kind, list):
        return [_column_of(kind[0])]
    return _columns_of(kind)


def _columns_of(members: Fields) -> dict[str, Any]:
    columns = {name.rstrip("?"): kind for name, kind in members.items() if name[0] != "_"}
    return {name: _column_of(kind) for name, kind in columns.items()}


FIELDS: dict[str, dict[str, Any]] = {
    **{each.stream: _columns_of({**each.fields, **each.columns}) for each in RESOURCES},
    **{stream: _columns_of(members) for stream, *_, members in _OF_THE_SAME_BODIES},
}
"""The columns of each stream: the name, and the type."""

KEYS: dict[str, list[str]] = {
    **{each.stream: each.key.split() for each in RESOURCES},
    **{stream: key.split() for stream, _, key, _ in _OF_THE_SAME_BODIES},
}
PATHS: dict[str, str] = {
    **{each.stream: f"/{each.path}" for each in RESOURCES},
    **{stream: f"/{path}" for stream, path, *_ in _OF_THE_SAME_BODIES},
}
"""The path of each stream; ``:account`` and ``:deployment`` stand for each of them."""

REPLICATION_KEYS = {each.stream: each.replication_key for each in RESOURCES if each.replication_key}

COVERAGE = _columns_of(
    fields("stream deployment_id outcome http_status:int reason row_count:int read_at:time")
)
"""The columns of the stream that has no path."""

COVERAGE_KEY = ["stream", "deployment_id"]
