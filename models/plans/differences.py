"""What separates a subscription's lots from what it is owed. Pure.

Owed periods and lots are compared by customer and start, where two starts may differ a little: a late fact that moves
the anchor by seconds grants nothing again. Within a period, plans make up for each other: units of a smaller plan that
are there already count towards a larger one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from models.plans.owed import Owed
from models.plans.plan_lots import PlanLot
from models.plans.rules.months import TOLERANCE


@dataclass(slots=True)
class Period:
    """What is owed to a customer for one period, and the lots that were granted for it."""

    customer: str
    start: datetime
    length: timedelta
    owed: list[Owed] = field(default_factory=list)
    lots: list[PlanLot] = field(default_factory=list)

    def is_at(self, customer: str, start: datetime) -> bool:
        """Whether a period of the customer that begins then is this one."""
        return customer == self.customer and abs(start - self.start) <= min(TOLERANCE, self.length / 3)


@dataclass(frozen=True, slots=True)
class Target:
    """How many units of a lot are to be clawed back in total, and whether it is to be frozen."""

    lot: PlanLot
    units: int
    is_frozen: bool


@dataclass(frozen=True, slots=True)
class Differences:
    """`grants`: units to grant, some of them later. `targets`: lots that are not as they should be.

    `paid`: the bill of lots that were granted before it was known.
    """

    grants: list[Owed]
    targets: list[Target]
    paid: dict[int, str]


def between(owed: Iterable[Owed], lots: Iterable[PlanLot], payments: Mapping[str, str]) -> Differences:
    """What to grant and what to claw back, so that the lots are what is owed.

    `payments`: the reference of the payment of each bill.
    """
    found = Differences([], [], {})
    for period in _periods(owed, lots):
        grants, surplus = _balance(period, payments)
        found.grants.extend(grants)
        found.targets.extend(_targets(period, surplus, payments))
        found.paid.update(_paid(period, payments))
    return found


def _periods(owed: Iterable[Owed], lots: Iterable[PlanLot]) -> list[Period]:
    by_customer: dict[str, list[Period]] = defaultdict(list)
    exact: dict[tuple[str, datetime], Period] = {}

    def period_at(customer: str, start: datetime, length: timedelta, among: int | None = None) -> Period:
        near = [period for period in by_customer[customer][among:] if period.is_at(customer, start)]
        if near:
            return min(near, key=lambda period: abs(period.start - start))
        period = Period(customer, start, length)
        by_customer[customer].append(period)
        return period

    for one in sorted(owed, key=lambda one: (one.start, one.end)):
        # Owed periods come in order: only the last ones can be near.
        period = period_at(one.customer, one.start, one.end - one.start, among=-3)
        period.owed.append(one)
        exact[one.customer, one.start] = period
    for lot in lots:
        # What is granted below for a start must be found at that start, or every run would grant it once more.
        (exact.get((lot.customer, lot.start)) or period_at(lot.customer, lot.start, TOLERANCE)).lots.append(lot)
    return [period for periods in by_customer.values() for period in periods]


def _balance(period: Period, payments: Mapping[str, str]) -> tuple[list[Owed], dict[str, int]]:
    """(What to grant, the units of lots that are too many, by plan).

    Lots count towards what their own payment paid for first, then towards their plan, then towards other plans.
    """
    left: dict[tuple[str, str | None], int] = defaultdict(int)
    for lot in period.lots:
        left[lot.plan, lot.payment] += lot.granted
    missing = sorted(period.owed, key=lambda one: (not one.is_opening, one.due, one.units))
    for is_near in (
        lambda one, plan, payment: plan == one.plan and payment == payments.get(one.paid_by or ""),
        lambda one, plan, payment: plan == one.plan,
        lambda one, plan, payment: True,
    ):
        missing = [replace(one, units=one.units - _take(one, left, is_near)) for one in missing]
    surplus: dict[str, int] = defaultdict(int)
    for (plan, _), units in left.items():
        surplus[plan] += units
    return [one for one in missing if one.units], surplus


def _take(one: Owed, left: dict[tuple[str, str | None], int], is_near: Callable[[Owed, str, str | None], bool]) -> int:
    """Take units of near lots from `left`, at most as many as are owed. Returns how many."""
    taken = 0
    for plan, payment in sorted(left, key=lambda key: (key[0], key[1] or "")):
        if is_near(one, plan, payment):
            units = min(one.units - taken, left[plan, payment])
            left[plan, payment] -= units
            taken += units
    return taken


def _targets(period: Period, surplus: dict[str, int], payments: Mapping[str, str]) -> list[Target]:
    """The lots to change: what is too much is clawed back from the newest ones."""
    found = []
    for lot in reversed(period.lots):
        units = min(lot.granted, surplus.get(lot.plan, 0))
        surplus[lot.plan] = surplus.get(lot.plan, 0) - units
        is_frozen = _is_frozen(lot, period.owed, payments)
        if not lot.is_at(units) or is_frozen != lot.is_frozen:
            found.append(Target(lot, units, is_frozen))
    return found[::-1]


def _paid(period: Period, payments: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """(Entry, bill) of the lots without a payment that were paid for since."""
    for lot in period.lots:
        bill = next((one.paid_by for one in _of_lot(lot, period.owed, payments)), None)
        if lot.payment is None and bill in payments:
            yield lot.entry_id, str(bill)


def _is_frozen(lot: PlanLot, owed: Sequence[Owed], payments: Mapping[str, str]) -> bool:
    """Whether an inquiry is open about the payment of the lot."""
    return any(one.is_frozen for one in _of_lot(lot, owed, payments))


def _of_lot(lot: PlanLot, owed: Sequence[Owed], payments: Mapping[str, str]) -> list[Owed]:
    """What the lot was granted for: what its payment paid for, or what is not paid for; else all of its plan."""
    same = [one for one in owed if one.plan == lot.plan]
    of_all = same if lot.payment is None else owed
    return [one for one in of_all if payments.get(one.paid_by or "") == lot.payment] or same
