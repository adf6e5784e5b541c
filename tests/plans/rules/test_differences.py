"""What separates lots from what is owed: posted once, and the same whatever was granted on the way."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from models.plans import differences
from models.plans.facts import Facts
from models.plans.owed import Owed
from models.plans.plan_lots import PlanLot
from tests.plans.rules.invented import sets
from tests.plans.rules.samples import ADA, DAY, START, account, bill, change, facts, line, month
from tests.support.deep import times

LATER = month(30)
PAYMENTS = {f"in_{n}": f"pi_{n}" for n in range(4)}


@dataclass
class Ledger:
    """Lots that are brought to what is owed, as the settlement does it."""

    lots: list[PlanLot] = field(default_factory=list)

    def bring(self, owed: list[Owed], now: datetime = LATER) -> differences.Differences:
        """Post the differences, grants first, and return them."""
        grants = [one for one in differences.between(owed, self.lots, PAYMENTS).grants if one.due <= now]
        self.lots += [
            PlanLot(len(self.lots) + number, 1, one.customer, one.plan, one.units, 0, False, one.start,
                    PAYMENTS.get(one.paid_by or ""), 0)
            for number, one in enumerate(grants)
        ]  # fmt: skip
        found = differences.between(owed, self.lots, PAYMENTS)
        for target in found.targets:
            place = self.lots.index(target.lot)
            self.lots[place] = replace(target.lot, clawed=target.units, is_frozen=target.is_frozen)
        self.lots = [
            replace(lot, payment=PAYMENTS[found.paid[lot.entry_id]]) if lot.entry_id in found.paid else lot
            for lot in self.lots
        ]
        return replace(found, grants=grants)

    @property
    def net(self) -> Counter[str]:
        """Units that are left, by customer."""
        total: Counter[str] = Counter()
        for lot in self.lots:
            total[lot.customer] += lot.granted - lot.clawed
        return +total


def owed_by(found: Facts, now: datetime = LATER) -> list[Owed]:
    return account(found, now).owed


def total(owed: list[Owed]) -> Counter[str]:
    by_customer: Counter[str] = Counter()
    for one in owed:
        by_customer[one.customer] += one.units
    return +by_customer


def one(units: int, plan: str = "pro", start: datetime = START, **more: object) -> Owed:
    whole = {
        "item": "si_1", "plan": plan, "start": start, "end": start + 31 * DAY, "units": units, "whole_units": units,
        "customer": ADA, "due": start, "paid_by": "in_1", "why": "a test",
    }  # fmt: skip
    return Owed(**{**whole, **more})  # type: ignore[arg-type]


# --- properties


@settings(max_examples=times(100), deadline=None)
@given(found=sets(), dice=st.randoms(use_true_random=False))
def test_the_order_of_facts_and_their_repetition_never_matter(found: Facts, dice: Random) -> None:
    def mixed(many: tuple[object, ...]) -> tuple[object, ...]:
        twice = [*many, *many]
        dice.shuffle(twice)
        return tuple(twice)

    other = replace(found, snapshots=mixed(found.snapshots), bills=mixed(found.bills), notes=mixed(found.notes))  # type: ignore[arg-type]
    for now in (START, month(1), month(3), LATER):
        this, that = account(found, now), account(other, now)
        assert this.owed == that.owed
        assert (this.notes, this.owner, this.recompute_at) == (that.notes, that.owner, that.recompute_at)


@settings(max_examples=times(80), deadline=None)
@given(found=sets())
def test_a_second_run_posts_nothing(found: Facts) -> None:
    ledger = Ledger()
    ledger.bring(owed_by(found))
    again = ledger.bring(owed_by(found))
    assert again.grants == []
    assert again.targets == []
    assert not again.paid
    assert ledger.net == total(owed_by(found))


@settings(max_examples=times(80), deadline=None)
@given(before=sets(), after=sets())
def test_whatever_was_granted_before_the_lots_end_at_what_is_owed(before: Facts, after: Facts) -> None:
    """`before` is any earlier state of knowledge."""
    ledger = Ledger()
    ledger.bring(owed_by(before))
    ledger.bring(owed_by(after))
    again = ledger.bring(owed_by(after))
    assert (again.grants, again.targets) == ([], [])
    assert ledger.net == total(owed_by(after))


@settings(max_examples=times(80), deadline=None)
@given(found=sets())
def test_nothing_is_owed_below_zero_or_before_it_is_due(found: Facts) -> None:
    for each in owed_by(found):
        assert 0 <= each.units <= each.whole_units
        assert each.end >= each.start
        assert each.why
        assert each.customer in {"ada", "bo", "di"}


# --- cases


def test_a_start_that_moves_by_less_than_a_day_grants_nothing_again() -> None:
    ledger = Ledger()
    ledger.bring([one(1000)])
    assert ledger.bring([one(1000, start=START + timedelta(hours=20))]).grants == []
    assert len(ledger.bring([one(1000, start=START + timedelta(hours=25))]).grants) == 1


def test_short_periods_have_a_third_of_their_length_as_tolerance() -> None:
    day = {"end": START + DAY}
    ledger = Ledger()
    ledger.bring([one(10, **day)])
    assert ledger.bring([one(10, **day), one(10, start=START + DAY, end=START + 2 * DAY)]).grants
    assert ledger.net == {ADA: 20}


def test_a_lot_is_found_at_its_start_though_the_next_period_is_near_too() -> None:
    three = [one(100, start=START + hours * timedelta(hours=1), end=START + 31 * DAY) for hours in (0, 22, 36)]
    ledger = Ledger()
    ledger.bring(three)
    again = ledger.bring(three)
    assert (again.grants, again.targets) == ([], [])


def test_units_of_another_plan_are_clawed_back_and_granted() -> None:
    ledger = Ledger()
    ledger.bring([one(100, "lite")])
    found = ledger.bring([one(1000)])
    assert [(grant.plan, grant.units) for grant in found.grants] == [("pro", 1000)]
    assert [(target.lot.plan, target.units) for target in found.targets] == [("lite", 100)]


def test_a_lot_counts_towards_what_its_own_payment_paid_for() -> None:
    ledger = Ledger()
    month_of_pro = one(1000)
    ledger.bring([month_of_pro])
    found = ledger.bring([month_of_pro, one(1866, due=START - DAY, paid_by="in_2")])
    assert [(grant.units, grant.paid_by) for grant in found.grants] == [(1866, "in_2")]


def test_what_is_too_much_is_clawed_back_from_the_newest_lot() -> None:
    ledger = Ledger()
    ledger.bring([one(100, "lite")])
    ledger.bring([one(100, "lite"), one(450)])
    (target,) = ledger.bring([one(100, "lite"), one(200)]).targets
    assert (target.lot.plan, target.units) == ("pro", 250)


def test_a_period_that_moves_to_another_customer_is_clawed_back_and_granted() -> None:
    ledger = Ledger()
    ledger.bring([one(1000)])
    ledger.bring([one(1000, customer="bo")])
    assert ledger.net == {"bo": 1000}


def test_units_that_expired_count_as_clawed_back() -> None:
    lot = PlanLot(1, 1, ADA, "pro", 1000, 300, False, START, None, 0)
    assert differences.between([one(700)], [lot], {}).targets == []
    (target,) = differences.between([one(600)], [lot], {}).targets
    assert target.units == 400


def test_an_inquiry_freezes_the_lots_of_its_payment_only() -> None:
    ledger = Ledger()
    two = [one(100, "lite"), one(450, paid_by="in_2")]
    ledger.bring(two)
    (target,) = ledger.bring([two[0], replace(two[1], is_frozen=True)]).targets
    assert (target.lot.plan, target.is_frozen, target.units) == ("pro", True, 0)


def test_a_lot_that_was_granted_before_its_bill_came_learns_its_payment() -> None:
    ledger = Ledger()
    ledger.bring([one(1000, paid_by=None)])
    assert ledger.bring([one(1000)]).paid == {0: "in_1"}
    assert ledger.lots[0].payment == "pi_1"


def test_a_trial_beside_a_paid_period_keeps_its_own_lot() -> None:
    ledger = Ledger()
    two = [one(50, paid_by=None), one(1000, start=START + timedelta(hours=1), is_frozen=True)]
    ledger.bring(two)
    again = ledger.bring(two)
    assert (again.grants, again.targets, again.paid) == ([], [], {})
    assert [(lot.granted, lot.is_frozen, lot.payment) for lot in ledger.lots] == [
        (50, False, None),
        (1000, True, "pi_1"),
    ]


def test_a_year_with_a_change_and_a_refund_ends_at_its_sum_in_every_order() -> None:
    year = bill("in_1", line("lite", START, month(12)))
    up = change("in_2", ("lite", 1), ("max", 1), month(6) + 15.5 * DAY, month(12))
    for steps in ([facts(year), facts(year, up)], [facts(up), facts(year, up)], [facts(year, up)]):
        ledger = Ledger()
        for step in steps:
            ledger.bring(owed_by(step))
        assert ledger.net == {ADA: 12 * 100 + 2450 + 5 * 4900}
