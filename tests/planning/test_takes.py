"""Takes: which lots pay, in which order, and what happens when there is too little."""

from __future__ import annotations

import pytest

from models.planning.movements import Freeze, Take
from tests.support.kernel import (
    ADA,
    APP,
    Account,
    account,
    allocations,
    applied,
    day,
    entries,
    failures,
    freeze,
    grant,
    kernel,
    post,
    refund,
    remaining,
    slug,
    take,
)

__all__ = ["kernel"]
pytestmark = pytest.mark.usefixtures("kernel")
LARGEST, OLDEST = slug("largest_first"), slug("oldest_first")


def test_a_take_comes_off_the_lot_and_the_balance() -> None:
    grant(100)
    outcome = take(30, key="charge:a1")
    assert (outcome.units, outcome.shortfall, outcome.balance, outcome.available) == (30, 0, 70, 70)
    assert remaining() == [70]
    assert allocations(applied(outcome)) == [(0, -30)]


def test_the_same_key_takes_once() -> None:
    grant(100)
    first = take(30, key="charge:a1")
    again = take(30, key="charge:a1")
    assert (again.status, again.entry_id, again.units) == ("already", first.entry_id, 30)
    assert account().balance == 70


def test_a_take_of_nothing_writes_nothing() -> None:
    grant(100)
    assert take(0, key="charge:a1").entry_id is None
    assert entries() == [("bonus", 100)]


def test_what_expires_first_pays_first() -> None:
    grant(10)
    grant(10, expires_at=day(20))
    grant(10, expires_at=day(10))
    take(15)
    assert remaining() == [10, 5, 0]


def test_the_largest_lot_pays_first() -> None:
    for units in (10, 30, 20):
        grant(units, app=LARGEST)
    take(35, app=LARGEST)
    assert remaining(app=LARGEST) == [10, 0, 15]


def test_the_largest_lot_is_judged_by_what_remains_in_it() -> None:
    for units in (30, 20):
        grant(units, app=LARGEST)
    take(15, app=LARGEST)
    take(10, app=LARGEST)
    assert remaining(app=LARGEST) == [15, 10]


def test_the_oldest_lot_pays_first() -> None:
    grant(10, app=OLDEST, at=day(0))
    grant(10, app=OLDEST, at=day(1), expires_at=day(2))
    take(5, app=OLDEST, at=day(1))
    assert remaining(app=OLDEST) == [5, 10]


@pytest.mark.parametrize("app", [APP, LARGEST, OLDEST])
def test_priority_goes_before_the_apps_order(app: str) -> None:
    grant(50, app=app, expires_at=day(1), priority=1)
    grant(10, app=app, at=day(0.5), expires_at=day(9), priority=0)
    take(5, app=app, at=day(0.5))
    assert remaining(app=app) == [50, 5]


@pytest.mark.parametrize("app", [APP, LARGEST, OLDEST])
def test_among_equals_the_lot_that_was_made_first_pays_first(app: str) -> None:
    for _ in range(3):
        grant(10, app=app)
    take(15, app=app)
    assert remaining(app=app) == [0, 5, 10]


def test_partial_takes_what_is_there_and_tells_the_shortfall() -> None:
    grant(10)
    outcome = take(25)
    assert (outcome.status, outcome.units, outcome.shortfall, outcome.balance) == ("applied", 10, 15, 0)
    assert entries()[-1] == ("deduction", -10)


def test_partial_on_an_empty_account_writes_no_entry() -> None:
    outcome = take(25)
    assert (outcome.units, outcome.shortfall, outcome.entry_id) == (0, 25, None)
    assert entries() == []


def test_debt_takes_it_all_and_owes_the_rest() -> None:
    app = slug(shortfall="debt")
    grant(10, app=app)
    outcome = take(25, app=app)
    assert (outcome.units, outcome.shortfall, outcome.balance, outcome.available) == (25, 0, -15, 0)
    assert account(app=app) == Account(balance=-15, held=0, debt=15)
    assert allocations(applied(outcome)) == [(0, -10), (None, -15)]


