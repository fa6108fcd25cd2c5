"""Warnings on the fields of a stream: one per field, the first 20 by name, then a count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging

MOST_NAMED = 20
MOST_COUNTED = 100_000


class FieldWarnings:
    """Warns of fields that do not fit, once for each field.

    Args:
        logger: The logger of the stream.
    """

    def __init__(self, logger: logging.Logger | logging.LoggerAdapter[Any]) -> None:
        self._logger = logger
        self._unknown: set[int] = set()
        self._nulls: set[int] = set()

    def unknown(self, path: str) -> None:
        """Warn of a field that no column has.

        Args:
            path: The field, such as ``users[].email``.
        """
        if _is_among_first(self._unknown, path):
            self._logger.warning("undocumented field %s is ignored", path)

    def null(self, path: str, what: str) -> None:
        """Warn of a value that became null.

        Args:
            path: The field.
            what: What its value is, such as a number out of range.
        """
        if _is_among_first(self._nulls, f"{path} {what}"):
            self._logger.warning("field %s: %s becomes null", path, what)

    def log_counts(self) -> None:
        """Log how many fields there were, if there were more than are named."""
        for seen, message in (
            (self._unknown, "%s undocumented fields are ignored: the first %s are named above"),
            (self._nulls, "%s fields have values that become null: the first %s are named above"),
        ):
            if len(seen) > MOST_NAMED:
                count = f"{'at least ' if len(seen) == MOST_COUNTED else ''}{len(seen):,}"
                self._logger.warning(message, count, MOST_NAMED)
            seen.clear()


def _is_among_first(seen: set[int], text: str) -> bool:
    key = hash(text)  # the text itself may be a megabyte
    is_new = key not in seen
    if is_new and len(seen) < MOST_COUNTED:
        seen.add(key)
    return is_new and len(seen) <= MOST_NAMED
