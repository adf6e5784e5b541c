"""Billing intervals of both providers: days, weeks, months and years after a start, in UTC."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from models import cycles

DAYS = {"day": 1, "week": 7}
MONTHS = {"month": 1, "year": 12}


def add(start: int, interval: str, count: int) -> int:
    """The time `count` intervals after `start`, in seconds; in a shorter month, its last day."""
    first = datetime.fromtimestamp(start, timezone.utc)
    if interval in MONTHS:
        return int(cycles.cycle_start(first, count * MONTHS[interval]).timestamp())
    return int((first + timedelta(days=count * DAYS[interval])).timestamp())
