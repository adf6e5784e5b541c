"""The monthly cycles of a subscription.

Cycle n starts at the provider's billing anchor + n months, in UTC, clamped to the end of the month: an anchor of 31
January gives 28 February and then 31 March. A start is never derived from the previous one. Cycles before the anchor,
such as a trial's, have negative numbers.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from dateutil.relativedelta import relativedelta

LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)
# Units of a period live on for at most this long after it, and as long if they are granted late.
PERIOD_GRACE = timedelta(days=3)
# Two events may report times of the same object that differ by up to this much; months differ by more.
SLACK = timedelta(days=1)


def cycle_start(anchor: datetime, n: int) -> datetime:
    """The start of cycle `n`, in UTC. `anchor` must have a time zone."""
    return anchor.astimezone(timezone.utc) + relativedelta(months=n)


def cycle_at(anchor: datetime, t: datetime) -> int:
    """The cycle that contains `t`: the last one that starts at or before `t`."""
    n = _months(anchor, t)
    return n if cycle_start(anchor, n) <= t else n - 1


def nearest_cycle(anchor: datetime, t: datetime) -> int:
    """The cycle whose start is nearest to `t`; the earlier one if two are equally near."""
    n = _months(anchor, t)
    if cycle_start(anchor, n) == t:  # as almost always
        return n
    n = cycle_at(anchor, t)
    since, until = t - cycle_start(anchor, n), cycle_start(anchor, n + 1) - t
    return n if since <= until else n + 1


def _months(anchor: datetime, t: datetime) -> int:
    """The number of months from the month of one time to that of the other, in UTC."""
    first, moment = anchor.astimezone(timezone.utc), t.astimezone(timezone.utc)
    return (moment.year - first.year) * 12 + moment.month - first.month
