"""A subscription as the provider reports it, how far its cycles have been granted, and which of them are owed.

Cycle n starts at anchor + (n − base) months. `base` is 0 until the provider moves the anchor; then it becomes the
next number that was never granted, so that a cycle's number identifies it for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter

from models import cycles

PAYING = ("active", "trialing")
PAUSED = "paused"
INCOMPLETE = "incomplete"
ENDED = ("canceled", "incomplete_expired")


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` until before `end`; None: open-ended."""

    start: datetime
    end: datetime | None

    @classmethod
    def paid(cls, start: datetime, end: datetime) -> Period:
        """When the months begin that are paid for from `start` to `end`: a period may start seconds after its month."""
        return cls(start - cycles.SLACK, end - cycles.SLACK)

    def has(self, moment: datetime) -> bool:
        return self.start <= moment and (self.end is None or moment < self.end)


def merged(periods: Iterable[Period]) -> list[Period]:
    """The same periods, as few as they can be; all of them have an end."""
    found: list[Period] = []
    for period in sorted(periods, key=attrgetter("start")):
        last = found[-1].end if found else None
        if last and period.end and period.start <= last:
            found[-1] = Period(found[-1].start, max(last, period.end))
        else:
            found.append(period)
    return found


@dataclass(slots=True)
class Subscription:
    """A subscription while its row is locked.

    `changed_at`: the time of the reported state, `plan_at`: since when it has its plan, both by the provider's clock.
    """

    id: int
    app: str
    customer: str
    account_id: int
    provider: str
    provider_id: str
    plan: str | None
    status: str
    anchor: datetime
    current_period_end: datetime | None
    paid_until: datetime | None
    paid: list[Period] = field(default_factory=list)
    withheld: dict[str, Period | None] = field(default_factory=dict)
    cycle_base: int = 0
    next_cycle: int = 0
    next_cycle_at: datetime | None = None
    granted_at: datetime | None = None
    changed_at: datetime = cycles.LONG_AGO
    plan_at: datetime = cycles.LONG_AGO
    promised_plan: str | None = None
    promised_units: int | None = None
    promised_cycle: int | None = None

    def units_of(self, cycle: int, plan: str, catalogs: int) -> int:
        """What the plan grants for the cycle: what was promised when it was sold, else what the catalog says."""
        promised = self.promised_units if (cycle, plan) == (self.promised_cycle, self.promised_plan) else None
        return catalogs if promised is None else promised

    def start_of(self, cycle: int) -> datetime:
        """When the cycle starts."""
        return cycles.cycle_start(self.anchor, cycle - self.cycle_base)

    def cycle_at(self, moment: datetime) -> int:
        """The cycle that runs at the moment; before the anchor the first one."""
        return self.cycle_base + max(0, cycles.cycle_at(self.anchor, moment))

    def nearest_cycle(self, moment: datetime) -> int:
        """The cycle whose start is nearest to the moment; an invoice may be of one before the first."""
        return self.cycle_base + cycles.nearest_cycle(self.anchor, moment)

    def months(self, first: int, end: datetime) -> range:
        """The cycles from the first one to the end of a period, as far as the schedule has come."""
        last = self.cycle_base + cycles.cycle_at(self.anchor, end - cycles.SLACK)
        return range(first, min(last + 1, self.next_cycle))

    @property
    def has_unknown_bill(self) -> bool:
        """Whether there is an unpaid invoice (of a plan change) whose period is unknown."""
        return None in self.withheld.values()

    @property
    def paid_to(self) -> datetime:
        """Cycles that start before this are owed unless withheld: the paid period, or an active subscription's end."""
        running = self.status in PAYING and not self.has_unknown_bill
        runs_to = self.current_period_end if running else None
        return max(self.paid_until or cycles.LONG_AGO, runs_to or cycles.LONG_AGO)

    def is_due(self, cycle: int, now: datetime) -> bool:
        """Whether the cycle is owed now."""
        return self.start_of(cycle) <= now and self.is_owed(cycle)

    def is_owed(self, cycle: int) -> bool:
        """Whether the cycle is owed, now or once it starts. A paid cycle is owed even if it is withheld."""
        start = self.start_of(cycle)
        if start >= self.paid_to:
            return False
        is_paid = any(period.has(start) for period in self.paid)
        return is_paid or not any(period and period.has(start) for period in self.withheld.values())

    def next_owed(self) -> datetime | None:
        """When the next owed cycle starts; None if no later cycle is owed yet."""
        cycle = self.next_cycle
        while self.start_of(cycle) < self.paid_to:
            if self.is_owed(cycle):
                return self.start_of(cycle)
            cycle += 1
        return None

    def withhold(self, why: str, period: Period | None) -> None:
        """Do not grant cycles that start in `period` unless paid for. None: the unpaid invoice names no period."""
        self.withheld = {**self.withheld, why: period}

    def release(self, why: str) -> None:
        """End the withholding for this reason."""
        self.withheld = {name: period for name, period in self.withheld.items() if name != why}
