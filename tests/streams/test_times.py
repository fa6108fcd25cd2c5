"""Whatever spelling comes in, one comes out."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_compose.times import FIRST_TIME, LAST_TIME, canonical_time, moved, time_text, time_value


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2016-12-16T15:00:14.922Z", "2016-12-16T15:00:14.922Z"),
        ("2017-08-30T12:46:29Z", "2017-08-30T12:46:29.000Z"),
        ("2017-01-05T15:23:46.853-05:00", "2017-01-05T20:23:46.853Z"),
        ("2017-01-05T15:23:46.853+0530", "2017-01-05T09:53:46.853Z"),
        ("2017-01-05T15:23:46.853999Z", "2017-01-05T15:23:46.853Z"),
        ("2017-01-05T15:23:46.8Z", "2017-01-05T15:23:46.800Z"),
        ("2017-01-05 15:23:46 UTC", "2017-01-05T15:23:46.000Z"),
        ("2017-01-05 15:23:46 +0100", "2017-01-05T14:23:46.000Z"),
        ("2017-01-05T15:23", "2017-01-05T15:23:00.000Z"),
        ("2017-01-05", "2017-01-05T00:00:00.000Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        ("12017-01-01T00:00:00Z", LAST_TIME),
        ("9999-12-31T23:59:59-05:00", LAST_TIME),
    ],
)
def test_spellings(text: str, canonical: str) -> None:
    assert canonical_time(text) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2017-13-01T00:00:00Z",
        "2017-02-29T00:00:00.000Z",
        "2017-01-05T25:00:00Z",
        "0000-01-01T00:00:00.000Z",
        "0001-01-01T00:00:00.000+01:00",
        "2017-01-05T15:23:46.853 05:00",
        "٢٠١٧-01-05",
    ],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="time|day|month|hour|year|range"):
        canonical_time(text)


ZONES = st.builds(
    lambda minutes: timezone(timedelta(minutes=minutes)), st.integers(-14 * 60, 14 * 60)
)


@given(
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=ZONES)  # noqa: DTZ001
)
def test_any_time_keeps_its_instant_to_the_millisecond(moment: datetime) -> None:
    text = canonical_time(moment.isoformat())
    assert len(text) == 24
    assert text == time_text(moment) == canonical_time(text)
    assert text == canonical_time(moment.isoformat(timespec="milliseconds"))
    assert timedelta() <= moment - time_value(text) < timedelta(milliseconds=1)


def test_a_time_is_moved_within_the_years_that_there_are() -> None:
    second = timedelta(seconds=1)
    assert moved("2017-01-05T00:00:00.000Z", -second) == "2017-01-04T23:59:59.000Z"
    assert moved(FIRST_TIME, -second) == FIRST_TIME
    assert moved(FIRST_TIME, second) == "0001-01-01T00:00:01.000Z"
    assert moved("9999-12-31T23:59:59.500Z", second) == LAST_TIME