def test_reject_takes_nothing_when_it_is_too_little() -> None:
    app = slug(shortfall="reject")
    grant(10, app=app)
    outcome = take(25, app=app)
    assert (outcome.status, outcome.refusal, outcome.shortfall, outcome.available) == (
        "refused",
        "insufficient",
        25,
        10,
    )
    assert remaining(app=app) == [10]


def test_reject_takes_exactly_what_is_there() -> None:
    app = slug(shortfall="reject")
    grant(10, app=app)
    assert take(10, app=app).status == "applied"


def test_a_take_may_have_a_rule_of_its_own() -> None:
    grant(10)
    assert take(25, on_shortfall="reject").status == "refused"
    assert take(25, on_shortfall="debt").balance == -15


def test_a_frozen_lot_pays_nothing_and_still_counts() -> None:
    frozen = grant(10)
    grant(10)
    assert freeze(frozen).units == 10
    outcome = take(15)
    assert (outcome.units, outcome.balance, outcome.available) == (10, 10, 0)
    assert remaining() == [10, 0]


def test_a_thawed_lot_pays_again() -> None:
    bought = grant(10)
    freeze(bought)
    assert freeze(bought, frozen=False).available == 10
    assert take(4).units == 4


def test_a_thawed_lot_repays_debt_made_meanwhile() -> None:
    app = slug(shortfall="debt")
    bought = grant(10, app=app)
    freeze(bought, app=app)
    take(4, app=app)
    assert account(app=app) == Account(balance=6, held=0, debt=4)
    assert failures() == {}
    thawed = freeze(bought, frozen=False, app=app)
    assert (thawed.balance, thawed.available) == (6, 6)
    assert account(app=app) == Account(balance=6, held=0, debt=0)
    assert entries(app=app)[-1] == ("clawback", 0)
    assert failures() == {}


def test_of_several_thawed_lots_the_oldest_repays_first() -> None:
    lots = [grant(10), grant(10, expires_at=day(1))]
    freeze(*lots)
    post(
        Take(app=APP, customer=ADA, units=4, on_shortfall="debt"),
        Freeze(app=APP, customer=ADA, entry_ids=lots, frozen=False),
    )
    assert remaining() == [6, 10]


def test_a_lot_that_is_spent_is_frozen_as_well() -> None:
    bought = grant(10)
    spent = take(10)
    freeze(bought)
    assert refund(applied(spent)).available == 0
    assert remaining() == [10]


def test_a_freeze_reaches_no_other_customers_grant() -> None:
    bought = grant(10, to="bo")
    assert freeze(bought).units == 0
    assert take(10, of="bo").units == 10


def test_a_debt_has_an_end_and_a_take_beyond_it_is_refused() -> None:
    outcome = take(2 * 10**18, on_shortfall="debt")
    assert (outcome.status, outcome.refusal, outcome.balance) == ("refused", "beyond", 0)


def test_a_take_of_more_than_a_bigint_takes_what_is_there() -> None:
    grant(10)
    outcome = take(10**24)
    assert (outcome.units, outcome.shortfall) == (10, 10**24 - 10)


def test_negative_units_are_never_taken() -> None:
    grant(10)
    with pytest.raises(ValueError, match="negative"):
        take(-1)
    assert remaining() == [10]


def test_a_refused_take_leaves_the_rest_of_the_batch_alone() -> None:
    grant(10)
    outcomes = post(
        Take(app=APP, customer=ADA, key="charge:a", units=8),
        Take(app=APP, customer=ADA, key="charge:b", units=8, on_shortfall="reject"),
        Take(app=APP, customer=ADA, key="charge:c", units=2, on_shortfall="reject"),
    )
    assert [outcome.status for outcome in outcomes] == ["applied", "refused", "applied"]
    assert remaining() == [0]
