"""Tells whether the token works and which streams it may read, by a request or two for each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from tap_compose.api.errors import ApiError, TokenRejectedError, UnreachableError
from tap_compose.report import StopRun, aligned
from tap_compose.streams.base import DeploymentStream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tap_compose.api.client import Answers
    from tap_compose.run import Run
    from tap_compose.streams.base import ComposeStream

MOST_DEPLOYMENTS = 5
"""So many deployments are tried before a stream counts as not readable."""


@dataclass(frozen=True)
class Answer:
    """What came of trying to read a stream.

    Attributes:
        stream: The stream's name.
        is_readable: Whether it can be read; None if there was nothing to try it on.
        why_not: The reason, one line for a person; empty if it can be read.
        is_failure: Whether a sync would fail on this, and not merely skip it.
    """

    stream: str
    is_readable: bool | None = False
    why_not: str = ""
    is_failure: bool = False


def try_streams(run: Run, streams: Sequence[ComposeStream]) -> list[Answer]:
    """Try to read streams, the per-deployment ones on the first deployment that lets them.

    Args:
        run: What the streams share.
        streams: The streams.

    Returns:
        An answer for each stream.

    Raises:
        StopRun: If the API accepts the token nowhere, or nothing answers.
    """
    try:
        for each in (run.account_ids, run.deployment_ids):
            if isinstance(each, (TokenRejectedError, UnreachableError)):
                raise each
        return _tried(run, streams)
    except (TokenRejectedError, UnreachableError) as error:
        raise StopRun(str(error)) from error


def _tried(run: Run, streams: Sequence[ComposeStream]) -> list[Answer]:
    answers: dict[str, Answer] = {}
    untried = {}
    for stream in streams:
        what, ids = (
            ("deployments", run.deployment_ids)
            if isinstance(stream, DeploymentStream)
            else ("accounts", run.account_ids)
        )
        if "{}" in stream.path and isinstance(ids, ApiError):
            why = f"the list of {what} cannot be read: {ids}"
            answers[stream.name] = Answer(stream.name, why_not=why, is_failure=True)
        else:
            answers[stream.name] = Answer(
                stream.name, is_readable=None, why_not="there is nothing to try it on"
            )
            untried[stream] = islice(stream.calls(), MOST_DEPLOYMENTS)
    while untried:
        wanted = [(stream, call) for stream, calls in untried.items() for call in islice(calls, 1)]
        outcomes: Answers[Any] = run.client.get_many(call for _, call in wanted)
        for (stream, _), outcome in zip(wanted, outcomes, strict=True):
            answers[stream.name] = _answer(stream, outcome)
        untried = {
            stream: untried[stream]
            for stream, _ in wanted
            if not (answers[stream.name].is_readable or answers[stream.name].is_failure)
        }
    return list(answers.values())


def _answer(stream: ComposeStream, outcome: object) -> Answer:
    if not isinstance(outcome, ApiError):
        return Answer(stream.name, is_readable=True)
    return Answer(
        stream.name, why_not=stream.reason(outcome), is_failure=not stream.may_skip(outcome)
    )


def table(answers: Sequence[Answer]) -> list[str]:
    """Lay answers out for a person.

    Args:
        answers: The answers.

    Returns:
        The lines: one for each stream, and one that sums them up.
    """
    said = {True: "yes", False: "no", None: "unknown"}
    rows = [[each.stream, said[each.is_readable], each.why_not] for each in answers]
    readable = sum(each.is_readable is True for each in answers)
    return [
        *aligned([["stream", "readable", "why not"], *rows]),
        f"the api_token works: {readable} of {len(answers)} streams can be read"
        if readable
        else "nothing can be read",
    ]
