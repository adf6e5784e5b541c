"""Cycles: the months of a subscription, from its anchor and never from each other."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.cycles import cycle_at, cycle_start, nearest_cycle

ANCHOR = datetime(2026, 1, 31, 9, 30, tzinfo=timezone.utc)
MOMENTS = st.integers(0, 60 * 365 * 86_400).map(lambda seconds: ANCHOR + timedelta(seconds=seconds - 10**9))


def day(year: int, month: int, of_month: int, hour: int = 9, minute: int = 30) -> datetime:
    return datetime(year, month, of_month, hour, minute, tzinfo=timezone.utc)


def test_a_short_month_clamps_its_own_cycle_and_no_later_one():
    starts = [cycle_start(ANCHOR, n) for n in range(5)]
    assert [(start.month, start.day) for start in starts] == [(1, 31), (2, 28), (3, 31), (4, 30), (5, 31)]
    assert cycle_start(ANCHOR, 25) == day(2028, 2, 29)


def test_an_anchor_in_another_zone_counts_its_months_in_utc():
    east = timezone(timedelta(hours=10))
    assert cycle_start(datetime(2026, 3, 1, 5, tzinfo=east), 1) == day(2026, 3, 28, 19, 0)


@pytest.mark.parametrize(
    ("moment", "cycle"),
    [
        (ANCHOR, 0),
        (day(2026, 2, 28, 9, 29), 0),
        (day(2026, 2, 28), 1),
        (day(2026, 3, 31, 9, 29), 1),
        (day(2026, 3, 31), 2),
        (day(2027, 1, 31), 12),
        (day(2026, 1, 31, 9, 29), -1),
    ],
)
def test_a_moment_lies_in_the_last_cycle_that_has_started(moment, cycle):
    assert cycle_at(ANCHOR, moment) == cycle


@pytest.mark.parametrize(
    ("moment", "cycle"), [(day(2026, 2, 5), 0), (day(2026, 2, 20), 1), (day(2026, 2, 28, 10), 1), (day(2026, 1, 20), 0)]
)
def test_the_nearest_cycle_may_be_one_that_starts_later(moment, cycle):
    assert nearest_cycle(ANCHOR, moment) == cycle


@given(anchor=MOMENTS, moment=MOMENTS)
def test_every_moment_lies_in_exactly_one_cycle(anchor, moment):
    n = cycle_at(anchor, moment)
    assert cycle_start(anchor, n) <= moment < cycle_start(anchor, n + 1)


@given(anchor=MOMENTS, n=st.integers(-100, 400))
def test_the_start_of_a_cycle_is_nearest_to_itself(anchor, n):
    assert nearest_cycle(anchor, cycle_start(anchor, n)) == n
