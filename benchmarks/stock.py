"""The usual way: RESTStream, parent and child, everything as the SDK has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import BearerTokenAuthenticator
from singer_sdk.pagination import BaseAPIPaginator

from tap_compose.streams import STREAMS

if TYPE_CHECKING:
    import requests

DECLARED: dict[str, Any] = {s.name: s for s in cast("Any", STREAMS) if hasattr(s, "path")}
"""The streams of the tap, whose schemas, keys and paths this one has too."""

_PATHS = {each.path: name for name, each in reversed(DECLARED.items())}
CHILDREN = [name for path, name in reversed(_PATHS.items()) if path.startswith("/deployments/")]
"""A stream for each endpoint of a deployment: the first, where several share it."""


class Stock(RESTStream):
    """What all streams share."""

    @property
    def url_base(self) -> str:
        return str(self.config["api_url"])

    @property
    def authenticator(self) -> BearerTokenAuthenticator:
        return BearerTokenAuthenticator(token=self.config["api_token"])


class CursorPaginator(BaseAPIPaginator[str | None]):
    """The id of the last event of a full page."""

    def get_next(self, response: requests.Response) -> str | None:
        events = response.json()["_embedded"]["audit_events"]
        return events[-1]["id"] if len(events) == 100 else None

    def has_more(self, response: requests.Response) -> bool:
        return self.get_next(response) is not None


class AuditEvents(Stock):
    """The audit log, newest first."""

    name = "audit_events"
    path = "/audit_events"
    schema = DECLARED["audit_events"].schema
    primary_keys = ("id",)
    replication_key = "created_at"
    records_jsonpath = "$._embedded.audit_events[*]"
    is_sorted = False

    def get_new_paginator(self) -> CursorPaginator:
        return CursorPaginator(None)

    def get_url_params(self, context: Any, next_page_token: str | None) -> dict[str, Any]:
        del context
        return {"limit": 100, **({"cursor": next_page_token} if next_page_token else {})}


class Deployments(Stock):
    """The parent."""

    name = "deployments"
    path = "/deployments"
    schema = DECLARED["deployments"].schema
    primary_keys = ("id",)
    records_jsonpath = "$._embedded.deployments[*]"

    def get_child_context(self, record: dict[str, Any], context: Any) -> dict[str, Any]:
        del context
        return {"deployment_id": record["id"]}


def child(name: str) -> type[Stock]:
    """Make the child stream that a deployment-scoped stream would usually be."""
    declared = DECLARED[name]
    attributes = {
        "name": name,
        "path": declared.path.replace("{}", "{deployment_id}"),
        "schema": declared.schema,
        "primary_keys": declared.primary_keys,
        "parent_stream_type": Deployments,
        "ignore_parent_replication_key": True,
        "records_jsonpath": next((f"$._embedded.{each}[*]" for each in declared.envelope), "$"),
    }
    return type(name, (Stock,), attributes)


class StockTap(Tap):
    """The tap, with the streams that its config names."""

    name = "tap-compose-stock"
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("api_url", th.StringType),
        th.Property("api_token", th.StringType),
        th.Property("streams", th.ArrayType(th.StringType)),
    ).to_dict()

    def discover_streams(self) -> list[Stock]:
        if "audit_events" in self.config["streams"]:
            return [AuditEvents(self)]
        return [Deployments(self), *(child(each)(self) for each in self.config["streams"])]


if __name__ == "__main__":
    StockTap.cli()
