"""What a run wrote, what it could not read and what that means, and its exit status."""

from __future__ import annotations

import logging
import sys
from array import array
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from time import monotonic, time_ns
from typing import TYPE_CHECKING, NamedTuple

from tap_compose.api.errors import ApiError, DeniedError, GoneError
from tap_compose.logs import print_lines

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

logger = logging.getLogger("tap-compose")

_NAMED = 3
"""How many deployments, or reasons, a line names; ``LOGLEVEL=DEBUG`` logs all of them."""


class Scope(Enum):
    """What a response concerns."""

    ACCOUNT = "an account-level stream"
    OPTIONAL_ACCOUNT = "an account-level stream that not every account has"
    DEPLOYMENT = "one deployment's resource"


class Outcome(Enum):
    """What became of a stream, or of one deployment in it."""

    READ = "read"
    """All of its rows were written."""

    SKIPPED = "skipped"
    """The token may not read it, or it no longer exists."""

    FAILED = "failed"
    """It should have been readable, and was not, or a row of it has no id."""


class Missing(NamedTuple):
    """Why something is missing from the output.

    Attributes:
        outcome: Skipped or failed.
        reason: Why, in one line.
        http_status: The status of the response; None if there was none.
    """

    outcome: Outcome
    reason: str
    http_status: int | None = None

    @property
    def is_gone(self) -> bool:
        """Whether it does not exist, or no longer."""
        return self.http_status in _GONE


_GONE = {404, 410}

_shared = lru_cache(maxsize=1000)(Missing)
"""Makes one object for each reason, however many deployments have it."""

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


def missing_of(error: ApiError, scope: Scope) -> Missing:
    """Return what is missing because of an error.

    Args:
        error: Why something could not be read.
        scope: What it concerns.
    """
    meaning = meaning_of(type(error), scope)
    reason = f"{meaning} ({error})" if meaning else str(error)
    return Missing(outcome_of(type(error), scope), reason, error.status)


def missing_list(error: ApiError, scope: Scope, path: str) -> Missing:
    """Return what is missing because a list of accounts or deployments cannot be read.

    Without the list of deployments every stream that needs it has failed, whatever the error is.

    Args:
        error: Why it cannot be read.
        scope: What the responses of the stream concern.
        path: The path of the list.
    """
    is_failed = scope is Scope.DEPLOYMENT
    outcome = Outcome.FAILED if is_failed else outcome_of(type(error), scope)
    return Missing(outcome, f"the list of {path[1:]} cannot be read: {error}", error.status)


def missing_rows(reasons: Sequence[str]) -> Missing | None:
    """Return what is missing because entries of a response are not rows; None if all are.

    Args:
        reasons: Why, for each of them.
    """
    if not reasons:
        return None
    counts = Counter(reasons).items()
    texts = (f"{why} ({count:,} times)" if count > 1 else why for why, count in counts)
    return Missing(Outcome.FAILED, "; ".join(texts), HTTPStatus.OK)


