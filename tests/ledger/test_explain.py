"""Explain: every unit of every lot is accounted for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from models import database
from models.catalog import catalog
from models.ledger import balances, explain
from tests.ledger.test_balances import DAY, STEPS, Story
from tests.support.deep import times
from tests.support.posting import APP, capture, grant, hold, refund, sweep, take


def explained(customer: str, now: Any) -> dict[str, Any]:
    told = explain.for_customer(catalog.current()[APP], customer, now=now)
    for lot in told["lots"]:
        assert lot["granted"] == lot["remaining"] + lot["held"] + sum(part["units"] for part in lot["took"])
    assert told["balance"] == sum(lot["remaining"] + lot["held"] for lot in told["lots"]) - told["debt"]
    return told


def took(lot: dict[str, Any]) -> list[tuple[str, int]]:
    return [(part["type"], part["units"]) for part in lot["took"]]


def test_a_customer_nobody_knows_has_nothing_to_explain(db, now):
    assert explained("nobody", now) == {"customer": "nobody", "balance": 0, "debt": 0, "lots": [], "carried": {}}


def test_a_lot_names_what_took_from_it_and_what_came_back(db, now):
    grant("ada", 100, key="bonus:1", now=now)
    entry_id = take("ada", 30, key="usage:1", now=now + DAY, reason="gpt4").entry_id
    refund("ada", entry_id or 0, key="refund:1", now=now + 2 * DAY, units=10)
    (lot,) = explained("ada", now + 3 * DAY)["lots"]
    assert lot["took"][0] == {
        "entry": entry_id,
        "type": "deduction",
        "reason": "gpt4",
        "units": 30,
        "at": now + DAY,
    }
    assert took(lot) == [("deduction", 30), ("refund", -10)]
    assert (lot["granted"], lot["remaining"]) == (100, 80)


def test_a_spent_lot_is_still_explained_and_comes_first_if_it_is_older(db, now):
    grant("ada", 5, key="bonus:1", now=now)
    take("ada", 5, key="usage:1", now=now)
    grant("ada", 7, key="bonus:2", now=now)
    lots = explained("ada", now)["lots"]
    assert [(lot["granted"], lot["remaining"]) for lot in lots] == [(5, 0), (7, 7)]


def test_what_a_grant_repaid_is_taken_by_the_debt(db, now):
    grant("ada", 5, key="bonus:1", now=now)
    take("ada", 8, key="usage:1", now=now, on_shortfall="debt")
    entry_id = grant("ada", 10, key="bonus:2", now=now + DAY).entry_id
    told = explained("ada", now + DAY)
    assert took(told["lots"][1]) == [("debt", 3)]
    assert told["lots"][1]["took"][0]["entry"] == entry_id
    assert (told["balance"], told["debt"]) == (7, 0)


def test_debt_shows_beside_the_lots(db, now):
    take("ada", 8, key="usage:1", now=now, on_shortfall="debt")
    assert explained("ada", now) == {"customer": "ada", "balance": -8, "debt": 8, "lots": [], "carried": {}}


def test_held_units_are_neither_remaining_nor_taken(db, now):
    grant("ada", 10, key="bonus:1", now=now)
    hold("ada", 4, key="hold:1", now=now, expires_at=now + DAY)
    (lot,) = explained("ada", now)["lots"]
    assert (lot["remaining"], lot["held"], took(lot)) == (6, 4, [])
    capture("ada", "hold:1", now=now, units=3)
    (lot,) = explained("ada", now)["lots"]
    assert (lot["remaining"], lot["held"], took(lot)) == (7, 0, [("deduction", 3)])


def test_what_expired_is_taken_by_the_expiry_before_and_after_the_sweep(db, now):
    grant("ada", 10, key="bonus:1", now=now, expires_after=DAY)
    unswept = explained("ada", now + DAY)["lots"][0]
    sweep("ada", now=now + DAY)
    swept = explained("ada", now + DAY)["lots"][0]
    assert took(unswept) == took(swept) == [("expiry", 10)]
    assert unswept["took"][0]["entry"] is None
    assert swept["took"][0]["entry"] is not None


def test_the_beginning_of_a_long_history_is_summed_up(db, now, monkeypatch):
    monkeypatch.setattr(explain, "LISTED_ENTRIES", 2)
    grant("ada", 100, key="bonus:1", now=now)
    for number in range(5):
        take("ada", 10 + number, key=f"usage:{number}", now=now + number * DAY)
    (lot,) = explained("ada", now + 9 * DAY)["lots"]
    assert took(lot) == [("deduction", 33), ("deduction", 13), ("deduction", 14)]
    assert (lot["took"][0]["entry"], lot["took"][0]["reason"]) == (None, "3 earlier entries")
    assert lot["took"][0]["at"] == now + 2 * DAY


def test_a_lot_names_its_payment_and_its_subscription(db, now):
    database.write(
        """INSERT INTO payment (app, account_id, provider, reference, state, created_at, updated_at)
        VALUES (%s, 1, 'stripe', 'pi_7', 'settled', %s, %s)""",
        [APP, now, now],
    )
    database.write(
        """INSERT INTO subscription (app, account_id, provider, provider_id, status, anchor, next_due_at,
        created_at, updated_at) VALUES (%s, 1, 'stripe', 'sub_7', 'active', %s, %s, %s, %s)""",
        [APP, now, now, now, now],
    )
    grant("ada", 10, key="purchase:1", now=now, payment_id=1, subscription_id=1, period_start=now)
    grant("ada", 10, key="bonus:1", now=now)
    bought, given_ = explained("ada", now)["lots"]
    assert (bought["payment"], bought["subscription"]) == ("pi_7", "sub_7")
    assert (given_["payment"], given_["subscription"]) == (None, None)
    assert took(bought) == took(given_) == []


@pytest.mark.deep
@settings(max_examples=times(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_every_lot_adds_up_after_any_story(db, steps):
    database.write("TRUNCATE account, lot, entry, allocation, hold")
    story = Story()
    for number, step in enumerate(steps):
        story.step(number, *step)
        told = explained("ada", story.now)
        assert told["balance"] == balances.current(catalog.current()[APP], "ada", now=story.now)["balance"]
    explained("ada", story.now + timedelta(days=2))
