"""Holds: units set aside in their lots, spent or freed later."""

from __future__ import annotations

import pytest

from models import database
from models.planning.movements import Capture, Extend, Hold, Release
from tests.support.kernel import (
    ADA,
    APP,
    BO,
    Account,
    account,
    allocations,
    applied,
    capture,
    claw,
    day,
    entries,
    extend,
    failures,
    freeze,
    grant,
    hold,
    kernel,
    post,
    release,
    remaining,
    slug,
    take,
)

__all__ = ["kernel"]
pytestmark = pytest.mark.usefixtures("kernel")
DEBTORS = slug(shortfall="debt")


def test_a_hold_sets_units_aside_in_their_lots_and_writes_no_entry() -> None:
    grant(10, expires_at=day(1))
    grant(10)
    outcome = hold(15)
    assert (outcome.units, outcome.balance, outcome.available) == (15, 20, 5)
    assert remaining() == [0, 5]
    assert account() == Account(balance=20, held=15, debt=0)
    assert len(entries()) == 2
    assert failures() == {}


def test_held_units_are_not_spent_by_anybody_else() -> None:
    grant(10)
    hold(8)
    assert take(5).units == 2


def test_a_hold_of_more_than_there_is_is_refused() -> None:
    grant(10)
    outcome = hold(11)
    assert (outcome.status, outcome.refusal, outcome.available) == ("refused", "insufficient", 10)
    assert database.read("SELECT count(*) FROM hold") == [(0,)]


def test_a_hold_may_ask_for_what_is_there_at_most() -> None:
    grant(10)
    assert hold(25, up_to=True).units == 10


def test_at_most_on_an_empty_account_is_a_hold_of_nothing_that_can_be_ended() -> None:
    assert hold(25, up_to=True).units == 0
    outcome = release()
    assert (outcome.status, outcome.units) == ("applied", 0)
    assert failures() == {}


def test_a_hold_of_nothing_can_still_be_captured_for_more() -> None:
    hold(25, up_to=True)
    grant(10)
    assert capture(4).units == 4
    assert remaining() == [6]


def test_the_same_key_holds_once() -> None:
    grant(10)
    first = hold(4)
    again = hold(9)
    assert (again.status, again.hold_id, again.units) == ("already", first.hold_id, 4)
    assert account().held == 4


def test_a_capture_spends_what_was_held() -> None:
    grant(10)
    hold(4)
    outcome = capture(key="hold:h")
    assert (outcome.units, outcome.balance, outcome.available) == (4, 6, 6)
    assert allocations(applied(outcome)) == [(0, -4)]
    assert account() == Account(balance=6, held=0, debt=0)
    assert database.read("SELECT state, captured FROM hold") == [("captured", 4)]


def test_capturing_less_frees_the_rest_in_the_lots_that_pay_last() -> None:
    grant(10, expires_at=day(1))
    grant(10)
    hold(15)
    assert capture(12).units == 12
    assert remaining() == [0, 8]


def test_capturing_nothing_is_a_release_with_another_name() -> None:
    grant(10)
    hold(4)
    outcome = capture(0)
    assert (outcome.entry_id, outcome.units, outcome.available) == (None, 0, 10)
    assert database.read("SELECT state FROM hold") == [("captured",)]


def test_capturing_more_takes_the_rest_from_what_is_available() -> None:
    grant(10)
    hold(4)
    outcome = capture(9)
    assert (outcome.units, outcome.balance) == (9, 1)
    assert entries()[-1] == ("deduction", -9)
    assert failures() == {}


def test_capturing_more_than_there_is_is_refused_and_the_hold_stays() -> None:
    grant(10)
    hold(4)
    outcome = capture(11)
    assert (outcome.status, outcome.refusal) == ("refused", "insufficient")
    assert account().held == 4


