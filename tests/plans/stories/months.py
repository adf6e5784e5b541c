"""The calendar of the stories: the months (or shorter intervals) of a price, and how much of one a line covers.

plans.md: "`day` and `week` prices (any count): one grant per interval. `month` and `year` prices (any count): one grant
per month of the anchor (anchor + n months in UTC, clamped to the month's end)."
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from dateutil.relativedelta import relativedelta

SHORT = {"day": timedelta(days=1), "week": timedelta(days=7)}
MONTHS = {"month": 1, "year": 12}


@dataclass(frozen=True)
class Price:
    """A price of a plan: so much for each `count` intervals."""

    plan: str
    interval: str
    count: int
    amount: int

    @property
    def id(self) -> str:
        return f"price_{self.plan}" if self.is_once else f"price_{self.plan}_{self.count}{self.interval}"

    @property
    def is_once(self) -> bool:
        """Whether it is paid once: a pack's."""
        return self.interval == "once"

    @property
    def is_short(self) -> bool:
        """Whether it grants once per interval, not each month."""
        return self.interval in SHORT

    @property
    def grants(self) -> int:
        """How many months (or short intervals) one billing period has."""
        return 1 if self.is_short else MONTHS[self.interval] * self.count

    def grant_start(self, anchor: datetime, n: int) -> datetime:
        """The start of month n, counted from the anchor."""
        if self.is_short:
            return anchor + n * self.count * SHORT[self.interval]
        return anchor + relativedelta(months=n)

    def period(self, anchor: datetime, n: int) -> datetime:
        """The start of billing period n."""
        return self.grant_start(anchor, n * self.grants)

    def next_period(self, anchor: datetime, at: datetime) -> datetime:
        """The end of the billing period that contains the moment."""
        n = 0
        while self.period(anchor, n) <= at:
            n += 1
        return self.period(anchor, n)


@dataclass(frozen=True)
class Touched:
    """A month that a line touches. `start` to `end` is the part that is covered, `whole_*` the month."""

    start: datetime
    end: datetime
    whole_start: datetime
    whole_end: datetime

    def share(self, units: int) -> int:
        """The units of the covered part, rounded down."""
        covered, whole = self.end - self.start, self.whole_end - self.whole_start
        return units * _seconds(covered) // _seconds(whole)


def touched(price: Price, anchor: datetime, start: datetime, end: datetime) -> list[Touched]:
    """The months that [start, end) touches, the first one first."""
    n = 0
    while price.grant_start(anchor, n) > start:
        n -= 1
    while price.grant_start(anchor, n + 1) <= start:
        n += 1
    found = []
    while (first := price.grant_start(anchor, n)) < end:
        last = price.grant_start(anchor, n + 1)
        found.append(Touched(max(start, first), min(end, last), first, last))
        n += 1
    return found


def _seconds(span: timedelta) -> int:
    return span.days * 86400 + span.seconds
