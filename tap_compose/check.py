"""Test whether the token works and which streams it may read, with a request or two for each."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from tap_compose.api.errors import RunEndingError
from tap_compose.messages import StopRun
from tap_compose.report import Outcome, aligned, counted, now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tap_compose.report import Report
    from tap_compose.run import Run
    from tap_compose.streams.base import ComposeStream

MOST_DEPLOYMENTS = 5
"""Deployments that are tried before a stream counts as not readable."""


def try_streams(run: Run, streams: Sequence[ComposeStream]) -> None:
    """Try to read streams; a per-deployment one on up to five deployments, until one succeeds.

    Args:
        run: What the streams share; its report takes what became of them.
        streams: The streams.

    Raises:
        StopRun: If the API rejects the token, or nothing responds.
    """
    try:
        untried = {stream: stream.requests() for stream in streams}
        for _ in range(MOST_DEPLOYMENTS):  # another one may let it
            wanted = [
                (stream, each) for stream, rest in untried.items() for each in islice(rest, 1)
            ]
            responses = run.client.get_many([request for _, request in wanted])
            for (stream, request), (_, result) in zip(wanted, responses, strict=True):
                stream.note_response(request.context, now(), result)
                if stream.report.is_any_read or stream.report.count_of(Outcome.FAILED):
                    del untried[stream]
    except RunEndingError as error:
        raise StopRun(str(error)) from error


def table(report: Report, streams: Sequence[ComposeStream]) -> list[str]:
    """Return the results as a table.

    Args:
        report: What became of the streams.
        streams: The streams.

    Returns:
        The lines: a head, one for each stream, and a total.
    """
    rows = [["stream", "readable", "why not"]]
    for name in dict.fromkeys([*(each.name for each in streams), *report.streams]):
        tried = report.of(name)
        reasons = [each.reason for each in tried.missing.values()]
        if tried.is_any_read:
            rows.append([name, "yes", ""])
        elif reasons:
            rows.append([name, "no", reasons[-1]])
        else:
            rows.append([name, "unknown", "no deployment to try it on"])
    readable = sum(row[1] == "yes" for row in rows)
    return [
        *aligned(rows),
        f"the api_token works: {readable} of {counted(len(streams), 'stream')} can be read"
        if readable
        else "no stream can be read",
    ]
