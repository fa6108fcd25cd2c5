"""What a failure to read something means: one table for every part of the tap.

The streams, ``--test`` and the docs read it (docs/architecture.md, What happens when something
goes wrong).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from tap_compose.api.errors import ApiError, DeniedError, GoneError
from tap_compose.report import Gap, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping


class Scope(Enum):
    """What a response concerns."""

    ACCOUNT = "an account-level stream"
    OPTIONAL_ACCOUNT = "an account-level stream that not every account has"
    DEPLOYMENT = "one deployment's resource"


_SKIPPED: Mapping[type[ApiError], frozenset[Scope]] = {
    DeniedError: frozenset(Scope),
    GoneError: frozenset({Scope.OPTIONAL_ACCOUNT, Scope.DEPLOYMENT}),
}
"""Where an error means that the resource is skipped. Everything else means that it failed."""

_MEANINGS: Mapping[tuple[type[ApiError], Scope], str] = {
    **{(DeniedError, each): "this token may not read it" for each in Scope},
    (GoneError, Scope.ACCOUNT): "every account has this, so api_url looks wrong",
    (GoneError, Scope.OPTIONAL_ACCOUNT): "this account does not have it",
    (GoneError, Scope.DEPLOYMENT): "it no longer exists or is being deprovisioned",
}


def meaning_of(error_class: type[ApiError], scope: Scope) -> str:
    """Return what an error means, in plain words; empty if its own message is all there is.

    Args:
        error_class: The class of the error.
        scope: What the response concerns.
    """
    return _MEANINGS.get((error_class, scope), "")


def outcome_of(error_class: type[ApiError], scope: Scope) -> Outcome:
    """Return whether an error means that a resource is skipped, or that it failed.

    Args:
        error_class: The class of the error.
        scope: What the response concerns.
    """
    return Outcome.SKIPPED if scope in _SKIPPED.get(error_class, ()) else Outcome.FAILED


def gap_of(
    error: ApiError, scope: Scope, stream: str, item_id: str | None = None, kind: str = ""
) -> Gap:
    """Return what is missing because of an error.

    Args:
        error: Why something could not be read.
        scope: What it concerns.
        stream: The stream's name.
        item_id: The id of the deployment, account or the like, if it concerns one.
        kind: What that is, in one word.
    """
    meaning = meaning_of(type(error), scope)
    return Gap(
        outcome_of(type(error), scope),
        stream,
        f"{meaning} ({error})" if meaning else str(error),
        item_id,
        kind,
        is_gone=isinstance(error, GoneError),
    )


def gap_of_list(error: ApiError, scope: Scope, path: str, stream: str) -> Gap:
    """Return what is missing because a list of accounts or deployments cannot be read.

    Without the list of deployments every stream that needs it has failed, whatever the error is.

    Args:
        error: Why it cannot be read.
        scope: What the responses of the stream concern.
        path: The path of the list.
        stream: The name of a stream that takes ids from it.
    """
    is_failed = scope is Scope.DEPLOYMENT
    outcome = Outcome.FAILED if is_failed else outcome_of(type(error), scope)
    reason = f"the list of {path[1:]} cannot be read: {error}"
    return Gap(outcome, stream, reason, is_gone=isinstance(error, GoneError))
