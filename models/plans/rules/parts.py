"""Parts: units that something covers for a period of an item, before refunds. Without I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from models.cycles import LONG_AGO
from models.plans.rules.months import TOLERANCE

Kind = Literal["opening", "status", "trial", "bill", "change"]


@dataclass(slots=True)
class Part:
    """Units of a plan for the period from `start` to `end`.

    `due`: when they are owed; LONG_AGO: at once. `bill` pays for them. `line` and `since` are of the line that they
    come from, `prices` those whose credit ends them.
    """

    kind: Kind
    plan: str
    units: int
    start: datetime
    end: datetime
    why: str
    quantity: int = 1
    due: datetime = LONG_AGO
    bill: str | None = None
    item: str | None = None
    line: str | None = None
    since: datetime = LONG_AGO
    prices: set[str | None] = field(default_factory=set)
    shares: tuple[tuple[str, int], ...] = ()
    # Further bills that paid for the same period.
    also_paid_by: list[str] = field(default_factory=list)

    def covers(self, at: datetime) -> bool:
        """Whether its period contains the time."""
        return self.start <= at < self.end

    def overlaps(self, start: datetime, end: datetime) -> bool:
        """Whether its period has a moment from `start` to before `end`."""
        return self.start < end and self.end > start

    def begins_at(self, start: datetime) -> bool:
        """Whether it begins at `start`, as far as two reports of one time may differ."""
        return abs(self.start - start) <= min(TOLERANCE, (self.end - self.start) / 3)


def units_at(parts: Iterable[Part], at: datetime) -> int:
    """The units of the periods that run at this time."""
    return sum(part.units for part in parts if part.covers(at))


def seats(plan: str, quantity: int) -> str:
    """A plan and its quantity, for people to read."""
    return plan if quantity == 1 else f"{quantity} × {plan}"


def day(at: datetime) -> str:
    """The date of a time, for people to read."""
    return at.strftime("%Y-%m-%d")
