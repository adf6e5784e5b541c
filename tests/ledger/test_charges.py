"""Charges, adjustments and refunds: done once, answered the same for ever, refused without a trace but in the log."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs.ledger import adjustments, charges, refunds
from models import database
from models.errors import Conflict, InsufficientBalance, Invalid, NotFound
from tests.support.cast import ADA, BO, app, balance, entries, give

pytestmark = pytest.mark.usefixtures("db")


def charge(now: datetime, **body: Any) -> tuple[dict[str, Any], bool]:
    return charges.charge(app(), {"id": "a1", "customer": ADA, "units": 10, **body}, now=now)


def adjust(now: datetime, **body: Any) -> tuple[dict[str, Any], bool]:
    return adjustments.adjust(app(), {"id": "j1", "customer": ADA, "units": 5, "reason": "sorry", **body}, now=now)


def refund(now: datetime, **body: Any) -> tuple[dict[str, Any], bool]:
    return refunds.refund(app(), {"id": "r1", "reason": "it failed", **body}, now=now)


def errors() -> list[tuple[str, str]]:
    return database.read("SELECT operation, error ->> 'type' FROM operation_error ORDER BY id")


def test_a_charge_takes_its_units(now: datetime) -> None:
    give(ADA, 25, now=now)
    answer, new = charge(now)
    assert new
    assert (answer["id"], answer["units"], answer["balance"]) == ("a1", 10, 15)
    assert entries(ADA)[-1] == ("deduction", -10)


def test_the_same_charge_again_is_answered_the_same_and_takes_nothing(now: datetime) -> None:
    give(ADA, 25, now=now)
    first, _ = charge(now)
    charge(now, id="a2", units=3)
    again, new = charge(now, metadata={"not": "content"})
    assert (again, new) == (first, False)
    assert balance(ADA) == 12


def test_the_same_id_with_other_content_is_a_conflict(now: datetime) -> None:
    give(ADA, 25, now=now)
    charge(now)
    with pytest.raises(Conflict):
        charge(now, units=11)
    assert balance(ADA) == 15


def test_too_little_is_refused_whole_and_stores_nothing_but_a_line_in_the_log(now: datetime) -> None:
    give(ADA, 9, now=now)
    with pytest.raises(InsufficientBalance) as refused:
        charge(now)
    assert (refused.value.available, refused.value.required) == (9, 10)
    assert database.read("SELECT count(*) FROM request") == [(0,)]
    assert errors() == [("CHARGE", "InsufficientBalance")]
    give(ADA, 1, now=now)
    assert charge(now)[0]["balance"] == 0


def test_a_refused_charge_of_a_stranger_makes_no_account(now: datetime) -> None:
    with pytest.raises(InsufficientBalance):
        charge(now)
    assert database.read("SELECT count(*) FROM account") == [(0,)]


def test_a_charge_at_a_rate_is_priced_by_the_catalog(now: datetime) -> None:
    give(ADA, 200, now=now)
    answer, _ = charge(now, units=None, rate="gpt4", quantity=1001)
    assert answer["units"] == 61


def test_an_unknown_rate_is_refused_by_name(now: datetime) -> None:
    with pytest.raises(Invalid, match="fax"):
        charge(now, units=None, rate="fax", quantity=1)


def test_a_free_charge_has_no_entry(now: datetime) -> None:
    answer, _ = charge(now, units=None, rate="sms", quantity=0)
    assert (answer["units"], answer["entry"]) == (0, None)


def test_twenty_charges_with_one_id_at_once_take_once(now: datetime) -> None:
    give(ADA, 100, now=now)

    def try_it(_: int) -> tuple[Any, bool]:
        try:
            return charge(now)
        finally:
            database.release()

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(try_it, range(20)))
    assert sum(new for _, new in answers) == 1
    assert len({answer["entry"] for answer, _ in answers}) == 1
    assert balance(ADA) == 90


def test_one_id_for_two_customers_at_once_serves_one_and_refuses_the_others(now: datetime) -> None:
    for customer in (ADA, BO):
        give(customer, 100, now=now)

    def try_it(number: int) -> str:
        try:
            return "new" if charge(now, customer=(ADA, BO)[number % 2])[1] else "same"
        except Conflict:
            return "conflict"
        finally:
            database.release()

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(try_it, range(16)))
    assert results.count("new") == 1
    assert results.count("conflict") == 8
    assert balance(ADA) + balance(BO) == 190


def test_fifty_charges_at_once_on_a_balance_of_ten_take_ten(now: datetime) -> None:
    give(ADA, 10, now=now)

    def try_it(number: int) -> bool:
        try:
            return charge(now, id=f"a{number}", units=1)[1]
        except InsufficientBalance:
            return False
        finally:
            database.release()

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(try_it, range(50))) == 10
    assert balance(ADA) == 0


def test_an_adjustment_gives_or_takes_with_its_reason(now: datetime) -> None:
    assert adjust(now)[0]["balance"] == 5
    assert adjust(now, id="j2", units=-2)[0]["balance"] == 3
    assert database.read("SELECT type, amount, reason FROM entry ORDER BY id") == [
        ("admin_adjustment", 5, "sorry"),
        ("admin_adjustment", -2, "sorry"),
    ]


def test_an_adjustment_below_zero_is_refused_unless_debt_is_allowed(now: datetime) -> None:
    with pytest.raises(InsufficientBalance):
        adjust(now, units=-2)
    assert adjust(now, units=-2, allow_debt=True)[0]["balance"] == -2
    assert adjust(now, id="j2", units=5)[0]["balance"] == 3


def test_a_bonus_may_expire(now: datetime) -> None:
    adjust(now, type="bonus", expires_after="10d")
    assert database.read("SELECT source, expires_at FROM lot") == [("bonus", now + timedelta(days=10))]


def test_a_deduction_is_refunded_to_the_lots_it_came_from_at_most_once(now: datetime) -> None:
    give(ADA, 4, now=now, expires_after=timedelta(days=1))
    give(ADA, 10, now=now)
    entry = charge(now)[0]["entry"]
    assert refund(now, entry=entry, units=7)[0]["balance"] == 11
    with pytest.raises(Conflict, match="only 3"):
        refund(now, id="r2", entry=entry, units=4)
    assert refund(now, id="r3", entry=entry)[0]["units"] == 3
    with pytest.raises(Conflict, match="only 0"):
        refund(now, id="r4", entry=entry)
    assert database.read("SELECT remaining FROM lot ORDER BY id") == [(4,), (10,)]


def test_a_refund_again_is_answered_the_same(now: datetime) -> None:
    give(ADA, 10, now=now)
    entry = charge(now)[0]["entry"]
    assert refund(now, entry=entry)[0] == refund(now, entry=entry)[0]
    assert balance(ADA) == 10


def test_only_deductions_of_this_app_can_be_refunded(now: datetime) -> None:
    granted = give(ADA, 10, now=now)
    elsewhere = give(ADA, 10, now=now, slug="songs")
    with pytest.raises(Invalid, match="bonus"):
        refund(now, entry=granted)
    with pytest.raises(NotFound):
        refund(now, entry=elsewhere)
    with pytest.raises(NotFound):
        refund(now, entry=10**15)


def test_a_refund_of_a_refund_is_refused(now: datetime) -> None:
    give(ADA, 10, now=now)
    back = refund(now, entry=charge(now)[0]["entry"])[0]["entry"]
    with pytest.raises(Invalid, match="refund"):
        refund(now, id="r2", entry=back)


def test_a_balance_beyond_what_an_account_can_hold_is_refused_by_name(now: datetime) -> None:
    for number in range(2):
        give(ADA, 5 * 10**17 - 1, now=now, key=f"much:{number}")
    with pytest.raises(Invalid, match="units"):
        adjust(now, units=10**12)
