"""What the account pays for."""

from __future__ import annotations

from tap_compose.report import Scope
from tap_compose.streams.base import AccountStream
from tap_compose.streams.columns import key, number, schema, text, time


class Billables(AccountStream):
    """Billable items; not every token may read them."""

    name = "billables"
    # A vendor extension: an account without it returns 404 (docs/compose-api.md, Billables).
    scope = Scope.OPTIONAL_ACCOUNT
    schema = schema(
        key("id", "Billable id."),
        text("account_id", "Account that is billed."),
        number("amount", "Price per month, in US dollars."),
        time("start_at", "Start of billing."),
        time("end_at", "End of billing; for current items far in the future, such as 9999-12-31."),
        text("description", "Description of the item."),
        text("identifier", "Id of the billed deployment or capsule."),
        text("resource_identifier", "System that provides the resource."),
        text("sku", "Class of the resource."),
        number("units", "Number of data or memory units."),
        text("replaces_id", "`identifier` of the resource that this one replaced when scaled."),
    )
