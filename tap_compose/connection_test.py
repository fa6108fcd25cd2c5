"""Tells whether the token works and which streams it may read, by a request or two for each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from tap_compose.api.errors import ApiError, TokenRejectedError, UnreachableError
from tap_compose.report import Gap, Kind, StopRun, aligned
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
        is_tried: Whether there was anything to try it on.
        gap: Why it cannot be read, and whether a sync would skip it or fail; None if it can be,
            or was not tried.
    """

    stream: str
    is_tried: bool = True
    gap: Gap | None = None

    @property
    def row(self) -> list[str]:
        """The stream's row in the table."""
        if self.gap is not None:
            return [self.stream, "no", self.gap.reason]
        if self.is_tried:
            return [self.stream, "yes", ""]
        return [self.stream, "unknown", "there is nothing to try it on"]


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
            answers[stream.name] = Answer(stream.name, gap=Gap(Kind.FAILED, stream.name, why))
        else:
            answers[stream.name] = Answer(stream.name, is_tried=False)
            untried[stream] = islice(stream.calls(), MOST_DEPLOYMENTS)
    while untried:
        wanted = [(stream, call) for stream, calls in untried.items() for call in islice(calls, 1)]
        outcomes: Answers[Any] = run.client.get_many(call for _, call in wanted)
        skipped = {}
        for (stream, _), outcome in zip(wanted, outcomes, strict=True):
            gap = stream.gap(outcome) if isinstance(outcome, ApiError) else None
            answers[stream.name] = Answer(stream.name, gap=gap)
            if gap is not None and gap.kind is Kind.SKIPPED:
                skipped[stream] = untried[stream]
        untried = skipped  # another deployment may let it
    return list(answers.values())


def table(answers: Sequence[Answer]) -> list[str]:
    """Lay answers out for a person.

    Args:
        answers: The answers.

    Returns:
        The lines: one for each stream, and one that sums them up.
    """
    readable = sum(each.is_tried and each.gap is None for each in answers)
    return [
        *aligned([["stream", "readable", "why not"], *(each.row for each in answers)]),
        f"the api_token works: {readable} of {len(answers)} streams can be read"
        if readable
        else "nothing can be read",
    ]
