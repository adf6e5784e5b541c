"""Reversals: a deduction is given back to the lots that it came from, once."""

from __future__ import annotations

import pytest

from models import database
from models.planning.movements import Reverse
from tests.support.kernel import (
    APP,
    BO,
    PATIENT,
    Account,
    account,
    allocations,
    applied,
    capture,
    claw,
    day,
    entries,
    expire,
    expiries,
    failures,
    grant,
    hold,
    kernel,
    post,
    refund,
    remaining,
    report,
    slug,
    take,
    unqueue,
)

__all__ = ["kernel"]
pytestmark = pytest.mark.usefixtures("kernel")
DEBTORS = slug(shortfall="debt")


def test_a_refund_returns_units_to_the_lots_they_came_from() -> None:
    grant(10, expires_at=day(9))
    grant(10)
    spent = applied(take(15))
    grant(10, expires_at=day(3))
    outcome = refund(spent)
    assert (outcome.units, outcome.balance, outcome.available) == (15, 30, 30)
    assert remaining() == [10, 10, 10]
    assert allocations(applied(outcome)) == [(0, 10), (1, 5)]
    assert failures() == {}


def test_a_refund_names_the_entry_that_it_reverses() -> None:
    grant(10)
    spent = applied(take(4))
    given = applied(refund(spent))
    assert database.read("SELECT type, reverses_id FROM entry WHERE id = %s", [given]) == [("refund", spent)]


def test_a_part_can_be_refunded_oldest_lot_first() -> None:
    grant(10)
    grant(10)
    spent = applied(take(15))
    refund(spent, 12)
    assert remaining() == [10, 7]


def test_parts_add_up_to_the_deduction_and_no_further() -> None:
    grant(10)
    spent = applied(take(8))
    assert refund(spent, 5).units == 5
    beyond = refund(spent, 4)
    assert (beyond.status, beyond.refusal, beyond.shortfall) == ("refused", "beyond", 3)
    assert refund(spent).units == 3
    assert refund(spent).refusal == "beyond"
    assert remaining() == [10]


def test_two_refunds_of_one_batch_add_up_as_well() -> None:
    grant(10)
    spent = applied(take(8))
    movement = Reverse(app=APP, customer="ada", entry_id=spent, units=5)
    outcomes = post(movement, Reverse(app=APP, customer="ada", entry_id=spent, units=5))
    assert [outcome.refusal for outcome in outcomes] == [None, "beyond"]
    assert remaining() == [7]


def test_the_same_key_refunds_once() -> None:
    grant(10)
    spent = applied(take(8))
    first = refund(spent, 5, key="refund:r1")
    again = refund(spent, 5, key="refund:r1")
    assert (again.status, again.entry_id) == ("already", first.entry_id)
    assert remaining() == [7]


@pytest.mark.parametrize("units", [0, -1])
def test_a_refund_of_nothing_is_refused(units: int) -> None:
    grant(10)
    assert refund(applied(take(8)), units).refusal == "beyond"


def test_only_deductions_are_refunded() -> None:
    assert refund(grant(10)).refusal == "unknown"
    spent = applied(take(4))
    assert refund(applied(refund(spent))).refusal == "unknown"


def test_an_entry_of_another_customer_or_app_is_unknown() -> None:
    grant(10)
    spent = applied(take(4))
    assert refund(spent, of=BO).refusal == "unknown"
    assert refund(spent, app=DEBTORS).refusal == "unknown"


def test_an_entry_that_was_never_posted_is_unknown() -> None:
    assert refund(424_242).refusal == "unknown"


def test_a_refund_repays_debt_first() -> None:
    grant(10, app=DEBTORS)
    spent = applied(take(10, app=DEBTORS))
    take(4, app=DEBTORS)
    outcome = refund(spent, app=DEBTORS)
    assert (outcome.balance, outcome.available) == (6, 6)
    assert allocations(applied(outcome)) == [(0, 6), (None, 4)]
    assert failures() == {}


def test_what_was_overdrawn_and_repaid_by_others_comes_back_as_a_lot_that_never_expires() -> None:
    spent = applied(take(10, app=DEBTORS))
    grant(10, app=DEBTORS, expires_at=day(1))
    outcome = refund(spent, app=DEBTORS)
    assert (outcome.balance, outcome.available) == (10, 10)
    assert expiries(app=DEBTORS) == [day(1), None]
    assert database.read("SELECT source, entry_id FROM lot WHERE expires_at IS NULL") == [("refund", outcome.entry_id)]
    assert failures() == {}


def test_such_a_lot_is_made_twice_when_one_batch_refunds_twice() -> None:
    spent = applied(take(10, app=DEBTORS))
    grant(10, app=DEBTORS)
    movements = [Reverse(app=DEBTORS, customer="ada", entry_id=spent, units=units) for units in (3, 4, 4)]
    outcomes = post(*movements)
    assert [outcome.refusal for outcome in outcomes] == [None, None, "beyond"]
    assert remaining(app=DEBTORS) == [0, 3, 4]
    assert refund(spent, app=DEBTORS).units == 3
    assert failures() == {}


def test_units_refunded_into_an_expired_lot_lapse_without_grace() -> None:
    grant(10, expires_at=day(1))
    spent = applied(take(10))
    outcome = refund(spent, at=day(2))
    assert (outcome.units, outcome.balance) == (10, 0)
    assert entries()[-2:] == [("refund", 10), ("expiry", -10)]
    assert failures(day(2)) == {}


def test_units_refunded_into_an_expired_lot_live_for_the_apps_grace() -> None:
    grant(10, app=PATIENT, expires_at=day(1))
    spent = applied(take(6, app=PATIENT))
    outcome = refund(spent, app=PATIENT, at=day(2))
    assert (outcome.balance, outcome.available) == (6, 6)
    assert expiries(app=PATIENT) == [day(9)]
    assert entries(app=PATIENT)[-2:] == [("expiry", -4), ("refund", 6)]
    assert expire(app=PATIENT, at=day(9)).units == 6
    assert failures(day(9)) == {}


def test_grace_does_not_shorten_a_lot_that_is_alive() -> None:
    grant(10, app=PATIENT, expires_at=day(100))
    refund(applied(take(6, app=PATIENT)), app=PATIENT)
    assert expiries(app=PATIENT) == [day(100)]


def test_units_refunded_into_an_expired_lot_serve_a_report_received_before() -> None:
    grant(10, expires_at=day(1))
    spent = applied(take(10))
    report(day(0.5))
    refund(spent, at=day(2))
    unqueue()
    assert take(10, at=day(2), received_at=day(0.5)).units == 10


def test_a_refund_into_a_clawed_lot_repays_the_debt_of_the_clawback() -> None:
    bought = grant(10)
    spent = applied(take(4))
    claw(bought, 10)
    assert account() == Account(balance=-4, held=0, debt=4)
    outcome = refund(spent)
    assert (outcome.balance, outcome.available) == (0, 0)
    assert failures() == {}


def test_a_captured_hold_can_be_refunded() -> None:
    grant(10)
    hold(6)
    spent = applied(capture(4))
    assert refund(spent).available == 10


def test_a_refund_does_not_go_back_to_a_cycle_that_is_over() -> None:
    cycle = {"type": "subscription_grant", "subscription_id": 1, "per_period": True}
    grant(10, period_start=day(0), expires_at=day(34), **cycle)
    spent = applied(take(10, at=day(1)))
    grant(10, period_start=day(31), at=day(31), expires_at=day(65), **cycle)
    outcome = refund(spent, at=day(32))
    assert outcome.balance == 10
    assert remaining() == [0, 10]
