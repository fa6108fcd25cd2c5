"""What the account pays for."""

from __future__ import annotations

from tap_compose.failures import Scope
from tap_compose.streams.base import AccountStream
from tap_compose.streams.columns import key, number, schema, text, time


class Billables(AccountStream):
    """The billable items of the account; not every token may read them."""

    name = "billables"
    path = "/billables"
    # A vendor extension: an account without it returns 404 (docs/compose-api.md, Billables).
    scope = Scope.OPTIONAL_ACCOUNT
    envelope = ("billables",)
    is_lenient = True  # amounts and units
    primary_keys = ("id",)
    schema = schema(
        key("id", "The billable's id."),
        text("account_id", "The account that is billed."),
        number("amount", "The amount of the billable."),
        time("start_at", "When the item started being billable."),
        time(
            "end_at",
            "When the item ended being billable; 9999-12-31T23:59:59.000Z or another far future "
            "while it is current.",
        ),
        text("description", "What is billed, as text."),
        text("identifier", "Identifies the resources that are billed."),
        text("resource_identifier", "Identifies the system that provides the resources."),
        text("sku", "Class of the resource that is billed."),
        number("units", "Number of data or memory units."),
        text("replaces_id", "The billable that this one replaced when the resource was scaled."),
    )
