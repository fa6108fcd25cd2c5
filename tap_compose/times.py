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

_read = msgspec.json.Decoder(datetime).decode
"""Reads RFC 3339 in JSON, in half the time that a pattern takes."""

_OFFSETS = {f"{hours:+03}:00": timedelta(hours=hours) for hours in range(-14, 15)}
"""Offsets by their text: ``datetime.astimezone`` takes three times as long."""

_parts_of = re.compile(
    r"(\d{4,9})(-\d\d-\d\d)(?:[Tt ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d+))?)?"
    r"\s*(?:[Zz]|UTC|([+-]\d\d:?\d\d))?)?",
    re.ASCII,
).fullmatch


def canonical_time(text: str) -> str:
    """Spell a time as ``2017-01-05T20:23:46.853Z``.

    Takes the three spellings of docs/compose-api.md, Conventions, and others close to them: a date
    alone, a space for the T, any number of digits in the fraction (cut to three), an offset with
    or without a colon. A time without an offset is in UTC.

    Args:
        text: The time as the API or a user wrote it; any other value is not a time.

    Returns:
        The same instant in UTC with exactly three digits of fraction; ``LAST_TIME`` for one
        past the year 9999.

    Raises:
        ValueError: If the value is not a time.
    """
    try:
        if text[-1] != "Z":
            return _text_of(_read(f'"{text[:-6]}"') - _OFFSETS[text[-6:]])
        _read(f'"{text}"')
        if text[10] == "T" and len(text) == len(LAST_TIME):
            return text
        if text[10] == "T" and len(text) == len(LAST_TIME) - len(".000"):
            return f"{text[:-1]}.000Z"
    except (ValueError, TypeError, LookupError, OverflowError):
        pass
    try:
        return _spelled_out(str(text).strip())
    except (ValueError, OverflowError):
        raise ValueError("a value that is not a time") from None


def _spelled_out(text: str) -> str:
    parts = _parts_of(text)
    if parts is None:
        raise ValueError(text)
    year, date, minute, second, fraction, offset = parts.groups("")
    if int(year) > MAXYEAR:
        return LAST_TIME
    second = min(second or "00", "59")  # a leap second is the last one of its minute
    clock = f"{minute or '00:00'}:{second}.{fraction[:6] or '0'}"
    moment = _read(f'"{int(year):04}{date}T{clock}{offset or "Z"}"')
    try:
        return time_text(moment)
    except OverflowError:
        if moment.year == MAXYEAR:
            return LAST_TIME
        raise


def time_text(moment: datetime) -> str:
    """Spell a moment the canonical way.

    Args:
        moment: An aware datetime.

    Returns:
        Its text, cut to milliseconds.
    """
    return _text_of(moment.astimezone(timezone.utc))


def _text_of(utc: datetime) -> str:
    text: str = msgspec.to_builtins(utc)  # takes a quarter of the time of isoformat
    return f"{text[:23]}Z" if text[19:20] == "." else f"{text[:19]}.000Z"


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
