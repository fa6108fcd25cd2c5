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
    from tap_compose.rows.reader import RowBatch


class Accounts(ListStream):
    """The accounts that the token's user is a member of; usually one."""

    name = "accounts"
    path = "/accounts"
    envelope = ("accounts",)
    primary_keys = ("id",)
    schema = schema(
        key("id", "The account's id."),
        text("name", "The account's name."),
        text("slug", "Short name of the account, as used in console URLs."),
    )


class AccountUsers(AccountStream):
    """The users of each account."""

    name = "account_users"
    path = "/accounts/{}/users"
    list_path = "/accounts"
    envelope = ("users",)
    primary_keys = ("account_id", "id")
    injected_columns = ("account_id",)
    schema = schema(
        key("account_id", "The account that the user belongs to."),
        key("id", "The user's id."),
        text("name", "The user's name. Personal."),
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
    """The user that the token belongs to."""

    name = "user"
    path = "/user"
    primary_keys = ("id",)
    schema = schema(
        key("id", "The user's id."),
        text("name", "The user's name. Personal."),
    )


class Teams(AccountStream):
    """The teams of the account and their members."""

    name = "teams"
    path = "/teams"
    envelope = ("teams",)
    primary_keys = ("id",)
    schema = schema(
        key("id", "The team's id."),
        text("name", "The team's name."),
        records(
            "users",
            "The members of the team.",
            text("id", "The user's id."),
            text("name", "The user's name. Personal."),
        ),
    )
