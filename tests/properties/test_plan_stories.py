"""Random lives of a plan against a plain account of what they should come to.

Each period is paid, paid late or never; within it the plan may grow or shrink; bills are refunded in part, twice or in
vain, or disputed. Events come on time, or late, twice and out of order, with the schedule running in between.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs import maintenance, runs
from jobs.inbox import events
from models import cycles, database
from tests.support.cast import app, balance, deliver, event_states
from tests.support.providers.shop import change
from tests.support.providers.stripe_events import charge, dispute, event, invoice, refund, subscription

pytestmark = pytest.mark.usefixtures("db")
APP = "songs"
UNITS = {"mini": 100, "pro": 1000, "max": 3000}
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
PERIODS, LIVES = 4, 12


@dataclass
class Bill:
    """A bill that was paid, and the units that it paid for."""

    number: str
    paid_minor: int
    at: datetime
    units: list[int]
    back_minor: int = 0

    @property
    def stands(self) -> int:
        return sum(units - units * self.back_minor // self.paid_minor for units in self.units)


@dataclass
class Life:
    """What one customer's plan goes through."""

    customer: str
    anchor: datetime
    months: int
    dice: random.Random
    told: list[tuple[datetime, str, dict[str, Any]]] = field(default_factory=list)
    bills: list[Bill] = field(default_factory=list)
    plan: str = "mini"
    latest: str = ""

    def turn(self, period: int) -> datetime:
        return cycles.cycle_start(self.anchor, period * self.months)

    @property
    def end(self) -> datetime:
        return self.turn(PERIODS) - DAY

    def live(self) -> None:
        self.plan = self.dice.choice(["mini", "pro"])
        for period in range(PERIODS):
            if self.renew(period):
                self.grow(period)
                self.shrink(period)
        for bill in self.bills:
            self.go_back(bill)
        self.told.sort(key=lambda it: it[0])

    def is_told(self, at: datetime, type_: str, thing: dict[str, Any]) -> None:
        self.told.append((at, type_, thing))

    def runs(self, period: int, status: str = "active") -> dict[str, Any]:
        start, end = self.turn(period), self.turn(period + 1)
        more = {"number": self.customer, "status": status, "latest_invoice": f"in_{self.latest}"}
        return subscription(APP, self.customer, self.plan, anchor=self.anchor, start=start, end=end, **more)

    def bill(self, period: int, number: str, paid: int, **more: Any) -> dict[str, Any]:
        return invoice(
            APP, self.customer, self.plan, start=self.turn(period), end=self.turn(period + 1), amount_paid=paid,
            payment_intent=f"pi_{number}" if paid else None, number=number, subscription_number=self.customer, **more,
        )  # fmt: skip

    def renew(self, period: int) -> bool:
        """The period's bill. Returns whether it was paid at once."""
        fate = "paid" if period == 0 else self.dice.choice(["paid", "paid", "paid", "late", "never"])
        self.latest = number = f"{self.customer}m{period}"
        at, price = self.turn(period), self.dice.choice([500, 777, 2900])
        state = "created" if period == 0 else "updated"
        self.is_told(
            at, f"customer.subscription.{state}", self.runs(period, "active" if fate == "paid" else "past_due")
        )
        if fate != "paid":
            self.is_told(at, "invoice.payment_failed", self.bill(period, number, 0))
            at += self.dice.randint(2, 25) * DAY
        if fate == "never":
            self.is_told(at, "invoice.voided", self.bill(period, number, 0))
        else:
            self.is_told(at, "invoice.paid", self.bill(period, number, price))
            self.bills.append(Bill(number, price, at, [UNITS[self.plan]] * self.months))
        if fate != "paid":
            self.is_told(at, "customer.subscription.updated", self.runs(period))
        return fate == "paid"

    def grow(self, period: int) -> None:
        larger = [plan for plan in UNITS if UNITS[plan] > UNITS[self.plan]]
        if not larger or self.dice.random() < 0.5:
            return
        before, self.plan = self.plan, self.dice.choice(larger)
        month = self.dice.randrange(self.months)
        at = cycles.cycle_start(self.anchor, period * self.months + month) + self.dice.randint(2, 26) * DAY
        self.latest = number = f"{self.customer}u{period}"
        paid = self.dice.choice([300, 1000])
        between = {"start": int(at.timestamp()), "end": int(self.turn(period + 1).timestamp())}
        proration = {"type": "subscription_item_details", "subscription_item_details": {"proration": True}}
        lines = [
            {"id": f"il_{amount}", "amount": amount, "period": between, "parent": proration, "metadata": {}}
            for amount in (-200, paid + 200)
        ]
        made = self.bill(period, number, paid, reason="subscription_update")
        self.is_told(at, "customer.subscription.updated", self.runs(period))
        self.is_told(at, "invoice.paid", {**made, "lines": {"object": "list", "data": lines}})
        more = UNITS[self.plan] - UNITS[before]
        self.bills.append(Bill(number, paid, at, [0] * month + [more] * (self.months - month)))

    def shrink(self, period: int) -> None:
        if period < PERIODS - 1 and self.dice.random() < 0.3:
            self.plan = "mini"
            self.is_told(self.turn(period + 1) - 2 * DAY, "customer.subscription.updated", self.runs(period))

    def go_back(self, bill: Bill) -> None:
        """Refunds, or a dispute, within a fortnight before the end."""
        if self.dice.random() < 0.4:
            self.refund(bill)
        elif self.dice.random() < 0.4:
            self.dispute(bill, bill.at + self.dice.randint(0, 20) * DAY)

    def refund(self, bill: Bill) -> None:
        asked = 0
        for n in range(self.dice.randint(1, 2)):
            left = bill.paid_minor - asked
            at = bill.at + self.dice.randint(0, 40) * DAY
            if not left or at > self.end:
                return
            amount = self.dice.choice([left, self.dice.randint(1, left)])
            asked += amount
            reference = f"re_{bill.number}_{n}"
            self.is_told(at, "refund.created", refund(reference, amount, number=bill.number))
            if self.dice.random() < 0.7:
                self.is_told(at, "charge.refunded", charge(refunded=asked, amount=bill.paid_minor, number=bill.number))
            if self.dice.random() < 0.3:
                failed = refund(reference, amount, number=bill.number, status="failed")
                self.is_told(min(at + 3 * DAY, self.end), "refund.failed", failed)
            else:
                bill.back_minor += amount

    def dispute(self, bill: Bill, at: datetime) -> None:
        if at + 7 * DAY > self.end:
            return
        paid, about = bill.paid_minor, {"amount": bill.paid_minor, "number": bill.number}
        end = self.dice.choice(["inquiry", "won", "lost"])
        asked = dispute(status="warning_needs_response", **about)
        self.is_told(at, "charge.dispute.created", asked)
        if end == "inquiry":
            self.is_told(at + 5 * DAY, "charge.dispute.closed", dispute(status="warning_closed", **about))
            return
        self.is_told(at + 2 * DAY, "charge.dispute.funds_withdrawn", dispute(-paid, **about))
        if end == "won":
            given_back = dispute(-paid, paid, status="won", **about)
            self.is_told(at + 6 * DAY, "charge.dispute.funds_reinstated", given_back)
        else:
            self.is_told(at + 6 * DAY, "charge.dispute.closed", dispute(-paid, status="lost", **about))
            bill.back_minor = paid


