"""Bound the bytes of the bodies that are in flight or wait for their reader.

A body counts with its estimated size when its request is sent, with more if it turns out larger,
and with its real size from its end until it is read. Nothing here locks or waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

MOST_BYTES = 64 << 20
"""Bytes of all bodies. A larger body is fetched when there is no other."""

_FIRST_ESTIMATE = 3 << 20
"""Bytes of a body before others are known: at most 18 requests begin."""


class NoRoomError(Exception):
    """A body grew beyond what was left, and another one is wanted first."""


class BodySizes:
    """Estimates the size of the next body from those before it.

    Attributes:
        estimate: Bytes: the largest of the latest bodies. It falls by an eighth of the difference
            with each body that is smaller.
    """

    def __init__(self) -> None:
        self.estimate = _FIRST_ESTIMATE

    def add(self, size: int) -> None:
        """Learn the size of a body."""
        self.estimate = max(size, self.estimate - (self.estimate - size) // 8)


class ByteBudget:
    """Counts the bytes of each body.

    Args:
        most: Bytes of all bodies. An eighth is kept for those that turn out larger than estimated.

    Attributes:
        held: Bytes of all bodies now.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.held = 0
        self._most = most
        self._holders: dict[Hashable, int] = {}

    def has_room_for(self, size: int) -> bool:
        """Tell whether a request for a body of that size may be sent; the only one always may."""
        return not self._holders or self.held + size <= self._most * 7 // 8

    def can_grow(self, holder: Hashable, size: int) -> bool:
        """Tell whether a body may grow to that size; the only one always may."""
        more = size - self._holders.get(holder, 0)
        return more <= 0 or self.held + more <= self._most or self._holders.keys() == {holder}

    def hold(self, holder: Hashable, size: int) -> None:
        """Count a body with that size from now on."""
        self.held += size - self._holders.get(holder, 0)
        self._holders[holder] = size

    def grow(self, holder: Hashable, size: int) -> None:
        """Count a body with at least that size from now on."""
        self.hold(holder, max(size, self._holders.get(holder, 0)))

    def release(self, holder: Hashable) -> None:
        """Count a body no longer."""
        self.held -= self._holders.pop(holder, 0)
