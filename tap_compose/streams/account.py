"""The account and the people in it."""

from __future__ import annotations

from tap_compose.streams.base import AccountStream, ListStream
from tap_compose.streams.columns import USER, key, records, schema, text


class Accounts(ListStream):
    """Accounts that the token's user belongs to; usually one."""

    name = "accounts"
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
    id_column = "account_id"
    primary_keys = ("account_id", "id")
    schema = schema(
        key("account_id", "Account that the user belongs to."),
        key("id", "User id."),
        text("name", "User name. Personal."),
    )


class User(AccountStream):
    """The user who owns the token."""

    name = "user"
    envelope = ()
    schema = schema(key("id", "User id."), text("name", "User name. Personal."))


class Teams(AccountStream):
    """Teams and their members."""

    name = "teams"
    schema = schema(
        key("id", "Team id."),
        text("name", "Team name."),
        records("users", "Members of the team.", *USER),
    )