@dataclass
class StreamReport:
    """What a run did in a stream, in total and by deployment.

    A run may read 20 streams of 20,000 deployments, so a deployment takes 24 bytes of it.

    Attributes:
        rows: Rows written, before any stream map.
        requests: Requests sent for it, retries included.
        retries: Requests that were sent again.
        began: When its sync began, monotonic seconds; None if it never did.
        ended: When its sync ended.
        parts: How many partitions it has: its deployments, or 1 if it has none.
        parts_done: How many of these are complete.
        reached: The time up to which audit_events is complete; empty for other streams.
        deployment_ids: The deployments that are read or missing; an empty text for the account.
        row_counts: The rows written for each of them.
        read_at: When the response of each came, by ``now``.
        missing: What is missing, by deployment.
    """

    rows: int = 0
    requests: int = 0
    retries: int = 0
    began: float | None = None
    ended: float = 0.0
    parts: int = 1
    parts_done: int = 0
    reached: str = ""
    deployment_ids: list[str] = field(default_factory=list)
    row_counts: array[int] = field(default_factory=lambda: array("q"))
    read_at: array[int] = field(default_factory=lambda: array("q"))
    missing: dict[str, Missing] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long its sync took."""
        return 0.0 if self.began is None else self.ended - self.began

    @property
    def is_any_read(self) -> bool:
        """Whether at least one deployment, or the account, was read."""
        return len(self.deployment_ids) > len(self.missing)

    def note(
        self, deployment_id: str, read_at: int, rows: int = 0, missing: Missing | None = None
    ) -> None:
        """Note what became of a deployment; of several responses for it the worst counts.

        Args:
            deployment_id: The deployment; an empty text for the account.
            read_at: When the response came, by ``now``: before its rows were extracted.
            rows: How many rows of it were written.
            missing: What is missing of it, if anything is.
        """
        if self.deployment_ids[-1:] == [deployment_id]:
            self.row_counts[-1] += rows
        else:
            self.deployment_ids.append(deployment_id)
            self.row_counts.append(rows)
            self.read_at.append(read_at)
        before = self.missing.get(deployment_id)
        if missing is not None and before is None:
            self.missing[deployment_id] = _shared(*missing)
        elif missing is not None and before is not None and missing.reason not in before.reason:
            worse = before if before.outcome is Outcome.FAILED else missing
            reason = f"{before.reason}; {missing.reason}"
            self.missing[deployment_id] = worse._replace(reason=reason)

    def count_of(self, outcome: Outcome) -> int:
        """Return how many deployments are skipped, or failed."""
        return sum(each.outcome is outcome for each in list(self.missing.values()))


@dataclass
class Report:
    """What a run did: the one record that the summary, --test and coverage are made from.

    Attributes:
        streams: What it did in each stream, by name; and what is wrong with deployment_ids.
        began: When the run began, monotonic seconds.
        requests: All requests of the run, those for shared lists and probes included.
    """

    streams: dict[str, StreamReport] = field(default_factory=dict)
    began: float = field(default_factory=monotonic)
    requests: int = 0

    def of(self, stream: str) -> StreamReport:
        """Return what the run did in a stream, for the caller to add to."""
        return self.streams.setdefault(stream, StreamReport())

    def note(
        self,
        stream: str,
        deployment_id: str,
        read_at: int,
        rows: int = 0,
        missing: Missing | None = None,
    ) -> None:
        """Note what became of a deployment; only the summary logs it, but for the level DEBUG.

        Args:
            stream: The stream's name.
            deployment_id: The deployment; an empty text for the account.
            read_at: When the response came, by ``now``: before its rows were extracted.
            rows: How many rows of it were written.
            missing: What is missing of it, if anything is.
        """
        self.of(stream).note(deployment_id, read_at, rows, missing)
        if missing is not None:
            only = StreamReport(missing={deployment_id: missing})
            for _, line in missing_lines({stream: only}):
                logger.debug("%s", line)

    @property
    def synced(self) -> dict[str, StreamReport]:
        """The streams whose sync began, in this order."""
        return {name: each for name, each in list(self.streams.items()) if each.began is not None}

    @property
    def missing_text(self) -> str:
        """How much is missing by outcome; empty if nothing is."""
        counts = {
            each.value: sum(stream.count_of(each) for stream in list(self.streams.values()))
            for each in (Outcome.SKIPPED, Outcome.FAILED)
        }
        return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)

    def exit_status(self, *, fail_on_skip: bool) -> int:
        """Return the exit status of the run.

        Args:
            fail_on_skip: Whether a skip counts as a failure.

        Returns:
            0 if everything that should be readable was written, otherwise 1.
        """
        return int(
            any(
                each.count_of(Outcome.FAILED) or (fail_on_skip and each.missing)
                for each in self.streams.values()
            )
        )

    def verdict(self, stopped: str | None, *, fail_on_skip: bool) -> tuple[int, str]:
        """Return one line on whether the output is complete.

        Args:
            stopped: Why the run ended early, or None if it did not.
            fail_on_skip: Whether a skip counts as a failure.

        Returns:
            The log level of the line, and the line.
        """
        rows = sum(each.rows for each in self.streams.values())
        missing = self.missing_text and f" with {self.missing_text}"
        level, end = logging.INFO, ""
        if stopped is not None:
            level, state = logging.ERROR, f"stopped early: {stopped};"
        elif self.exit_status(fail_on_skip=False):
            level, state = logging.ERROR, f"incomplete{missing}:"
            end = "" if any(each.is_any_read for each in self.streams.values()) else self.advice
        else:
            state = f"done{missing}:"
            if self.exit_status(fail_on_skip=fail_on_skip):
                level, end = logging.WARNING, "; exit status 1, because fail_on_skip is set"
        return level, (
            f"{state} {counted(rows, 'row')} from {counted(len(self.synced), 'stream')}, "
            f"{counted(self.requests, 'request')}, {monotonic() - self.began:.1f} s{end}"
        )

    @property
    def advice(self) -> str:
        """What to do if nothing at all can be read, to be appended to a line; or nothing."""
        is_wrong = any(
            each.outcome is Outcome.FAILED and each.is_gone
            for stream in self.streams.values()
            for each in stream.missing.values()
        )
        return "; check the path of api_url, which is usually /2016-07" if is_wrong else ""

    def show(self, stopped: str | None = None, *, fail_on_skip: bool) -> None:
        """Print the summary of the run: a table if stderr is a terminal, otherwise log lines.

        Args:
            stopped: Why the run ended early, or None if it did not.
            fail_on_skip: Whether a skip counts as a failure.
        """
        level, verdict = self.verdict(stopped, fail_on_skip=fail_on_skip)
        if sys.stderr.isatty():
            lines = [*self._table(), *(line for _, line in missing_lines(self.streams)), verdict]
            print_lines(["", *lines])
            return
        for stream, each in self.synced.items():
            counts = _counts(each)
            words = (
                counted(each.rows, "row"),
                counted(each.requests, "request"),
                counted(each.retries, "retry", "retries"),
                f"{counts['skipped']:,} skipped",
                f"{counts['failed']:,} failed",
                f"{counts['seconds']} s",
            )
            extra = {"summary": {stream: counts}}
            logger.info("summary of %s: %s", stream, ", ".join(words), extra=extra)
        for line_level, line in missing_lines(self.streams):
            logger.log(line_level, "%s", line)
        logger.log(level, "%s", verdict)

    def _table(self) -> list[str]:
        """The counters of each stream."""
        rows: list[list[str]] = []
        for stream, each in self.synced.items():
            counts = _counts(each)
            rows.append([stream, *(f"{value:,}" if value else "-" for value in counts.values())])
        head = ["stream", *_counts(StreamReport())]
        return aligned([head, *rows], numbers=range(1, len(head)))


def _counts(stream: StreamReport) -> dict[str, float]:
    return {
        "rows": stream.rows,
        "requests": stream.requests,
        "retries": stream.retries,
        "skipped": stream.count_of(Outcome.SKIPPED),
        "failed": stream.count_of(Outcome.FAILED),
        "seconds": round(stream.seconds, 2),
    }


def missing_lines(streams: Mapping[str, StreamReport]) -> list[tuple[int, str]]:
    """Return what is missing and why, with its log level.

    One line per outcome and stream, however many deployments there are; streams that lack the same
    share a line.

    Args:
        streams: What the run did in each stream, by name.
    """
    found: dict[tuple[Outcome, str, str], list[str]] = {}
    for name, stream in streams.items():
        for outcome in (Outcome.SKIPPED, Outcome.FAILED):
            missing = {each: why for each, why in stream.missing.items() if why.outcome is outcome}
            if missing:
                where = _deployments([each for each in missing if each])
                why = listed(list(dict.fromkeys(each.reason for each in missing.values())), "; ")
                found.setdefault((outcome, where, why), []).append(name)
    return [
        (
            logging.WARNING if outcome is Outcome.SKIPPED else logging.ERROR,
            f"{outcome.value}: {', '.join(names)}{where}: {why}",
        )
        for each in Outcome
        for (outcome, where, why), names in found.items()
        if outcome is each
    ]


def _deployments(ids: Sequence[str]) -> str:
    if len(ids) > 1:
        return f" of {len(ids):,} deployments ({listed(ids)})"
    return f" of deployment {ids[0]}" if ids else ""


def listed(texts: Sequence[str], separator: str = ", ") -> str:
    """Return the first few texts in a line, and how many more there are.

    Args:
        texts: The texts.
        separator: What stands between them.
    """
    more = len(texts) - _NAMED
    return separator.join([*texts[:_NAMED], *([f"{more:,} more"] if more > 0 else [])])


def now() -> int:
    """Return the time in milliseconds since 1970, rounded down as in the canonical spelling."""
    return time_ns() // 1_000_000


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
