"""Balances: what a customer sees, now and as of any time before."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import database
from models.catalog import catalog
from models.errors import Invalid
from models.ledger import balances
from models.planning.movements import Clawback
from tests.support.deep import times
from tests.support.posting import APP, capture, freeze, grant, hold, post, refund, release, sweep, take

DAY = timedelta(days=1)
START = datetime(2026, 3, 10, 12, tzinfo=timezone.utc)


def balance(customer: str, now: datetime, app: str = APP) -> dict[str, Any]:
    return balances.current(catalog.current()[app], customer, now=now)


def balance_as_of(customer: str, at: datetime, now: datetime) -> dict[str, Any]:
    return balances.as_of(catalog.current()[APP], customer, at, now=now)


def test_a_customer_nobody_knows_has_zeros(db, now):
    assert balance("nobody", now) == {
        "customer": "nobody",
        "unit": "credit",
        "balance": 0,
        "held": 0,
        "available": 0,
        "debt": 0,
        "lots": [],
        "expiring_next": None,
        "as_of": now,
        "updated_at": None,
    }


def test_held_units_count_in_the_balance_and_are_not_available(db, now):
    grant("ada", 100, key="bonus:1", now=now)
    hold("ada", 30, key="hold:1", now=now, expires_at=now + DAY)
    seen = balance("ada", now)
    assert (seen["balance"], seen["held"], seen["available"]) == (100, 30, 70)
    assert [(lot["remaining"], lot["held"]) for lot in seen["lots"]] == [(70, 30)]


def test_debt_makes_the_balance_negative_and_leaves_nothing_available(db, now):
    grant("ada", 10, key="bonus:1", now=now)
    take("ada", 25, key="usage:1", now=now, on_shortfall="debt")
    seen = balance("ada", now)
    assert (seen["balance"], seen["debt"], seen["available"], seen["lots"]) == (-15, 15, 0, [])


def test_a_lot_is_gone_at_its_expiry_though_nothing_swept_it(db, now):
    grant("ada", 10, key="bonus:1", now=now, expires_after=DAY)
    grant("ada", 5, key="bonus:2", now=now)
    assert balance("ada", now + DAY - timedelta(microseconds=1))["balance"] == 15
    seen = balance("ada", now + DAY)
    assert (seen["balance"], seen["available"], len(seen["lots"])) == (5, 5, 1)


def test_units_held_before_their_lot_expired_still_count(db, now):
    grant("ada", 10, key="bonus:1", now=now, expires_after=DAY)
    hold("ada", 4, key="hold:1", now=now, expires_at=now + 2 * DAY)
    seen = balance("ada", now + DAY)
    assert (seen["balance"], seen["held"], seen["available"]) == (4, 4, 0)
    assert [(lot["remaining"], lot["held"]) for lot in seen["lots"]] == [(0, 4)]


def test_a_frozen_lot_counts_in_the_balance_and_pays_nothing(db, now):
    bought = grant("ada", 10, key="purchase:1", now=now).entry_id
    grant("ada", 5, key="bonus:1", now=now)
    freeze("ada", bought or 0, now=now)
    seen = balance("ada", now)
    assert (seen["balance"], seen["available"]) == (15, 5)
    assert {lot["granted"]: lot["frozen"] for lot in seen["lots"]} == {10: True, 5: False}


def test_lots_stand_in_the_order_in_which_they_will_be_burned(db, now):
    for key, units in (("bonus:1", 5), ("bonus:2", 50), ("bonus:3", 20)):
        grant("ada", units, key=key, now=now, app="voice-therapy", expires_after=DAY)
    assert [lot["granted"] for lot in balance("ada", now, "voice-therapy")["lots"]] == [50, 20, 5]


def test_what_expires_next_is_the_sum_of_the_lots_that_expire_at_that_time(db, now):
    grant("ada", 10, key="bonus:1", now=now, expires_at=now + 2 * DAY)
    grant("ada", 20, key="bonus:2", now=now, expires_at=now + DAY)
    grant("ada", 30, key="bonus:3", now=now, expires_at=now + DAY)
    grant("ada", 40, key="bonus:4", now=now)
    assert balance("ada", now)["expiring_next"] == {"units": 50, "at": now + DAY}
    assert balance("ada", now + DAY)["expiring_next"] == {"units": 10, "at": now + 2 * DAY}


def test_what_is_available_is_told_alone_as_well(db, now):
    grant("ada", 10, key="bonus:1", now=now)
    hold("ada", 3, key="hold:1", now=now, expires_at=now + DAY)
    assert balances.available(catalog.current()[APP], "ada", now=now) == 7
    assert balances.available(catalog.current()[APP], "nobody", now=now) == 0


def test_the_balance_of_the_future_is_refused(db, now):
    with pytest.raises(Invalid) as refusal:
        balance_as_of("ada", now + timedelta(seconds=1), now)
    assert refusal.value.errors[0][0] == "as_of"


def test_before_the_first_entry_there_was_nothing(db, now):
    grant("ada", 10, key="bonus:1", now=now)
    seen = balance_as_of("ada", now - DAY, now)
    assert (seen["balance"], seen["lots"], seen["updated_at"], seen["as_of"]) == (0, [], None, now - DAY)


def test_the_past_shows_a_lot_that_is_spent_today_and_not_one_that_came_later(db, now):
    grant("ada", 10, key="bonus:1", now=now)
    take("ada", 10, key="usage:1", now=now + 2 * DAY)
    grant("ada", 99, key="bonus:2", now=now + 2 * DAY)
    seen = balance_as_of("ada", now + DAY, now + 3 * DAY)
    assert [(lot["granted"], lot["remaining"]) for lot in seen["lots"]] == [(10, 10)]
    assert (seen["balance"], seen["updated_at"]) == (10, now)


def test_a_hold_counts_as_held_from_its_start_to_its_end(db, now):
    grant("ada", 10, key="bonus:1", now=now)
    hold("ada", 4, key="hold:1", now=now + DAY, expires_at=now + 9 * DAY)
    capture("ada", "hold:1", now=now + 2 * DAY, units=1)
    later = now + 5 * DAY
    held = [balance_as_of("ada", now + step, later)["held"] for step in (DAY / 2, DAY, DAY * 1.5, 2 * DAY)]
    assert held == [0, 4, 4, 0]
    assert balance_as_of("ada", now + DAY, later)["available"] == 6


# --- the past as it was told then

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["grant", "lapsing", "take", "overdraw", "hold", "capture", "release", "refund", "claw", "sweep"]
        ),
        st.integers(1, 40),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=14,
)


class Story:
    """Steps of one customer, a minute apart, and what the balance said after each."""

    def __init__(self) -> None:
        self.now = START
        self.told: list[dict[str, Any]] = []
        self.holds: list[str] = []
        self.deductions: list[int] = []
        self.grants: list[int] = []

    def step(self, number: int, what: str, units: int, which: int) -> None:
        self.now += timedelta(minutes=1)
        getattr(self, what)(number, units, which)
        self.told.append(balance("ada", self.now))

    def grant(self, number: int, units: int, which: int) -> None:
        self.grants.append(grant("ada", units, key=f"bonus:{number}", now=self.now).entry_id or 0)

    def lapsing(self, number: int, units: int, which: int) -> None:
        life = timedelta(seconds=150 * which + 30)
        grant("ada", units, key=f"bonus:{number}", now=self.now, expires_after=life)

    def take(self, number: int, units: int, which: int) -> None:
        outcome = take("ada", units, key=f"usage:{number}", now=self.now, on_shortfall="partial")
        self.deductions += [outcome.entry_id] if outcome.entry_id else []

    def overdraw(self, number: int, units: int, which: int) -> None:
        take("ada", units, key=f"usage:{number}", now=self.now, on_shortfall="debt")

    def hold(self, number: int, units: int, which: int) -> None:
        hold("ada", units, key=f"hold:{number}", now=self.now, expires_at=self.now + DAY, up_to=True)
        self.holds.append(f"hold:{number}")

    def capture(self, number: int, units: int, which: int) -> None:
        if self.holds:
            capture("ada", self.holds[which % len(self.holds)], now=self.now, units=units if which else None)

    def release(self, number: int, units: int, which: int) -> None:
        if self.holds:
            release("ada", self.holds[which % len(self.holds)], now=self.now)

    def refund(self, number: int, units: int, which: int) -> None:
        lasting = [entry for entry in self.deductions if not _touched_a_lapsing_lot(entry)]
        if lasting:
            refund("ada", lasting[which % len(lasting)], key=f"refund:{number}", now=self.now)

    def claw(self, number: int, units: int, which: int) -> None:
        if self.grants:
            entry = self.grants[which % len(self.grants)]
            post(Clawback(app=APP, customer="ada", entry_id=entry, target_units=units), now=self.now)

    def sweep(self, number: int, units: int, which: int) -> None:
        sweep("ada", now=self.now)


def _touched_a_lapsing_lot(entry_id: int) -> bool:
    """A refund within the grace gives a lapsed lot a new expiry, and the old one is written nowhere."""
    sql = "SELECT 1 FROM allocation x JOIN lot l ON l.id = x.lot_id WHERE x.entry_id = %s AND l.expires_at IS NOT NULL"
    return bool(database.read(sql, [entry_id]))


@pytest.mark.deep
@settings(max_examples=times(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_as_of_tells_what_the_balance_told_then(db, steps):
    database.write("TRUNCATE account, lot, entry, allocation, hold")
    story = Story()
    for number, step in enumerate(steps):
        story.step(number, *step)
    for told in story.told:
        seen = balance_as_of("ada", told["as_of"], story.now)
        assert {**seen, "updated_at": None} == {**told, "updated_at": None}
