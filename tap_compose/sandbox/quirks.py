"""Shapes of the API that only few responses have, and how often the sandbox shows them."""

from __future__ import annotations

from enum import Enum


class Quirks(Enum):
    """How many odd shapes the sandbox shows: each one is known, but most responses lack it."""

    NONE = "none"
    SOME = "some"
    ALL = "all"

    def here(self, number: int, *, every: int) -> bool:
        """Decide whether one of several like things has an odd shape.

        Args:
            number: The thing's place, from 0.
            every: One in so many has the shape with ``ALL``, one in ten times as many with
                ``SOME``.

        Returns:
            Whether it has.
        """
        if self is Quirks.NONE:
            return False
        return number % (every if self is Quirks.ALL else 10 * every) == every - 1