def play(life: Life, *, is_orderly: bool) -> None:
    """Tell it all; the schedule runs once a week."""
    dice, told = life.dice, []
    for at, type_, thing in life.told:
        late = timedelta(0) if is_orderly else dice.choice([0, 0, 1, 30, 70]) * HOUR
        told.append((at + late, at, type_, thing))
        if not is_orderly and dice.random() < 0.3:
            told.append((at + dice.randint(0, 24 * 30) * HOUR, at, type_, thing))
    if not is_orderly:
        dice.shuffle(told)
    week = life.anchor
    for when, at, type_, thing in sorted(told, key=lambda it: it[0]):
        while week < min(when, life.end):
            settle(week)
            week += 7 * DAY
        deliver(APP, event(type_, thing, created=at), now=min(when, life.end))
    settle(life.end)


def settle(now: datetime) -> None:
    database.connection().execute("UPDATE inbox_event SET next_attempt_at = %s WHERE state = 'pending'", [now])
    while events.apply_pending(now=now):
        pass
    runs.run(APP, "grant-monthly", now=now)


@pytest.mark.parametrize("is_orderly", [True, False])
@pytest.mark.parametrize("months", [1, 4])
def test_whatever_a_plan_goes_through_its_units_are_those_that_stand_paid(
    now: datetime, months: int, is_orderly: bool
) -> None:
    pro = app(APP).plans["pro"]
    change(APP, plans={plan: type(pro)(plan, units, 500, "usd") for plan, units in UNITS.items()})
    seed = random.randrange(10**6)
    print("seed", seed)
    for number in range(LIVES):
        life = Life(f"s{number}", now, months, random.Random(seed + number))
        life.live()
        play(life, is_orderly=is_orderly)
        due = sum(bill.stands for bill in life.bills)
        assert balance(life.customer, APP) == due, f"seed {seed + number}: {[told[1] for told in life.told]}"
    failures = [check.failures for check in maintenance.check_books(now=cycles.cycle_start(now, PERIODS * months))]
    assert not any(failures), seed
    assert {state for state, _ in event_states(APP)} == {"done"}
