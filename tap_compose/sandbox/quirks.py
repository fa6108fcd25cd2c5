"""Rare shapes of the API's responses, and how often the sandbox uses them."""

from __future__ import annotations

from enum import Enum


class Quirks(Enum):
    """How many rare shapes the sandbox uses; all of them are known from the API."""

    NONE = "none"
    SOME = "some"
    ALL = "all"

    def here(self, number: int, *, every: int) -> bool:
        """Return whether one of several objects of a kind has a rare shape.

        Args:
            number: The object's place, from 0.
            every: With ``ALL``, one in so many has the shape; with ``SOME``, one in ten times as
                many.

        """
        if self is Quirks.NONE:
            return False
        return number % (every if self is Quirks.ALL else 10 * every) == every - 1
