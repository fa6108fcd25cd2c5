"""What a run wrote, what it could not read and what that means, and its exit status."""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from time import monotonic, time_ns
from typing import TYPE_CHECKING, NamedTuple

from tap_compose.api.errors import ApiError, DeniedError, GoneError

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


_MISSING = {Outcome.SKIPPED: logging.WARNING, Outcome.FAILED: logging.ERROR}
"""The outcomes that the summary names, each with its log level."""


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
        return self.http_status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}


_shared = lru_cache(maxsize=1000)(Missing)
"""Makes one object for each reason, however many deployments have it."""

_MEANINGS: Mapping[tuple[type[ApiError], Scope], tuple[Outcome, str]] = {
    **{(DeniedError, each): (Outcome.SKIPPED, "this token may not read it") for each in Scope},
    (GoneError, Scope.ACCOUNT): (Outcome.FAILED, "every account has this, so api_url looks wrong"),
    (GoneError, Scope.OPTIONAL_ACCOUNT): (Outcome.SKIPPED, "this account does not have it"),
    (GoneError, Scope.DEPLOYMENT): (
        Outcome.SKIPPED,
        "it no longer exists or is being deprovisioned",
    ),
}


def meaning_of(error_class: type[ApiError], scope: Scope) -> tuple[Outcome, str]:
    """Return whether an error skips or fails a resource, and why, if its message does not say it.

    Args:
        error_class: The class of the error.
        scope: What the response concerns.
    """
    return _MEANINGS.get((error_class, scope), (Outcome.FAILED, ""))


def missing_of(error: ApiError, scope: Scope) -> Missing:
    """Return what is missing because of an error.

    Args:
        error: Why something could not be read.
        scope: What it concerns.
    """
    outcome, meaning = meaning_of(type(error), scope)
    return Missing(outcome, f"{meaning} ({error})" if meaning else str(error), error.status)


def missing_list(error: ApiError, scope: Scope, path: str) -> Missing:
    """Return what is missing because a list of accounts or deployments cannot be read.

    Without the list of deployments every stream that needs it has failed, whatever the error is.

    Args:
        error: Why it cannot be read.
        scope: What the responses of the stream concern.
        path: The path of the list.
    """
    outcome, _ = meaning_of(type(error), scope)
    outcome = Outcome.FAILED if scope is Scope.DEPLOYMENT else outcome
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
    def is_any_read(self) -> bool:
        """Whether at least one deployment, or the account, was read."""
        return len(self.deployment_ids) > len(self.missing)

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

        Of several responses for a deployment, or for the account, the first is when it was read,
        and the worst counts.

        Args:
            stream: The stream's name.
            deployment_id: The deployment; an empty text for the account.
            read_at: When the response came, by ``now``: before its rows were extracted.
            rows: How many rows of it were written.
            missing: What is missing of it, if anything is.
        """
        report = self.of(stream)
        if report.deployment_ids[-1:] == [deployment_id]:
            report.row_counts[-1] += rows
        else:
            report.deployment_ids.append(deployment_id)
            report.row_counts.append(rows)
            report.read_at.append(read_at)
        if missing is None:
            return
        if logger.isEnabledFor(logging.DEBUG):
            only = StreamReport(missing={deployment_id: missing})
            logger.debug("%s", missing_lines({stream: only})[0][1])
        before = report.missing.get(deployment_id, missing)
        if missing.reason not in before.reason:
            worse = before if before.outcome is Outcome.FAILED else missing
            missing = worse._replace(reason=f"{before.reason}; {missing.reason}")
        report.missing[deployment_id] = _shared(*missing)

    @property
    def synced(self) -> dict[str, StreamReport]:
        """The streams whose sync began, in this order."""
        begun = [item for item in list(self.streams.items()) if item[1].began]
        return dict(sorted(begun, key=lambda item: item[1].began or 0.0))

    @property
    def missing_text(self) -> str:
        """How much is missing by outcome; empty if nothing is."""
        streams = list(self.streams.values())
        counts = ((each, sum(report.count_of(each) for report in streams)) for each in Outcome)
        return ", ".join(f"{count:,} {outcome.value}" for outcome, count in counts if count)

    def exit_status(self, *, fail_on_skip: bool) -> int:
        """Return 0 if everything that should be readable was written, otherwise 1.

        Args:
            fail_on_skip: Whether a skip counts as a failure.
        """
        outcomes = {why.outcome for each in self.streams.values() for why in each.missing.values()}
        return int(Outcome.FAILED in outcomes or (fail_on_skip and bool(outcomes)))

    def verdict(self, stopped: str | None, *, fail_on_skip: bool) -> tuple[int, str]:
        """Return one line on whether the output is complete, and its log level.

        Args:
            stopped: Why the run ended early, or None if it did not.
            fail_on_skip: Whether a skip counts as a failure.
        """
        missing, end = self.missing_text and f" with {self.missing_text}", ""
        if stopped is not None:
            level, state = logging.ERROR, f"stopped early: {stopped};"
        elif self.exit_status(fail_on_skip=False):
            level, state = logging.ERROR, f"incomplete{missing}:"
        elif self.exit_status(fail_on_skip=fail_on_skip):
            level, state = logging.WARNING, f"done{missing}:"
            end = "; exit status 1, because fail_on_skip is set"
        else:
            level, state = logging.INFO, f"done{missing}:"
        rows = sum(each.rows for each in self.streams.values())
        return level, (
            f"{state} {counted(rows, 'row')} from {counted(len(self.synced), 'stream')}, "
            f"{counted(self.requests, 'request')}, {monotonic() - self.began:.1f} s{end}"
        )

    def show(self, stopped: str | None = None, *, fail_on_skip: bool) -> None:
        """Log the summary of the run.

        Args:
            stopped: Why the run ended early, or None if it did not.
            fail_on_skip: Whether a skip counts as a failure.
        """
        for name, stream in self.synced.items():
            texts = [counted(stream.rows, "row"), counted(stream.requests, "request")]
            texts += [counted(stream.retries, "retry", "retries")]
            texts += [f"{stream.count_of(each):,} {each.value}" for each in _MISSING]
            texts += [f"{stream.ended - (stream.began or 0.0):.2f} s"]
            logger.info("summary of %s: %s", name, ", ".join(texts))
        for level, line in missing_lines(self.streams):
            logger.log(level, "%s", line)
        logger.log(*self.verdict(stopped, fail_on_skip=fail_on_skip))


def missing_lines(streams: Mapping[str, StreamReport]) -> list[tuple[int, str]]:
    """Return what is missing and why, with its log level.

    One line per outcome and stream, however many deployments there are; streams that lack the same
    share a line.

    Args:
        streams: What the run did in each stream, by name.
    """
    lines = []
    for outcome, level in _MISSING.items():
        found: dict[str, list[str]] = {}
        for name, stream in streams.items():
            missing = {each: why for each, why in stream.missing.items() if why.outcome is outcome}
            if missing:
                reasons = list(dict.fromkeys(each.reason for each in missing.values()))
                what = f"{_deployments([*filter(None, missing)])}: {listed(reasons, '; ')}"
                found.setdefault(what, []).append(name)
        for what, names in found.items():
            lines.append((level, f"{outcome.value}: {', '.join(names)}{what}"))
    return lines


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
