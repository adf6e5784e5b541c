"""The periods of an item: months of the anchor, or intervals of days and weeks. Without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise

from models import cycles
from models.plans.facts import Interval

Period = tuple[datetime, datetime]
MONTH_DAYS = 30.4375
SHORTEST_MONTH = timedelta(days=27)
TOLERANCE = timedelta(days=1)
# More months than any bill covers. A longer line is a mistake of the provider's.
MOST_MONTHS = 120


def of_line(start: datetime, end: datetime, interval: Interval | None, anchors: Iterable[datetime]) -> list[Period]:
    """The periods that a whole line from `start` to `end` pays for.

    An interval of days or weeks is one period; months and years are cut into the months of the anchor.
    """
    length = end - start
    if (interval and interval.unit != "month") or length < SHORTEST_MONTH:
        return [(start, end)]
    count = min(MOST_MONTHS, max(1, round(length.total_seconds() / 86400 / MONTH_DAYS)))
    if count == 1:
        return [(start, end)]
    anchor, first = _aligned(start, anchors)
    starts = [start, *(cycles.cycle_start(anchor, first + n) for n in range(1, count)), end]
    return list(pairwise(starts))


def _aligned(start: datetime, anchors: Iterable[datetime]) -> tuple[datetime, int]:
    """The anchor of whose months one begins at `start`, and the number of that month."""
    for anchor in anchors:
        nearest = cycles.nearest_cycle(anchor, start)
        if abs(cycles.cycle_start(anchor, nearest) - start) <= TOLERANCE:
            return anchor, nearest
    return start, 0


def grid(start: datetime, end: datetime, anchor: datetime, interval: Interval | None) -> list[Period]:
    """The periods of the anchor that the time from `start` to `end` touches."""
    if interval and interval.unit != "month":
        return [_interval_around(start, end, anchor, interval)]
    first = cycles.cycle_at(anchor, start)
    last = min(cycles.cycle_at(anchor, end - timedelta(microseconds=1)), first + MOST_MONTHS)
    return [(cycles.cycle_start(anchor, n), cycles.cycle_start(anchor, n + 1)) for n in range(first, last + 1)]


def _interval_around(start: datetime, end: datetime, anchor: datetime, interval: Interval) -> Period:
    length = timedelta(days=interval.count * (7 if interval.unit == "week" else 1))
    begun = anchor + (start - anchor) // length * length
    return (begun, max(begun + length, end if end - begun < length else begun + length))


def starts_between(since: datetime, until: datetime, anchor: datetime, interval: Interval | None) -> Iterator[Period]:
    """The periods of the anchor that begin from `since` to before `until`."""
    if interval and interval.unit != "month":
        length = timedelta(days=interval.count * (7 if interval.unit == "week" else 1))
        begin = anchor + -((anchor - since) // length) * length
        for n in range(MOST_MONTHS):
            start = begin + n * length
            if start >= until:
                return
            if start >= since:
                yield start, start + length
        return
    first = cycles.cycle_at(anchor, since)
    for n in range(first, first + MOST_MONTHS):
        start = cycles.cycle_start(anchor, n)
        if start >= until:
            return
        if start >= since:
            yield start, cycles.cycle_start(anchor, n + 1)