def test_what_others_hold_is_not_there_for_a_capture() -> None:
    grant(10)
    hold(4, "hold:a")
    hold(4, "hold:b")
    assert capture(7, "hold:a").status == "refused"
    assert capture(6, "hold:a").status == "applied"


def test_a_release_frees_the_units() -> None:
    grant(10)
    hold(4)
    outcome = release()
    assert (outcome.units, outcome.available) == (4, 10)
    assert database.read("SELECT state, captured, closed_at FROM hold") == [("released", 0, day(0))]


def test_a_release_by_time_says_so() -> None:
    grant(10)
    hold(4)
    release(expired=True)
    assert database.read("SELECT state FROM hold") == [("expired",)]


@pytest.mark.parametrize("end", [capture, release])
@pytest.mark.parametrize("again", [capture, release])
def test_a_hold_ends_once(end, again) -> None:  # type: ignore[no-untyped-def]
    grant(10)
    hold(4)
    end()
    outcome = again()
    assert (outcome.status, outcome.refusal) == ("refused", "closed")
    assert account().held == 0


def test_a_capture_by_the_same_key_is_already_there() -> None:
    grant(10)
    hold(4)
    first = capture(key="hold:h")
    movement = Capture(app=APP, customer=ADA, key="capture:x", hold_key="hold:h")
    assert post(movement)[0].refusal == "closed"
    assert first.entry_id


def test_an_unknown_hold_is_refused() -> None:
    assert release("hold:nobody").refusal == "unknown"


def test_a_hold_of_another_customer_is_unknown() -> None:
    grant(10)
    hold(4)
    assert capture(of=BO).refusal == "unknown"
    assert account().held == 4


def test_capturing_after_the_lot_expired_spends_the_held_units() -> None:
    grant(10, expires_at=day(1))
    hold(4)
    outcome = capture(at=day(2))
    assert (outcome.units, outcome.balance) == (4, 0)
    assert entries()[1:] == [("expiry", -6), ("deduction", -4)]
    assert failures(day(2)) == {}


def test_capturing_less_after_the_lot_expired_lapses_the_rest() -> None:
    grant(10, expires_at=day(1))
    hold(4)
    capture(1, at=day(2))
    assert entries()[1:] == [("expiry", -6), ("deduction", -1), ("expiry", -3)]
    assert failures(day(2)) == {}


def test_releasing_after_the_lot_expired_lapses_the_units() -> None:
    grant(10, expires_at=day(1))
    hold(4)
    outcome = release(at=day(2))
    assert outcome.balance == 0
    assert entries()[1:] == [("expiry", -6), ("expiry", -4)]


def test_a_clawback_leaves_held_units_alone_and_a_release_repays_the_debt() -> None:
    entry = grant(10)
    hold(6)
    claw(entry, 10)
    assert account() == Account(balance=0, held=6, debt=6)
    outcome = release()
    assert (outcome.balance, outcome.available) == (0, 0)
    assert account() == Account(balance=0, held=0, debt=0)
    assert entries()[-1] == ("clawback", 0)
    assert failures() == {}


def test_a_release_repays_no_more_than_is_owed() -> None:
    grant(10, app=DEBTORS)
    hold(10, app=DEBTORS)
    take(3, app=DEBTORS)
    outcome = release(app=DEBTORS)
    assert (outcome.balance, outcome.available) == (7, 7)
    assert failures() == {}


def test_capturing_less_repays_the_debt_with_the_rest() -> None:
    grant(10, app=DEBTORS)
    hold(10, app=DEBTORS)
    take(3, app=DEBTORS)
    outcome = capture(5, app=DEBTORS)
    assert (outcome.balance, outcome.available) == (2, 2)
    assert failures() == {}


def test_expired_units_that_are_released_repay_nothing() -> None:
    grant(10, app=DEBTORS, expires_at=day(1))
    hold(10, app=DEBTORS)
    take(3, app=DEBTORS)
    outcome = release(app=DEBTORS, at=day(2))
    assert (outcome.balance, outcome.available) == (-3, 0)
    assert failures(day(2)) == {}


