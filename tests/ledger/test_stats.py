"""Stats: what a customer bought, got and spent."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from models.catalog import catalog
from models.ledger import stats
from models.planning.movements import Clawback
from tests.support.posting import APP, grant, post, refund, sweep, take


def figures(customer: str, now: datetime) -> dict[str, Any]:
    return stats.for_customer(catalog.current()[APP], customer, now=now)


def at(month: int, day: int, hour: int = 0) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=timezone.utc)


def bought(customer: str, units: int, key: str, now: datetime) -> int:
    return grant(customer, units, key=key, now=now, type="purchase", source="pack:starter").entry_id or 0


def spent(customer: str, units: int, key: str, rate: str, now: datetime) -> int:
    return take(customer, units, key=key, now=now, meta={"rate": rate, "quantity": units}).entry_id or 0


def test_a_customer_nobody_knows_has_zeros(db, now):
    assert figures("nobody", now) == {
        "balance": 0,
        "total_purchased": 0,
        "total_granted": 0,
        "total_spent": 0,
        "monthly_usage": 0,
        "by_rate": {},
        "last_entry": None,
    }


def test_what_was_bought_and_what_was_given_are_told_apart(db, now):
    bought("ada", 100, "purchase:1", now)
    grant("ada", 20, key="bonus:1", now=now)
    grant("ada", 1000, key="grant:1", now=now, type="subscription_grant")
    grant("ada", 3, key="adjustment:1", now=now, type="admin_adjustment")
    seen = figures("ada", now)
    assert (seen["total_purchased"], seen["total_granted"], seen["balance"]) == (100, 1023, 1123)


def test_units_that_an_operator_takes_are_no_grant_and_no_spending(db, now):
    grant("ada", 20, key="bonus:1", now=now)
    take("ada", 5, key="adjustment:1", now=now, type="admin_adjustment")
    seen = figures("ada", now)
    assert (seen["total_granted"], seen["total_spent"], seen["balance"]) == (20, 0, 15)


def test_a_reinstatement_is_no_new_grant(db, now):
    entry_id = bought("ada", 100, "purchase:1", now)
    for target in (100, 0):
        post(Clawback(app=APP, customer="ada", entry_id=entry_id, target_units=target), now=now)
    seen = figures("ada", now)
    assert (seen["total_purchased"], seen["total_granted"], seen["balance"]) == (100, 0, 100)


def test_spending_is_told_by_rate_less_what_was_refunded(db, now):
    bought("ada", 100, "purchase:1", now)
    spent("ada", 10, "usage:1", "sms", now)
    entry_id = spent("ada", 20, "usage:2", "gpt4", now)
    take("ada", 5, key="charge:1", now=now)
    refund("ada", entry_id, key="refund:1", now=now, units=8)
    seen = figures("ada", now)
    assert seen["by_rate"] == {"gpt4": 12, "sms": 10}
    assert seen["total_spent"] == 27


def test_what_expires_is_not_spent(db, now):
    grant("ada", 20, key="bonus:1", now=now, expires_at=at(4, 1))
    sweep("ada", now=at(4, 2))
    seen = figures("ada", at(4, 2))
    assert (seen["total_spent"], seen["total_granted"], seen["balance"]) == (0, 20, 0)


def test_the_months_usage_starts_anew_on_the_first_in_utc(db, now):
    bought("ada", 100, "purchase:1", at(1, 1))
    spent("ada", 7, "usage:1", "sms", at(3, 31, 23))
    spent("ada", 2, "usage:2", "sms", at(4, 1))
    assert figures("ada", at(3, 31, 23))["monthly_usage"] == 9
    assert figures("ada", at(4, 1))["monthly_usage"] == 2
    assert figures("ada", at(5, 1))["monthly_usage"] == 0


def test_a_refund_counts_in_the_month_of_its_deduction(db, now):
    bought("ada", 100, "purchase:1", at(1, 1))
    entry_id = spent("ada", 7, "usage:1", "sms", at(3, 31))
    spent("ada", 2, "usage:2", "sms", at(4, 1))
    refund("ada", entry_id, key="refund:1", now=at(4, 2))
    seen = figures("ada", at(4, 2))
    assert (seen["monthly_usage"], seen["total_spent"]) == (2, 2)


def test_the_last_entry_is_shown_whole(db, now):
    bought("ada", 100, "purchase:1", now)
    spent("ada", 7, "usage:1", "sms", now)
    last = figures("ada", now)["last_entry"]
    assert (last["amount"], last["balance_after"], last["metadata"]["rate"]) == (-7, 93, "sms")
