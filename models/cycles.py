"""The monthly cycles of a subscription.

Cycle n starts at the provider's billing anchor + n months, in UTC, clamped to the month's end: an anchor of 31 January
gives 28 February and then 31 March. No start is ever derived from the one before. Cycles before the anchor, such as a
trial's, have negative numbers.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from dateutil.relativedelta import relativedelta

LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)
# Times of one thing that two events tell may differ by as much; months do not.
SLACK = timedelta(days=1)


def cycle_start(anchor: datetime, n: int) -> datetime:
    """When cycle `n` starts, in UTC. `anchor` is aware."""
    return anchor.astimezone(timezone.utc) + relativedelta(months=n)


def cycle_at(anchor: datetime, t: datetime) -> int:
    """The cycle that the time `t` lies in: the last one that starts at `t` or before."""
    first, moment = anchor.astimezone(timezone.utc), t.astimezone(timezone.utc)
    n = (moment.year - first.year) * 12 + moment.month - first.month
    return n if cycle_start(anchor, n) <= t else n - 1


def nearest_cycle(anchor: datetime, t: datetime) -> int:
    """The cycle whose start is nearest to `t`; of two that are as near, the earlier."""
    n = cycle_at(anchor, t)
    since, until = t - cycle_start(anchor, n), cycle_start(anchor, n + 1) - t
    return n if since <= until else n + 1