def test_frozen_units_that_are_released_repay_only_when_thawed() -> None:
    bought = grant(10, app=DEBTORS)
    hold(10, app=DEBTORS)
    freeze(bought, app=DEBTORS)
    take(3, app=DEBTORS)
    assert release(app=DEBTORS).available == 0
    assert account(app=DEBTORS).debt == 3
    assert freeze(bought, frozen=False, app=DEBTORS).available == 7
    assert failures() == {}


def test_a_hold_placed_and_ended_in_one_batch_is_closed() -> None:
    grant(10)
    post(
        Hold(app=APP, customer=ADA, key="hold:x", units=5, expires_at=day(1)),
        Capture(app=APP, customer=ADA, hold_key="hold:x", units=2),
        Hold(app=APP, customer=ADA, key="hold:y", units=8, expires_at=day(1)),
        Release(app=APP, customer=ADA, hold_key="hold:y"),
    )
    sql = "SELECT key, state, captured, closed_at FROM hold ORDER BY key"
    assert database.read(sql) == [("hold:x", "captured", 2, day(0)), ("hold:y", "released", 0, day(0))]
    assert failures() == {}


def test_a_hold_remembers_its_entry() -> None:
    grant(10)
    hold(4)
    entry = applied(capture())
    assert database.read("SELECT entry_id FROM hold") == [(entry,)]


def test_a_hold_grows_to_what_is_asked_for_and_never_shrinks() -> None:
    grant(10)
    hold(4)
    assert (extend(7).units, account().held) == (7, 7)
    assert (extend(2).units, account().held) == (7, 7)
    assert failures() == {}


def test_a_hold_grows_as_far_as_there_is_something() -> None:
    grant(10)
    hold(4)
    outcome = extend(50)
    assert (outcome.units, outcome.available) == (10, 0)
    assert capture(9).balance == 1
    assert failures() == {}


def test_a_hold_grows_in_the_lots_that_pay_next() -> None:
    grant(5, expires_at=day(2))
    grant(10)
    hold(3)
    extend(8)
    assert remaining() == [0, 7]
    assert allocations(applied(capture(6))) == [(0, -5), (1, -1)]
    assert remaining() == [0, 9]
    assert failures() == {}


def test_a_closed_hold_does_not_grow_nor_does_one_that_never_was() -> None:
    grant(10)
    assert extend(5).refusal == "unknown"
    hold(4)
    release()
    assert extend(5).refusal == "closed"


def test_a_hold_placed_grown_twice_and_captured_in_one_batch() -> None:
    grant(10)
    post(
        Hold(app=APP, customer=ADA, key="hold:h", units=2, expires_at=day(1)),
        Extend(app=APP, customer=ADA, hold_key="hold:h", units=3),
        Extend(app=APP, customer=ADA, hold_key="hold:h", units=6),
        Capture(app=APP, customer=ADA, hold_key="hold:h", units=5),
    )
    assert database.read("SELECT units, captured, state FROM hold") == [(6, 5, "captured")]
    assert account() == Account(balance=5, held=0, debt=0)
    assert failures() == {}


def test_a_capture_of_more_than_there_is_may_take_what_there_is() -> None:
    grant(10)
    hold(4)
    outcome = capture(25, on_shortfall="partial")
    assert (outcome.status, outcome.units, outcome.shortfall, outcome.balance) == ("applied", 10, 15, 0)
    assert database.read("SELECT state, captured FROM hold") == [("captured", 10)]
    assert failures() == {}


def test_a_capture_of_more_than_there_is_may_overdraw() -> None:
    grant(10)
    hold(4)
    outcome = capture(25, on_shortfall="debt")
    assert (outcome.units, outcome.shortfall, outcome.balance) == (25, 0, -15)
    assert account() == Account(balance=-15, held=0, debt=15)
    assert failures() == {}
