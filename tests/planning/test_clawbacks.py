"""Clawbacks: what was returned at the provider goes from the customer, by the difference, up and down."""

from __future__ import annotations

import pytest

from models import database
from models.planning.movements import Clawback
from tests.support.kernel import (
    APP,
    BO,
    PATIENT,
    Account,
    account,
    allocations,
    applied,
    claw,
    day,
    entries,
    expire,
    expiries,
    failures,
    freeze,
    grant,
    hold,
    kernel,
    post,
    refund,
    remaining,
    slug,
    take,
)

__all__ = ["kernel"]
pytestmark = pytest.mark.usefixtures("kernel")


def test_a_clawback_takes_from_the_payments_own_lot_first() -> None:
    grant(100, expires_at=day(1))
    bought = grant(100)
    outcome = claw(bought, 60)
    assert (outcome.units, outcome.balance) == (60, 140)
    assert remaining() == [100, 40]
    assert entries()[-1] == ("clawback", -60)


def test_then_from_the_others_in_burn_order() -> None:
    bought = grant(100, expires_at=day(1))
    take(70)
    grant(50)
    grant(50, expires_at=day(9))
    outcome = claw(bought, 100)
    assert remaining() == [0, 30, 0]
    assert allocations(applied(outcome)) == [(0, -30), (1, -20), (2, -50)]
    assert failures() == {}


def test_then_it_becomes_debt() -> None:
    bought = grant(100)
    take(70)
    outcome = claw(bought, 100)
    assert (outcome.balance, outcome.available) == (-70, 0)
    assert account() == Account(balance=-70, held=0, debt=70)
    assert allocations(applied(outcome)) == [(0, -30), (None, -70)]
    assert failures() == {}


def test_a_clawback_posts_the_difference_to_what_was_clawed() -> None:
    bought = grant(100)
    assert claw(bought, 30).units == 30
    assert claw(bought, 50).units == 20
    assert claw(bought, 50).entry_id is None
    assert remaining() == [50]


def test_two_clawbacks_of_one_batch_post_the_difference_as_well() -> None:
    bought = grant(100)
    targets = [Clawback(app=APP, customer="ada", entry_id=bought, target_units=target) for target in (30, 50, 10)]
    assert [outcome.units for outcome in post(*targets)] == [30, 20, 40]
    assert remaining() == [90]


def test_no_more_is_clawed_than_was_granted() -> None:
    bought = grant(100)
    assert claw(bought, 250).units == 100


def test_a_lower_target_gives_back() -> None:
    bought = grant(100)
    claw(bought, 100)
    outcome = claw(bought, 40)
    assert (outcome.units, outcome.balance) == (60, 60)
    assert entries()[-1] == ("reinstatement", 60)
    assert remaining() == [60]


def test_what_is_given_back_goes_to_the_lots_it_was_clawed_from() -> None:
    bought = grant(100)
    take(70)
    grant(50)
    claw(bought, 100)
    assert account().debt == 20
    grant(30)
    outcome = claw(bought, 0)
    assert allocations(applied(outcome)) == [(0, 50), (1, 50)]
    assert account() == Account(balance=110, held=0, debt=0)
    assert failures() == {}


def test_what_is_given_back_repays_debt_first() -> None:
    bought = grant(100)
    take(70)
    claw(bought, 100)
    outcome = claw(bought, 50)
    assert (outcome.units, outcome.balance, outcome.available) == (50, -20, 0)
    assert allocations(applied(outcome)) == [(None, 50)]


def test_units_that_lapsed_unused_count_as_returned() -> None:
    bought = grant(100, expires_at=day(1))
    take(30)
    expire(at=day(2))
    outcome = claw(bought, 100, at=day(2))
    assert (outcome.units, outcome.balance) == (30, -30)


def test_a_part_that_lapsed_covers_a_part_that_was_returned() -> None:
    bought = grant(100, expires_at=day(1))
    take(30)
    assert claw(bought, 60, at=day(2)).entry_id is None
    assert account().balance == 0


def test_what_lapses_after_the_clawback_needs_no_second_one() -> None:
    bought = grant(100, expires_at=day(1))
    claw(bought, 50)
    expire(at=day(2))
    assert claw(bought, 100, at=day(2)).entry_id is None
    assert entries() == [("bonus", 100), ("clawback", -50), ("expiry", -50)]


def test_a_reinstatement_into_an_expired_lot_lapses_without_grace() -> None:
    bought = grant(100, expires_at=day(1))
    claw(bought, 100)
    outcome = claw(bought, 0, at=day(2))
    assert (outcome.units, outcome.balance) == (100, 0)
    assert entries()[-2:] == [("reinstatement", 100), ("expiry", -100)]
    assert claw(bought, 100, at=day(2)).entry_id is None
    assert failures(day(2)) == {}


def test_a_reinstatement_into_an_expired_lot_lives_for_the_apps_grace() -> None:
    bought = grant(100, app=PATIENT, expires_at=day(1))
    claw(bought, 100, app=PATIENT)
    assert claw(bought, 0, app=PATIENT, at=day(2)).available == 100
    assert expiries(app=PATIENT) == [day(9)]
    assert claw(bought, 100, app=PATIENT, at=day(3)).units == 100
    assert failures(day(3)) == {}


def test_held_units_are_left_alone() -> None:
    bought = grant(100)
    hold(60)
    claw(bought, 100)
    assert remaining() == [0]
    assert account() == Account(balance=0, held=60, debt=60)


def test_a_frozen_lot_can_be_clawed_back_itself_and_pays_for_no_other() -> None:
    bought = grant(100)
    other = grant(50)
    freeze(bought)
    assert claw(bought, 100).units == 100
    assert remaining() == [0, 50]
    assert claw(other, 50).units == 50


def test_a_clawback_of_what_is_no_grant_is_refused() -> None:
    grant(100)
    spent = applied(take(30))
    assert claw(spent, 10).refusal == "unknown"
    assert claw(applied(refund(spent)), 10).refusal == "unknown"
    assert claw(424_242, 10).refusal == "unknown"
    assert entries()[1:] == [("deduction", -30), ("refund", 30)]


def test_a_refund_that_made_a_lot_is_no_grant_either() -> None:
    app = slug(shortfall="debt")
    spent = applied(take(10, app=app))
    grant(10, app=app)
    given = applied(refund(spent, app=app))
    assert claw(given, 10, app=app).refusal == "unknown"


def test_another_customers_grant_is_unknown() -> None:
    bought = grant(100)
    assert claw(bought, 10, of=BO).refusal == "unknown"


def test_a_clawback_ties_its_entries_to_the_grant() -> None:
    bought = grant(100)
    claw(bought, 100)
    claw(bought, 0)
    sql = "SELECT type, reverses_id FROM entry WHERE id > %s ORDER BY id"
    assert database.read(sql, [bought]) == [("clawback", bought), ("reinstatement", bought)]


def test_every_order_of_returns_ends_the_same() -> None:
    for customer, targets in (("a", [30, 100, 70]), ("b", [100, 30, 70]), ("c", [70]), ("d", [0, 70, 70, 70])):
        bought = grant(100, to=customer)
        take(50, of=customer)
        for target in targets:
            claw(bought, target, of=customer)
        assert account(customer) == Account(balance=-20, held=0, debt=20), customer
