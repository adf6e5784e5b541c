"""Grants: units come as a lot of their own, with one expiry, and repay what is owed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from models import database
from models.planning.movements import Grant
from tests.support.kernel import (
    ADA,
    APP,
    Account,
    account,
    allocations,
    claw,
    day,
    entries,
    expiries,
    failures,
    grant,
    kernel,
    post,
    remaining,
    report,
    slug,
    take,
    unqueue,
)

__all__ = ["kernel"]
pytestmark = pytest.mark.usefixtures("kernel")
DEBTORS = slug(shortfall="debt")


def test_a_grant_makes_a_lot_and_an_entry() -> None:
    entry = grant(100)
    assert account() == Account(balance=100, held=0, debt=0)
    assert remaining() == [100]
    assert entries() == [("bonus", 100)]
    assert allocations(entry) == [(0, 100)]


def test_a_grant_of_no_units_writes_nothing() -> None:
    (outcome,) = post(Grant(app=APP, customer=ADA, key="g", units=0, type="bonus", source="gift"))
    assert (outcome.status, outcome.entry_id, outcome.units) == ("applied", None, 0)
    assert entries() == []


def test_the_same_key_grants_once_and_says_what_it_had_granted() -> None:
    first = grant(100, key="purchase:p1")
    (again,) = post(Grant(app=APP, customer=ADA, key="purchase:p1", units=70, type="purchase", source="pack"))
    assert (again.status, again.entry_id, again.units, again.balance) == ("already", first, 100, 100)
    assert entries() == [("bonus", 100)]


def test_the_same_key_in_another_app_is_another_grant() -> None:
    grant(100, key="purchase:p1")
    grant(50, key="purchase:p1", app=DEBTORS)
    assert (account().balance, account(app=DEBTORS).balance) == (100, 50)


def test_an_expiry_counts_from_the_posting() -> None:
    grant(100, at=day(3), expires_after=timedelta(days=30))
    assert expiries() == [day(33)]


def test_a_grant_without_an_expiry_never_lapses() -> None:
    grant(100)
    assert expiries() == [None]
    assert take(1, at=day(30_000)).units == 1


def test_a_grant_repays_debt_before_it_fills_its_lot() -> None:
    take(30, app=DEBTORS)
    entry = grant(100, app=DEBTORS)
    assert account(app=DEBTORS) == Account(balance=70, held=0, debt=0)
    assert allocations(entry) == [(0, 70), (None, 30)]
    assert failures() == {}


def test_a_grant_that_goes_wholly_to_debt_leaves_a_closed_lot() -> None:
    take(30, app=DEBTORS)
    entry = grant(20, app=DEBTORS)
    assert account(app=DEBTORS) == Account(balance=-10, held=0, debt=10)
    assert remaining(app=DEBTORS) == [0]
    assert allocations(entry) == [(None, 20)]
    assert database.read("SELECT open, granted FROM lot") == [(False, 20)]
    assert failures() == {}


def test_a_grant_that_went_to_debt_can_be_clawed_back() -> None:
    take(30, app=DEBTORS)
    entry = grant(20, app=DEBTORS)
    assert claw(entry, 20, app=DEBTORS).units == 20
    assert account(app=DEBTORS).debt == 30


def test_the_next_cycles_grant_lapses_what_the_cycle_before_left() -> None:
    _cycle(0, at=day(0))
    take(300, at=day(1))
    _cycle(1, at=day(31))
    assert remaining() == [0, 1000]
    assert entries()[-2:] == [("expiry", -700), ("subscription_grant", 1000)]


def test_a_pack_survives_the_next_cycles_grant() -> None:
    grant(50)
    _cycle(0, at=day(0))
    _cycle(1, at=day(31))
    assert remaining() == [50, 0, 1000]


def test_a_larger_plan_in_the_same_cycle_lapses_nothing() -> None:
    _cycle(0, at=day(0))
    _cycle(0, at=day(1), units=500)
    assert remaining() == [1000, 500]


def test_a_cycle_that_is_granted_late_lapses_nothing_of_later_ones() -> None:
    _cycle(1, at=day(31))
    _cycle(0, at=day(32))
    assert remaining() == [1000, 1000]


def test_another_subscriptions_cycle_lapses_nothing() -> None:
    _cycle(0, at=day(0))
    _cycle(1, at=day(31), subscription=2)
    assert remaining() == [1000, 1000]


def test_a_spent_cycle_is_over_as_well_when_the_next_one_is_granted() -> None:
    _cycle(0, at=day(0))
    spent = take(1000, at=day(1))
    _cycle(1, at=day(31))
    assert expiries() == [day(31), day(64)]
    assert spent.entry_id


def test_a_report_received_before_the_next_cycles_grant_keeps_the_cycle_before_alive() -> None:
    _cycle(0, at=day(0))
    report(day(30))
    _cycle(1, at=day(31))
    assert remaining() == [1000, 1000]
    unqueue()
    assert take(1500, at=day(31), received_at=day(30)).units == 1500
    assert remaining() == [0, 500]


def test_a_grant_posted_after_its_own_expiry_lapses_at_once() -> None:
    grant(100, at=day(5), expires_at=day(4))
    assert entries() == [("bonus", 100), ("expiry", -100)]
    assert account().balance == 0


def test_a_grant_posted_late_still_serves_a_report_received_in_its_time() -> None:
    report(day(3))
    grant(100, at=day(5), expires_at=day(4))
    unqueue()
    assert take(40, at=day(5), received_at=day(3)).units == 40


def test_a_balance_has_an_end_and_a_grant_beyond_it_is_refused() -> None:
    grant(10**18)
    (outcome,) = post(Grant(app=APP, customer=ADA, units=1, type="bonus", source="gift"))
    assert (outcome.status, outcome.refusal, outcome.balance) == ("refused", "beyond", 10**18)


def test_negative_units_are_a_programming_error_and_leave_nothing() -> None:
    with pytest.raises(ValueError, match="-5"):
        grant(-5)
    assert database.read("SELECT count(*) FROM account") == [(0,)]


def _cycle(number: int, *, at: object, units: int = 1000, subscription: int = 1) -> int:
    """The grant of a monthly cycle whose units lapse with it."""
    assert isinstance(at, type(day(0)))
    return grant(
        units,
        at=at,
        type="subscription_grant",
        expires_at=day(31 * (number + 1) + 2),
        subscription_id=subscription,
        period_start=day(31 * number),
        per_period=True,
        meta={"plan": "pro", "units": 1000},
    )
