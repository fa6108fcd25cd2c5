"""The account and the people in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from tap_compose.api.errors import ApiError
from tap_compose.streams.base import AccountStream, ListStream
from tap_compose.streams.columns import key, records, schema, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_compose.api.client import Request
    from tap_compose.rows import RowBatch


class Accounts(ListStream):
    """Accounts that the token's user belongs to; usually one."""

    name = "accounts"
    path = "/accounts"
    envelope = ("accounts",)
    primary_keys = ("id",)
    schema = schema(
        key("id", "Account id."),
        text("name", "Account name."),
        text("slug", "Short name, used in console URLs."),
    )


class AccountUsers(AccountStream):
    """Users of each account."""

    name = "account_users"
    path = "/accounts/{}/users"
    list_path = "/accounts"
    envelope = ("users",)
    primary_keys = ("account_id", "id")
    injected_columns = ("account_id",)
    schema = schema(
        key("account_id", "Account that the user belongs to."),
        key("id", "User id."),
        text("name", "User name. Personal."),
    )

    @override
    def requests(self) -> Iterator[Request[RowBatch]]:
        ids = self.run.account_ids()
        if isinstance(ids, ApiError):
            self.record_missing_list(ids)
            return
        for each in ids:
            yield self.request(each, account_id=each)


class User(AccountStream):
    """The user who owns the token."""

    name = "user"
    path = "/user"
    primary_keys = ("id",)
    schema = schema(
        key("id", "User id."),
        text("name", "User name. Personal."),
    )


class Teams(AccountStream):
    """Teams and their members."""

    name = "teams"
    path = "/teams"
    envelope = ("teams",)
    primary_keys = ("id",)
    schema = schema(
        key("id", "Team id."),
        text("name", "Team name."),
        records(
            "users",
            "Members of the team.",
            text("id", "User id."),
            text("name", "User name. Personal."),
        ),
    )
