"""A strict client that does what the vendor's client in Go does, at the same URLs.

Every response is decoded into declared types. A text where a list is declared is an error, and so
is a missing or empty value, unless docs/compose-api.md says that it may be missing. Fields that
are not declared are ignored, as Go ignores them.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import urljoin

import msgspec
import requests
from msgspec import Meta, Struct, field

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

Time = Annotated[datetime, Meta(tz=True)]
Id = Annotated[str, Meta(pattern="^[0-9a-f]{24}$")]
Text = Annotated[str, Meta(min_length=1)]
Texts = list[Text]
SomeTexts = Annotated[list[Text], Meta(min_length=1)]
Link = Annotated[str, Meta(pattern=r"\{\?embed\}$")]


class Target(Struct):
    href: Link
    templated: bool


class Self(Struct):
    to: Target = field(name="self")


class Account(Struct):
    id: Id
    name: Text
    slug: Text


class User(Struct):
    id: Id
    name: Text


class Team(Struct):
    id: Id
    name: Text
    users: list[User]


class AuditEvent(Struct):
    id: Id
    account_id: Id
    deployment_id: Id
    cluster_id: Id
    event: Text
    created_at: Time
    data: Annotated[dict[str, Text], Meta(min_length=1)]
    links: Self = field(name="_links")
    user_id: Id | None = None
    email: Text | None = None
    ip: Text | None = None
    user_agent: Text | None = None


class Billable(Struct):
    id: Id
    account_id: Id
    description: Text
    identifier: Text
    resource_identifier: Text
    sku: Text
    amount: float
    units: int
    start_at: Time
    end_at: Time
    replaces_id: Id | None = None


class Cluster(Struct):
    id: Id
    account_id: Id
    account_slug: Text
    name: Text
    type: Text
    multitenant: bool
    provider: Text
    region: Text
    subdomain: Text
    created_at: Time
    tags: SomeTexts | None = None


class Version(Struct):
    application: Text
    status: Text
    preferred: bool
    version: Text


class Versions(Struct):
    versions: Annotated[list[Version], Meta(min_length=1)]


class Database(Struct):
    type: Text
    status: Text
    display_name: Text
    embedded: Versions = field(name="_embedded")


class Datacenter(Struct):
    region: Text
    provider: Text
    slug: Text


class WebUi(Struct):
    compose_web_ui: Target


class Summary(Struct):
    id: Id
    name: Text
    type: Text
    created_at: Time
    links: WebUi = field(name="_links")
    notes: Text | None = None
    customer_billing_code: Text | None = None


class ConnectionStrings(Struct):
    cli: SomeTexts
    direct: SomeTexts
    health: Texts
    ssh: Texts
    admin: Texts
    ssh_admin: Texts
    maps: list[dict[str, Text]]
    misc: dict[str, SomeTexts]


class DetailLinks(WebUi):
    scalings: Target
    backups: Target
    alerts: Target
    cluster: Target
    portal_users: Target


class Deployment(Struct):
    id: Id
    account_id: Id
    cluster_id: Id
    name: Text
    type: Text
    version: Text
    provision_recipe_id: Id
    created_at: Time
    connection_strings: ConnectionStrings
    links: DetailLinks = field(name="_links")
    notes: Text | None = None
    customer_billing_code: Text | None = None
    ca_certificate_base64: Text | None = None


class Addon(Struct):
    name: Text
    is_active: bool


class Alert(Struct):
    deployment_id: Id
    message: Text
    name: Text
    status: Text
    capsule_id: Id | None = None


class AlertList(Struct):
    alerts: list[Alert]


class Alerts(Struct):
    summary: Text
    embedded: AlertList = field(name="_embedded")


class Backup(Struct):
    id: Id
    deployment_id: Id
    name: Text
    type: Text
    status: Text
    is_downloadable: bool
    is_restorable: bool
    links: Self = field(name="_links")
    created_at: Time | None = None
    download_link: Text | None = None


class Logfile(Struct):
    id: Id
    deployment_id: Id
    capsule_id: Id
    name: Text
    region: Text
    status: Text
    file_size: int
    date: Time
    created_at: Time
    download_link: Text | None = None


class Portal(Struct):
    id: Id
    name: Text
    type: Text
    internal_ip: Text
    zone: Text
    hostname: Text
    ssl_enabled: bool | None = None


class PortalUser(Struct):
    id: Id
    name: Text
    type: Text


class Recipes(Struct):
    recipes: list[Recipe]


class Recipe(Struct):
    id: Id
    account_id: Id
    deployment_id: Id
    name: Text
    template: Text
    status: Text
    status_detail: Text
    created_at: Time
    updated_at: Time
    operations_complete: int
    operations_total: int
    embedded: Recipes = field(name="_embedded")
    parent_id: Id | None = None
    source: Text | None = None
    source_user: Text | None = None
    source_ip: Text | None = None
    source_reason: Text | None = None


class Role(Struct):
    name: Text
    users: list[User]


class TeamRole(Struct):
    name: Text
    teams: list[Team]


class Scalings(Struct):
    allocated_units: int
    used_units: int
    starting_units: int
    minimum_units: int
    memory_per_unit_in_mb: int
    storage_per_unit_in_mb: int
    unit_size_in_mb: int
    unit_type: Text


class Transition(Struct):
    application: Text
    method: Text
    from_version: Text
    to_version: Text


class WhitelistEntry(Struct):
    id: Id
    ip: Text
    description: Text | None = None


class GoClient:
    """Calls the API as the vendor's client does, slashes included.

    Args:
        url: The base URL.
        token: The token.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, kind: type[T]) -> T:
        """Get one object."""
        response = self._session.get(urljoin(f"{self._url}/", path), timeout=60)
        if response.status_code != 200:
            raise ValueError(
                f"{path}: {response.status_code} {msgspec.json.decode(response.content)['errors']}"
            )
        try:
            return msgspec.json.decode(response.content, type=kind)
        except msgspec.ValidationError as error:
            raise ValueError(f"{path}: {error}") from None

    def list_of(self, path: str, kind: type[T], envelope: str = "") -> list[T]:
        """Get a list, which is embedded under the path's last part unless another is named."""
        name = envelope or re.findall(r"\w+", path.partition("?")[0])[-1]
        embedded = msgspec.defstruct("Embedded", [(name, list[kind])])  # type: ignore[valid-type]
        body: Any = msgspec.defstruct("Body", [("_embedded", embedded)])
        found: list[T] = getattr(self.get(path, body)._embedded, name)
        return found

    def everything(self) -> Iterator[Any]:
        """Get all there is, and follow the links."""
        accounts = self.list_of("accounts", Account)
        yield from accounts
        for account in accounts:
            yield from self.list_of(f"accounts/{account.id}/users", User)
        yield self.get("user", User)
        for team in self.list_of("teams", Team):
            yield from (team, self.get(f"teams/{team.id}", Team))
        events = self.list_of("audit_events?limit=100", AuditEvent)
        events += self.list_of(f"audit_events?limit=100&cursor={events[-1].id}", AuditEvent)
        for event in events:
            yield event
            yield self.get(f"/2016-07//audit_events/{event.id}", AuditEvent)
            yield self.get(event.links.to.href, AuditEvent)
        yield from self.list_of("billables", Billable)
        for cluster in self.list_of("clusters", Cluster):
            yield from (cluster, self.get(f"clusters/{cluster.id}", Cluster))
        yield from self.list_of("databases", Database, "applications")
        yield from self.list_of("datacenters", Datacenter)
        for deployment in self.list_of("deployments", Summary):
            yield deployment
            yield from self.of_deployment(deployment.id)

    def of_deployment(self, deployment_id: str) -> Iterator[Any]:
        """Get all there is about a deployment."""
        deployment = self.get(f"/2016-07//deployments/{deployment_id}", Deployment)
        yield deployment
        yield self.get(deployment.links.cluster.href, Cluster)
        yield self.get(deployment.links.scalings.href, Scalings)
        yield self.get(deployment.links.alerts.href, Alerts)
        own = f"deployments/{deployment_id}"
        yield from self.list_of(f"{own}/addons", Addon)
        yield self.get(f"{own}/alerts/", Alerts)
        for backup in self.list_of(f"{own}/backups", Backup):
            yield from (backup, self.get(f"{own}/backups/{backup.id}", Backup))
            yield self.get(backup.links.to.href, Backup)
        for logfile in self.list_of(f"{own}/logfiles", Logfile):
            yield from (logfile, self.get(f"{own}/logfiles/{logfile.id}", Logfile))
        yield from self.list_of(f"{own}/portals", Portal)
        yield from self.list_of(f"{own}/portal_users", PortalUser)
        for recipe in self.list_of(f"{own}/recipes", Recipe):
            yield from (recipe, self.get(f"recipes/{recipe.id}", Recipe))
        yield self.get(f"recipes/{deployment.provision_recipe_id}", Recipe)
        yield from self.list_of(f"{own}/roles", Role)
        yield from self.list_of(f"{own}/team_roles", TeamRole)
        yield self.get(f"{own}/scalings", Scalings)
        yield from self.list_of(f"{own}/versions", Transition, "transitions")
        yield from self.list_of(f"{own}/whitelist", WhitelistEntry)
