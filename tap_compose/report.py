"""What a run could not do, and what its exit status is."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum

logger = logging.getLogger("tap-compose")


class StopRun(BaseException):
    """Ends the run: nothing further makes sense.

    Not an ``Exception``, which the SDK would report as a bug of the stream that met it.

    Args:
        reason: Why, one line for a person.
    """


class Kind(Enum):
    """What became of something that was asked for."""

    SKIPPED = "skipped"
    """The token may not read it, or it no longer exists."""

    FAILED = "failed"
    """It should have been readable, and was not."""

    DROPPED = "dropped"
    """A row without its id, which no target could tell from another."""


@dataclass(frozen=True)
class Gap:
    """Something that is missing from the output.

    Attributes:
        kind: What became of it.
        stream: The stream's name, or None for the run as a whole.
        reason: Why, one line for a person.
        deployment_id: The deployment, if it concerns one.
    """

    kind: Kind
    stream: str | None
    reason: str
    deployment_id: str | None = None

    def __str__(self) -> str:
        """Name the place and the reason."""
        place = " of ".join(
            part
            for part in (self.stream, self.deployment_id and f"deployment {self.deployment_id}")
            if part
        )
        return f"{self.kind.value}: {place}: {self.reason}" if place else self.reason


class Report:
    """Collects the gaps of one run and says each of them once."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []

    def add(
        self, kind: Kind, stream: str | None, reason: str, deployment_id: str | None = None
    ) -> None:
        """Note a gap and log it: a skip as a warning, the others as errors.

        Args:
            kind: What became of it.
            stream: The stream's name, or None for the run as a whole.
            reason: Why, one line for a person.
            deployment_id: The deployment, if it concerns one.
        """
        gap = Gap(kind, stream, reason, deployment_id)
        self.gaps.append(gap)
        level = logging.WARNING if kind is Kind.SKIPPED else logging.ERROR
        logger.log(level, "%s", gap)

    def exit_status(self, *, fail_on_skip: bool) -> int:
        """Tell how the run ends.

        Args:
            fail_on_skip: Whether a skip counts as a failure.

        Returns:
            0 if everything went out that should have, otherwise 1.
        """
        return int(any(fail_on_skip or gap.kind is not Kind.SKIPPED for gap in self.gaps))

    def log_summary(self) -> None:
        """Say in one line whether the output is whole, and name what is missing from it."""
        if not self.gaps:
            logger.info("complete: everything that was asked for went out")
            return
        for kind in Kind:
            places = [gap for gap in self.gaps if gap.kind is kind]
            if places:
                logger.warning("%d %s: %s", len(places), kind.value, "; ".join(map(_place, places)))


def _place(gap: Gap) -> str:
    return " ".join(part for part in (gap.stream, gap.deployment_id) if part) or gap.reason
