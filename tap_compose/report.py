"""What a run wrote, what it could not read and what that means, and its exit status."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, field
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING

from tap_compose.api.errors import ApiError, DeniedError, GoneError
from tap_compose.logs import print_lines

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

logger = logging.getLogger("tap-compose")

_NAMED = 3
"""How many deployments, or reasons, a line names; ``LOGLEVEL=DEBUG`` logs all of them."""


class Scope(Enum):
    """What a response concerns."""

    ACCOUNT = "an account-level stream"
    OPTIONAL_ACCOUNT = "an account-level stream that not every account has"
    DEPLOYMENT = "one deployment's resource"


class Outcome(Enum):
    """Why something is missing from the output."""

    SKIPPED = "skipped"
    """The token may not read it, or it no longer exists."""

    FAILED = "failed"
    """It should have been readable, and was not."""

    DROPPED = "dropped"
    """A row without its id, which a target could not distinguish from another."""


@dataclass(frozen=True)
class Gap:
    """Something that is missing from the output.

    Attributes:
        outcome: Skipped, failed or dropped.
        stream: The stream's name, or None if it concerns the run.
        reason: Why, in one line.
        item_id: The id of the deployment, account or the like, if it concerns one.
        kind: What that is, in one word.
        is_gone: Whether it does not exist, or no longer.
    """

    outcome: Outcome
    stream: str | None
    reason: str
    item_id: str | None = None
    kind: str = "deployment"
    is_gone: bool = False


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


@dataclass
class StreamStats:
    """The counters of a stream.

    Attributes:
        rows: Rows written, before any stream map.
        requests: Requests sent for it, retries included.
        retries: Requests that were sent again.
        began: When its sync began, monotonic seconds; None if it never did.
        ended: When its sync ended.
        parts: How many partitions it has: its deployments, or 1 if it has none.
        parts_done: How many of these are complete.
        reached: The time up to which audit_events is complete; empty for other streams.
    """

    rows: int = 0
    requests: int = 0
    retries: int = 0
    began: float | None = None
    ended: float = 0.0
    parts: int = 1
    parts_done: int = 0
    reached: str = ""

    @property
    def seconds(self) -> float:
        """How long its sync took."""
        return 0.0 if self.began is None else self.ended - self.began


@dataclass
class Report:
    """Collects the counters and the gaps of one run.

    Attributes:
        gaps: What is missing.
        streams: The counters of each stream, by name.
        began: When the run began, monotonic seconds.
        requests: All requests of the run, those for shared lists and probes included.
    """

    gaps: list[Gap] = field(default_factory=list)
    streams: dict[str, StreamStats] = field(default_factory=dict)
    began: float = field(default_factory=monotonic)
    requests: int = 0

    def stats_of(self, stream: str) -> StreamStats:
        """Return the counters of a stream, for the caller to increase."""
        return self.streams.setdefault(stream, StreamStats())

    @property
    def current_stream(self) -> tuple[str, StreamStats]:
        """The stream whose sync began last, and its counters; an empty name before the first."""
        begun = [each for each in list(self.streams.items()) if each[1].began is not None]
        return begun[-1] if begun else ("", StreamStats())

    def add(self, gap: Gap) -> None:
        """Record a gap; only the summary logs it, unless the log level is DEBUG.

        Args:
            gap: What is missing.
        """
        self.gaps.append(gap)
        for _, line in _gap_lines([gap]):
            logger.debug("%s", line)

    def gaps_of(self, stream: str, outcome: Outcome | None = None) -> list[Gap]:
        """The gaps of a stream, all of them or those of one outcome."""
        return [gap for gap in self.gaps if gap.stream == stream and outcome in {None, gap.outcome}]

    @property
    def missing_text(self) -> str:
        """How many gaps there are of each outcome; empty if there are none."""
        outcomes = [gap.outcome for gap in list(self.gaps)]
        counts = {each.value: outcomes.count(each) for each in Outcome}
        return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)

    def exit_status(self, *, fail_on_skip: bool) -> int:
        """Return the exit status of the run.

        Args:
            fail_on_skip: Whether a skip counts as a failure.

        Returns:
            0 if everything that should be readable was written, otherwise 1.
        """
        return int(any(fail_on_skip or gap.outcome is not Outcome.SKIPPED for gap in self.gaps))

    def verdict(self, stopped: str | None, *, fail_on_skip: bool) -> tuple[int, str]:
        """Return one line on whether the output is complete.

        Args:
            stopped: Why the run ended early, or None if it did not.
            fail_on_skip: Whether a skip counts as a failure.

        Returns:
            The log level of the line, and the line.
        """
        rows = sum(stats.rows for stats in self.streams.values())
        missing = self.missing_text and f" with {self.missing_text}"
        level, end = logging.INFO, ""
        if stopped is not None:
            level, state = logging.ERROR, f"stopped early: {stopped};"
        elif self.exit_status(fail_on_skip=False):
            level, state = logging.ERROR, f"incomplete{missing}:"
            end = "" if rows else advice_on(self.gaps)
        else:
            state = f"done{missing}:"
            if self.exit_status(fail_on_skip=fail_on_skip):
                level, end = logging.WARNING, "; exit status 1, because fail_on_skip is set"
        return level, (
            f"{state} {counted(rows, 'row')} from {counted(len(self.streams), 'stream')}, "
            f"{counted(self.requests, 'request')}, {monotonic() - self.began:.1f} s{end}"
        )

    def show(self, stopped: str | None = None, *, fail_on_skip: bool) -> None:
        """Print the summary of the run: a table if stderr is a terminal, otherwise log lines.

        Args:
            stopped: Why the run ended early, or None if it did not.
            fail_on_skip: Whether a skip counts as a failure.
        """
        level, verdict = self.verdict(stopped, fail_on_skip=fail_on_skip)
        if sys.stderr.isatty():
            lines = [*self._table(), *(line for _, line in _gap_lines(self.gaps)), verdict]
            print_lines(["", *lines])
            return
        for stream, stats in self.streams.items():
            counts = self._counts(stream, stats)
            words = (
                counted(stats.rows, "row"),
                counted(stats.requests, "request"),
                counted(stats.retries, "retry", "retries"),
                *(f"{counts[each.value]:,} {each.value}" for each in Outcome),
                f"{counts['seconds']} s",
            )
            extra = {"summary": {stream: counts}}
            logger.info("summary of %s: %s", stream, ", ".join(words), extra=extra)
        self.log_gaps()
        logger.log(level, "%s", verdict)

    def log_gaps(self) -> None:
        """Log what is missing and why."""
        for level, line in _gap_lines(self.gaps):
            logger.log(level, "%s", line)

    def _counts(self, stream: str, stats: StreamStats) -> dict[str, float]:
        return {
            "rows": stats.rows,
            "requests": stats.requests,
            "retries": stats.retries,
            **{outcome.value: len(self.gaps_of(stream, outcome)) for outcome in Outcome},
            "seconds": round(stats.seconds, 2),
        }

    def _table(self) -> list[str]:
        """The counters of each stream."""
        rows: list[list[str]] = []
        for stream, stats in self.streams.items():
            counts = self._counts(stream, stats)
            rows.append([stream, *(f"{value:,}" if value else "-" for value in counts.values())])
        head = ["stream", *self._counts("", StreamStats())]
        return aligned([head, *rows], numbers=range(1, len(head)))


def advice_on(gaps: Iterable[Gap]) -> str:
    """Return what to do if nothing at all can be read, to be appended to a line; or nothing.

    Args:
        gaps: What is missing.
    """
    is_wrong = any(gap.outcome is Outcome.FAILED and gap.is_gone for gap in gaps)
    return "; check the path of api_url, which is usually /2016-07" if is_wrong else ""


def _gap_lines(gaps: Sequence[Gap]) -> list[tuple[int, str]]:
    """Return what is missing and why, with its log level.

    One line per outcome and stream, however many deployments there are; streams that lack the same
    share a line.
    """
    found: dict[tuple[Outcome, str | None, str], tuple[dict[str, None], dict[str, None]]] = {}
    for gap in gaps:
        items, reasons = found.setdefault((gap.outcome, gap.stream, gap.kind), ({}, {}))
        reasons[gap.reason] = None
        if gap.item_id:
            items[gap.item_id] = None
    streams: dict[tuple[Outcome, str, str], list[str]] = {}
    for (outcome, stream, kind), (items, reasons) in found.items():
        where, why = _items(kind, list(items)), _first(list(reasons), "; ")
        streams.setdefault((outcome, where, why), []).extend([stream] if stream else [])
    return [
        (
            logging.WARNING if outcome is Outcome.SKIPPED else logging.ERROR,
            ": ".join(part for part in (outcome.value, f"{', '.join(names)}{where}", why) if part),
        )
        for each in Outcome
        for (outcome, where, why), names in streams.items()
        if outcome is each
    ]


def _items(kind: str, ids: Sequence[str]) -> str:
    if len(ids) > 1:
        return f" of {len(ids):,} {kind}s ({_first(ids, ', ')})"
    return f" of {kind} {ids[0]}" if ids else ""


def _first(texts: Sequence[str], separator: str) -> str:
    """Return the first few texts."""
    more = len(texts) - _NAMED
    return separator.join([*texts[:_NAMED], *([f"{more:,} more"] if more > 0 else [])])


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """Return a count with its noun: 1 row, 2,000 rows.

    Args:
        count: How many.
        singular: The noun for one.
        plural: The noun for all other counts; the singular with an s if it is None.
    """
    return f"{count:,} {singular if count == 1 else plural or f'{singular}s'}"


def aligned(rows: Sequence[Sequence[str]], numbers: Container[int] = ()) -> list[str]:
    """Align a table in columns.

    Args:
        rows: The cells, row by row; the first row is the head.
        numbers: The positions of the columns that are aligned on the right.

    Returns:
        The lines.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            part.rjust(width) if position in numbers else part.ljust(width)
            for position, (part, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
