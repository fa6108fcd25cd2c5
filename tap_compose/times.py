"""Convert times in any spelling to one spelling.

Everything inside the tap compares times as text, as the SDK does with bookmarks, and that is
only right while all of them have the same width: RFC 3339 in UTC with three digits of
fraction, ``2017-01-05T20:23:46.853Z``.
"""

from __future__ import annotations

import re
from datetime import MAXYEAR, datetime, timedelta, timezone

import msgspec

LAST_TIME = "9999-12-31T23:59:59.000Z"
"""What a time past the year 9999 becomes; the API uses such times for "still current"."""

FIRST_TIME = "0001-01-01T00:00:00.000Z"
"""The first time that Python knows."""

# The API's three spellings and no time that does not exist; 29 February alone needs a calendar.
_is_usual = re.compile(
    r"(?!0000)\d{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])"
    r"|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    r"T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{3})?(?:Z|[+-]\d\d:00)",
    re.ASCII,
).fullmatch

_OFFSETS = {f"{hours:+03}:00": timedelta(hours=hours) for hours in range(-14, 15)}

_parts_of = re.compile(
    r"(?P<year>\d{4,9})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"(?:[Tt ](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?"
    r"\s*(?:(?P<utc>[Zz]|UTC)|(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d))?)?",
    re.ASCII,
).fullmatch


def canonical_time(text: str) -> str:
    """Spell a time as ``2017-01-05T20:23:46.853Z``.

    Takes the three spellings of docs/compose-api.md, Conventions, and others close to them: a date
    alone, a space for the T, any number of digits in the fraction (cut, not rounded), an
    offset with or without a colon. A time without an offset is in UTC.

    Args:
        text: The time as the API or a user wrote it.

    Returns:
        The same instant in UTC with exactly three digits of fraction; ``LAST_TIME`` for one
        past the year 9999.

    Raises:
        ValueError: If the text is not a time.
    """
    if _is_usual(text):  # faster: there may be millions of them
        if text[-1] == "Z":
            return text if len(text) == len(LAST_TIME) else f"{text[:-1]}.000Z"
        try:
            utc = datetime.fromisoformat(text[:19]) - _OFFSETS[text[-6:]]
        except (KeyError, OverflowError):
            return _spelled_out(text)
        # to_builtins takes a fifth of the time of isoformat
        return f"{msgspec.to_builtins(utc)}{text[19:-6] or '.000'}Z"
    return _spelled_out(text)


def _spelled_out(text: str) -> str:
    parts = _parts_of(text.strip())
    if parts is None:
        raise ValueError("not a time")
    year = int(parts["year"])
    if year > MAXYEAR:
        return LAST_TIME
    offset = timedelta(hours=int(parts["hours"] or 0), minutes=int(parts["minutes"] or 0))
    local = datetime(
        year,
        int(parts["month"]),
        int(parts["day"]),
        int(parts["hour"] or 0),
        int(parts["minute"] or 0),
        min(int(parts["second"] or 0), 59),  # a leap second is the last one of its minute
        int((parts["fraction"] or "0")[:6].ljust(6, "0")),
        tzinfo=timezone.utc,
    )
    try:
        return time_text(local + offset if parts["sign"] == "-" else local - offset)
    except OverflowError:
        if year == MAXYEAR:
            return LAST_TIME
        raise ValueError("not a time") from None


def time_text(moment: datetime) -> str:
    """Spell a moment the canonical way.

    Args:
        moment: An aware datetime.

    Returns:
        Its text, cut to milliseconds.
    """
    utc = moment.astimezone(timezone.utc).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='milliseconds')}Z"


def moved(text: str, by: timedelta) -> str:
    """Move a time, within the years that there are.

    Args:
        text: A time as ``canonical_time`` spells it.
        by: How far; negative for an earlier time.

    Returns:
        The canonical time; the first or the last one if it would lie beyond.
    """
    try:
        return time_text(time_value(text) + by)
    except OverflowError:
        return LAST_TIME if by > timedelta() else FIRST_TIME


def time_value(text: str) -> datetime:
    """Read a canonical time back for arithmetic.

    Args:
        text: A time as ``canonical_time`` spells it.

    Returns:
        The aware datetime in UTC.
    """
    return datetime.fromisoformat(text[:-1]).replace(tzinfo=timezone.utc)
