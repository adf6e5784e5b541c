"""What separates a subscription's lots from what it is owed. Pure.

Owed periods and lots are compared by customer and start, where two starts may differ a little: a late fact that moves
the anchor by seconds grants nothing again. Each plan of a period is compared with its own lots.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """(What to grant, refunds not deducted; the units of lots that are too many, by plan).

    Lots count towards what their own payment paid for first, then towards their plan.
    """
    left: dict[tuple[str, str | None], int] = defaultdict(int)
    for lot in period.lots:
        left[lot.plan, lot.payment] += lot.granted
    whole = [replace(one, units=one.whole_units if one.units else 0) for one in period.owed]
    missing = sorted(whole, key=lambda one: (not one.is_opening, one.due, one.whole_units))
    missing = [_without(one, left, [payments.get(one.paid_by or "")]) for one in missing]
    missing = [_without(one, left, [payment for plan, payment in left if plan == one.plan]) for one in missing]
    surplus: dict[str, int] = defaultdict(int)
    for (plan, _), units in left.items():
        surplus[plan] += units
    return [one for one in missing if one.units], surplus


def _without(one: Owed, left: dict[tuple[str, str | None], int], of_payments: Iterable[str | None]) -> Owed:
    """What is missing still after units of its plan that these payments paid for, which are taken from `left`."""
    units = one.units
    for payment in sorted(of_payments, key=str):
        taken = min(units, left[one.plan, payment])
        left[one.plan, payment] -= taken
        units -= taken
    return replace(one, units=units)


def _targets(period: Period, surplus: dict[str, int], payments: Mapping[str, str]) -> list[Target]:
    """The lots to change: what was returned is clawed back from lots of its payment first, what is too much from the
    newest ones.
    """
    clawed: dict[int, int] = defaultdict(int)
    for one in period.owed:
        if one.units:
            _claw(period, one.plan, one.whole_units - one.units, clawed, payments.get(one.paid_by or ""))
    for plan, units in surplus.items():
        _claw(period, plan, units, clawed, None)
    targets = [Target(lot, clawed[lot.entry_id], _is_frozen(lot, period.owed, payments)) for lot in period.lots]
    return [one for one in targets if not one.lot.is_at(one.units) or one.is_frozen != one.lot.is_frozen]


def _claw(period: Period, plan: str, units: int, clawed: dict[int, int], payment: str | None) -> None:
    """Add the units to what is clawed back of the plan's lots: of this payment's first, of the newest ones first."""
    lots = [lot for lot in reversed(period.lots) if lot.plan == plan]
    for lot in sorted(lots, key=lambda lot: payment is None or lot.payment != payment):
        taken = min(units, lot.granted - clawed[lot.entry_id])
        clawed[lot.entry_id] += taken
        units -= taken


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
