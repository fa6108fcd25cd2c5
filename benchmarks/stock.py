"""The usual way: RESTStream, parent and child, everything as the SDK has it.

``--tuned`` adds what costs one line each: no state per partition, and the SDK's msgspec writer.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ClassVar

from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import BearerTokenAuthenticator
from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.pagination import BaseAPIPaginator

from benchmarks.work import CHILDREN, DECLARED, list_path

if TYPE_CHECKING:
    import requests

TUNED = "--tuned" in sys.argv
if TUNED:
    sys.argv.remove("--tuned")


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
    declared, path = DECLARED[name], list_path(name)
    attributes: dict[str, Any] = {
        "name": name,
        "path": declared.path.replace("{}", "{deployment_id}"),
        "schema": declared.schema,
        "primary_keys": declared.primary_keys,
        "parent_stream_type": Deployments,
        "ignore_parent_replication_key": True,
        "records_jsonpath": f"{path}[*]" if path else "$",
    }
    if TUNED:
        attributes["state_partitioning_keys"] = ()
    return type(name, (Stock,), attributes)


STREAMS: list[type[Stock]] = [AuditEvents, Deployments, *map(child, CHILDREN)]


class StockTap(Tap):
    """The tap."""

    name = "tap-compose-stock"
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("api_url", th.StringType),
        th.Property("api_token", th.StringType),
        th.Property("streams", th.ArrayType(th.StringType)),
    ).to_dict()
    if TUNED:
        message_writer_class = MsgSpecWriter

    def discover_streams(self) -> list[Stock]:
        wanted = set(self.config["streams"])
        has_children = not wanted.isdisjoint(CHILDREN)
        streams = [each(self) for each in STREAMS]
        return [
            each
            for each in streams
            if each.name in wanted or (each.name == "deployments" and has_children)
        ]


if __name__ == "__main__":
    StockTap.cli()
