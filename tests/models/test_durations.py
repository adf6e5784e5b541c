"""Durations are written "30d", "2h", "10m" or "45s"."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import durations


@pytest.mark.parametrize(
    ("written", "duration"),
    [
        ("30d", timedelta(days=30)),
        ("2h", timedelta(hours=2)),
        ("10m", timedelta(minutes=10)),
        ("45s", timedelta(seconds=45)),
        ("0s", timedelta(0)),
        ("36500d", timedelta(days=36_500)),
    ],
)
def test_a_duration_is_a_number_and_a_letter(written, duration):
    assert durations.parse(written) == duration


@pytest.mark.parametrize(
    "written", ["", "30", "d", "30 d", "30D", "1.5h", "-1d", "+1d", "1mo", "1d2h", "030d", "1w", "٣d", "1d\n"]
)
def test_anything_else_is_refused_with_an_example(written):
    with pytest.raises(ValueError, match='"30d"'):
        durations.parse(written)


@pytest.mark.parametrize("written", ["36501d", "9999999999d", "9999999999s"])
def test_a_duration_beyond_a_hundred_years_is_refused(written):
    with pytest.raises(ValueError, match="at most 36500d"):
        durations.parse(written)


@given(st.integers(0, 36_500 * 86_400))
def test_a_duration_written_out_and_read_back_is_the_same(seconds):
    assert durations.parse(durations.write(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize("written", ["30d", "25h", "90m", "45s", "0s"])
def test_a_duration_is_written_in_the_largest_unit_that_fits(written):
    assert durations.write(durations.parse(written)) == written
