"""The plain account: what a customer should have at the end, from the steps of the story and never from its events.

Each rule is a few lines of arithmetic below the sentence of the design that it follows.

Open questions. The design leaves the value open; the stories avoid the situation.
 1. lite → max → lite → pro in one month, 3 × lite → lite → pro: pro is new to the month, but the month was granted
    more than the plan that pro replaces.
 2. A change of plan in a month in which the customer of the subscription changed: whose are the new units?
 3. A refund of a bill of several months after an upgrade or downgrade within it: do its months that were not begun
    still belong to it (its credited line ended), or to the bill of the change?
 4. A refund while `cancel_at` is in the future: is that "an end is known", or only `ended_at`?
 5. A refund that is not a whole number of units, of the bill in force at the end: how is it rounded?
 6. A period that is begun again (month → year, conversion of a trial) within the tolerance of a day: "a whole new line
    is netted with nothing", but it starts where a lot already is.
 7. Several changes in one period that are carried by one bill (the next invoice): is each netted, or only their sum?
 8. A change after an unpaid one in the same period: it credits what was never covered.
 9. A free stub (no proration, amount 0, ends at the anchor) looks like a trial line.
10. A subscription in trial of which no bill is reported: does the status `trialing` alone grant?
11. A trial with `trial_grants = "monthly"` that is not a whole number of months, or that is extended.
12. An upgrade refunded in full and bought again in the same month: is the quantity "so far" still the highest?
13. `on_upgrade_unbilled = "trust"` and a bill of the change that is voided.
14. A trial with `trial_grants = "monthly"` that is cancelled: are its later months owed, by its bill of nothing?
15. A second customer becomes known for a provider's id that alone decided about granted months: are they taken?
16. Silent (status only) periods of several months that were `past_due` for a part of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from tests.plans.stories.months import Price, Touched, touched


class NotDecided(Exception):
    """The design does not say what is owed: the step is not taken."""


@dataclass(frozen=True)
class Held:
    """What an item of the subscription holds."""

    price: Price
    quantity: int

    @property
    def plan(self) -> str:
        return self.price.plan


@dataclass
class Due:
    """Units of one month of one item. `of` are the plans and quantities of a month that is covered whole: its units
    change with the catalog until it starts. `share` is what a credit note left of it.
    """

    item: str
    start: datetime
    units: int
    of: tuple[tuple[str, int], ...] = ()
    share: Fraction = Fraction(1)


@dataclass
class Bill:
    """A bill that was paid (or a period that the status alone covers: then nothing was paid)."""

    name: str
    paid_minor: int
    start: datetime
    end: datetime
    dues: list[Due] = field(default_factory=list)
    returned_minor: int = 0
    is_mixed: bool = False

    def standing(self, ended_at: datetime | None) -> list[Due]:
        """The dues less what was returned."""
        if not self.returned_minor:
            return self.dues
        if ended_at and ended_at < self.end:
            return self._counted_backwards()
        # "While it runs, a refund takes its share of each month of its bill."
        taken = [due.units * self.returned_minor // self.paid_minor for due in self.dues]
        return [Due(due.item, due.start, due.units - less) for due, less in zip(self.dues, taken, strict=True)]

    def _counted_backwards(self) -> list[Due]:
        """ "Once an end is known, every refund of the bill in force counts backwards from the bill's end, whenever it
        was made: half a year refunded at half time leaves six months and claws nothing back; 75 % leaves three."
        """
        standing: list[Due] = []
        for item in {due.item for due in self.dues}:
            dues = sorted((due for due in self.dues if due.item == item), key=lambda due: due.start)
            left = sum(due.units for due in dues) * (self.paid_minor - self.returned_minor) // self.paid_minor
            for due in dues:
                standing.append(Due(item, due.start, min(left, due.units)))
                left -= standing[-1].units
        return standing


class Account:
    """What is owed for one subscription."""

    def __init__(self, customer: str | None, units: dict[str, int]) -> None:
        self.bills: list[Bill] = []
        self.by_status: list[Bill] = []
        self.customers: list[tuple[datetime | None, str | None]] = [(None, customer)]
        self.catalogs: list[tuple[datetime | None, dict[str, int]]] = [(None, units)]
        self.highest: dict[tuple[str, str, datetime], int] = {}
        self.pauses: list[tuple[datetime, datetime | None]] = []
        self.packs: dict[str, int] = {}
        self.ended_at: datetime | None = None
        self.gives_pauses = False

    # --- what a line owes

    def units(self, held: Held, month: Touched) -> int:
        """ "plan's units × quantity". "A period uses the terms in force at its start." """
        return self._terms(month)[held.plan] * held.quantity

    def _terms(self, month: Touched) -> dict[str, int]:
        return [units for since, units in self.catalogs if since is None or since <= month.whole_start][-1]

    def whole(self, item: str, held: Held, anchor: datetime, start: datetime, end: datetime) -> list[Due]:
        """ "A positive line owes, for each month it touches, floor(units × quantity × overlap ÷ month)." """
        dues = []
        for month in touched(held.price, anchor, start, end):
            is_whole = (month.start, month.end) == (month.whole_start, month.whole_end)
            of = ((held.plan, held.quantity),) if is_whole else ()
            dues.append(Due(item, month.start, month.share(self.units(held, month)), of))
            self._reached(item, held, month)
        return dues

    def change(
        self, item: str, old: Held, new: Held, anchor: datetime, at: datetime, end: datetime, *, is_full: bool = False
    ) -> list[Due]:
        """ "the new plan's share of each touched month less the old plan's, floored once"; "`on_upgrade = "full"`: the
        whole difference of the month".
        """
        dues = []
        for month in touched(new.price, anchor, at, end):
            if month.whole_start < at:
                self._check(item, old, new, month)
                more = self._new(item, old, new, month)
                dues.append(Due(item, month.start, more if is_full else month.share(more)))
            else:
                # Months not begun follow the change, upwards and downwards: a credit line ends the old plan's there.
                more = self.units(new, month) - self.units(old, month)
                of = ((new.plan, new.quantity), (old.plan, -old.quantity))
                dues.append(Due(item, month.start, more, of))
        return dues

    def covered(self, item: str, new: Held, anchor: datetime, at: datetime, end: datetime) -> None:
        """The change is paid: its months have reached the new quantity."""
        for month in touched(new.price, anchor, at, end):
            self._reached(item, new, month)

    def _new(self, item: str, old: Held, new: Held, month: Touched) -> int:
        """ "A change never grants again what a running month was granted: per plan only the quantity above the highest
        so far is new (lite → max → lite → max on one day is one upgrade)." "A downgrade takes nothing from the running
        month." "More seats are an upgrade."
        """
        highest = self._highest(item, new.plan, month)
        if new.plan == old.plan:
            above = max(0, new.quantity - max(old.quantity, highest))
            return self.units(Held(new.price, above), month)
        if highest >= new.quantity:
            return 0
        return max(0, self.units(new, month) - self.units(old, month))

    def _check(self, item: str, old: Held, new: Held, month: Touched) -> None:
        known, grows = self._highest(item, new.plan, month), self.units(new, month) > self.units(old, month)
        had_more = any(
            plan != new.plan and self._terms(month)[plan] * quantity > self.units(old, month)
            for (of, plan, start), quantity in self.highest.items()
            if (of, start) == (item, month.whole_start)
        )
        if grows and known < new.quantity and (had_more or (new.plan != old.plan and known)):
            raise NotDecided("question 1")
        if any(since and since >= month.whole_start for since, _ in self.customers):
            raise NotDecided("question 2")

    def _highest(self, item: str, plan: str, month: Touched) -> int:
        return self.highest.get((item, plan, month.whole_start), 0)

    def _reached(self, item: str, held: Held, month: Touched) -> None:
        key = (item, held.plan, month.whole_start)
        self.highest[key] = max(held.quantity, self.highest.get(key, 0))

    def use_terms(self, at: datetime, units: dict[str, int], waiting: list[Due]) -> None:
        """ "A period uses the terms in force at its start": so months that start later use the new ones."""
        self.catalogs.append((at, units))
        for due in [due for bill in [*self.bills, *self.by_status] for due in bill.dues] + waiting:
            if due.start >= at and due.of:
                due.units = int(sum(units[plan] * quantity for plan, quantity in due.of) * due.share)

    # --- what ends

    def stop(self, item: str, at: datetime) -> None:
        """ "A whole (not prorated) line, or a credit line, ends the coverage of the same item's earlier line for months
        not begun, from its start." """
        for bill in [*self.bills, *self.by_status]:
            bill.dues = [due for due in bill.dues if due.item != item or due.start <= at]

    # --- the end of the story

    def owed(self, until: datetime) -> dict[str, int]:
        """Units of plans by customer."""
        total = {customer: 0 for _, customer in self.customers if customer}
        for due in [*self._paid(), *self._by_status()]:
            customer = self._customer(due.start)
            if due.start <= until and customer:
                total[customer] += due.units
        return total

    def _paid(self) -> list[Due]:
        """ "After `ended_at` nothing new is owed but what a standing paid bill covers." """
        return [due for bill in self.bills for due in bill.standing(self.ended_at)]

    def _by_status(self) -> list[Due]:
        """ "Periods that begin in a pause are not owed unless paid; `paused_grants = true` in the catalog for those who
        give the time away."
        """
        dues = [due for bill in self.by_status for due in bill.dues]
        return [due for due in dues if not self._is_paused(due.start) and not self._is_over(due.start)]

    def _is_paused(self, at: datetime) -> bool:
        paused = any(start <= at and (end is None or at < end) for start, end in self.pauses)
        return paused and not self.gives_pauses

    def _is_over(self, at: datetime) -> bool:
        return self.ended_at is not None and at >= self.ended_at

    def _customer(self, at: datetime) -> str | None:
        """ "A changed `metadata.customer` moves periods that start after the change." """
        return [customer for since, customer in self.customers if since is None or since < at][-1]
