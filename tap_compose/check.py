"""Test whether the token works and which streams it may read, with a request or two for each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from tap_compose.api.errors import ApiError, RunEndingError
from tap_compose.messages import StopRun
from tap_compose.report import Outcome, advice_on, aligned, counted, gap_of, gap_of_list

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tap_compose.api.client import Request
    from tap_compose.report import Gap
    from tap_compose.rows import RowBatch
    from tap_compose.run import Run
    from tap_compose.streams.base import ComposeStream

MOST_DEPLOYMENTS = 5
"""Deployments that are tried before a stream counts as not readable."""


@dataclass(frozen=True)
class StreamCheck:
    """The result of trying to read a stream.

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
        return [self.stream, "unknown", "no deployment to try it on"]


def try_streams(run: Run, streams: Sequence[ComposeStream]) -> list[StreamCheck]:
    """Try to read streams; a per-deployment one on up to five deployments, until one succeeds.

    Args:
        run: What the streams share.
        streams: The streams.

    Returns:
        A result for each stream.

    Raises:
        StopRun: If the API rejects the token, or nothing responds.
    """
    try:
        return _tried(run, streams)
    except RunEndingError as error:
        raise StopRun(str(error)) from error


def _tried(run: Run, streams: Sequence[ComposeStream]) -> list[StreamCheck]:
    results: dict[str, StreamCheck] = {}
    untried: dict[ComposeStream, Iterator[Request[RowBatch]]] = {}
    for stream in streams:
        path = stream.list_path
        ids = run.ids_of(path) if path else []
        if path and isinstance(ids, ApiError):
            missing = gap_of_list(ids, stream.scope, path, stream.name)
            results[stream.name] = StreamCheck(stream.name, gap=missing)
        else:
            results[stream.name] = StreamCheck(stream.name, is_tried=False)
            untried[stream] = islice(stream.requests(), MOST_DEPLOYMENTS)
    while untried:
        wanted = [(stream, each) for stream, rest in untried.items() for each in islice(rest, 1)]
        responses = run.client.get_many([request for _, request in wanted])
        skipped = {}
        for (stream, _), (_, result) in zip(wanted, responses, strict=True):
            gap = None
            if isinstance(result, ApiError):
                gap = gap_of(result, stream.scope, stream.name)
            results[stream.name] = StreamCheck(stream.name, gap=gap)
            if gap is not None and gap.outcome is Outcome.SKIPPED:
                skipped[stream] = untried[stream]
        untried = skipped  # another deployment may let it
    return list(results.values())


def table(results: Sequence[StreamCheck]) -> list[str]:
    """Return the results as a table.

    Args:
        results: The results.

    Returns:
        The lines: a head, one for each stream, and a total.
    """
    readable = sum(each.is_tried and each.gap is None for each in results)
    return [
        *aligned([["stream", "readable", "why not"], *(each.row for each in results)]),
        f"the api_token works: {readable} of {counted(len(results), 'stream')} can be read"
        if readable
        else f"no stream can be read{advice_on(each.gap for each in results if each.gap)}",
    ]
