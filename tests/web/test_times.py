"""Times as the API reads and writes them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from models import times

UTC = timezone.utc

GOOD = (
    ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ("2026-01-31t12:00:00z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ("2026-01-31 12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ("2026-01-31T12:00:00+05:30", datetime(2026, 1, 31, 6, 30, tzinfo=UTC)),
    ("2026-01-31T23:00:00-02:00", datetime(2026, 2, 1, 1, tzinfo=UTC)),
    ("2026-01-31T12:00:00-00:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ("2026-01-31T12:00:00.5Z", datetime(2026, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)),
    ("2026-01-31T12:00:00.123456789Z", datetime(2026, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC)),
)


@pytest.mark.parametrize(("text", "expected"), GOOD)
def test_any_offset_is_understood(text, expected):
    assert times.parse(text) == expected
    assert times.parse(text).utcoffset() == timedelta(0)


BAD = (
    "",
    "now",
    "2026-01-31",
    "2026-01-31T12:00:00",
    "2026-01-31T12:00Z",
    "2026-01-31T12:00:00+0200",
    "2026-01-31T12:00:00+24:00",
    "2026-01-31T12:00:00+02:60",
    "2026-01-31T24:00:00Z",
    "2026-01-31T12:00:60Z",
    "2026-02-29T12:00:00Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59-00:01",
    "２０２６-01-31T12:00:00Z",
    "2026-01-31T12:00:00Z\n",
    "20260131T120000Z",
    "-2026-01-31T12:00:00Z",
    "1700000000",
    1_700_000_000,
    None,
)


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_time_is_refused(text):
    with pytest.raises((ValueError, TypeError)):
        times.parse(text)


def test_times_are_written_in_utc_with_a_z():
    east = timezone(timedelta(hours=2))
    assert times.write(datetime(2026, 1, 31, 12, tzinfo=east)) == "2026-01-31T10:00:00Z"
    assert times.write(datetime(2026, 1, 31, 12, 0, 0, 1000, tzinfo=UTC)) == "2026-01-31T12:00:00.001000Z"
