"""A corrected catalog computes stored subscriptions again, without a replay of the events that ended dead."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from jobs import maintenance, runs
from models import cycles, database
from tests.support.cast import ADA, app, balance, deliver, entries, event_states
from tests.support.providers.shop import change
from tests.support.providers.stripe_events import event, invoice, subscription

pytestmark = pytest.mark.usefixtures("db")
APP, DAY = "songs", timedelta(days=1)
ROW = "SELECT account_id, owed_until FROM subscription"


def report(now: datetime, *, is_paid: bool = True, number: str = "1") -> None:
    """A subscription at a price that its metadata do not explain."""
    end = cycles.cycle_start(now, 1)
    told = subscription(APP, ADA, "", anchor=now, start=now, end=end, number=number)
    paid = invoice(APP, ADA, "", start=now, end=end, number=number, subscription_number=number)
    deliver(APP, event("customer.subscription.created", told, created=now), now=now)
    if is_paid:
        deliver(APP, event("invoice.paid", paid, created=now), now=now)


def correct(**changes: object) -> None:
    """The catalog with the price, as after a restart."""
    change(
        APP, plans={"pro": replace(app(APP).plans["pro"], **{"stripe_price": "price_of_another_catalog", **changes})}
    )


def tick(now: datetime) -> dict[str, int]:
    found: dict[str, int] = runs.run(None, "grant-monthly", now=now)["counts"]
    return found


@pytest.mark.parametrize("is_started", [True, False], ids=["terms known", "first terms"])
@pytest.mark.parametrize("is_paid", [True, False])
def test_a_price_that_becomes_known_is_granted_by_the_next_run_of_the_schedule(
    is_paid: bool, is_started: bool, now: datetime
) -> None:
    if is_started:
        tick(now)
    report(now, is_paid=is_paid)
    assert {state for state, _ in event_states(APP)} == {"dead"}
    assert all(error and "no plan" in error for _, error in event_states(APP))
    assert database.read(ROW) == [(None, None)], "the subscription is known, and nothing of it was computed"
    tick(now + timedelta(minutes=1))
    assert entries(ADA, APP) == []
    correct()
    tick(now + timedelta(minutes=2))
    assert entries(ADA, APP) == [("subscription_grant", 1000)]
    assert all(check.ok for check in maintenance.check_books(now=now))
    tick(now + timedelta(minutes=3))
    database.write("UPDATE inbox_event SET state = 'pending', attempts = 0, next_attempt_at = %s", [now])
    from jobs.inbox import events

    while events.apply_pending(now=now + timedelta(minutes=3)):
        pass
    assert {state for state, _ in event_states(APP)} == {"done"}
    assert entries(ADA, APP) == [("subscription_grant", 1000)], "a replay grants nothing more"


def test_a_plan_that_is_added_to_an_app_without_plans_is_found_too(now: datetime) -> None:
    pro = app(APP).plans["pro"]
    change(APP, plans={})
    tick(now)
    report(now)
    assert {state for state, _ in event_states(APP)} == {"dead"}
    change(APP, plans={"pro": replace(pro, stripe_price="price_of_another_catalog")})
    tick(now + DAY)
    assert balance(ADA, APP) == 1000


def test_larger_units_are_those_of_months_that_begin_after_the_change(now: datetime) -> None:
    year = cycles.cycle_start(now, 12)
    paid = invoice(APP, ADA, "pro", start=now, end=year)
    deliver(APP, event("invoice.paid", paid, created=now), now=now)
    later = cycles.cycle_start(now, 1) - DAY
    change(APP, plans={"pro": replace(app(APP).plans["pro"], units=1500)})
    tick(later)
    assert balance(ADA, APP) == 1000
    tick(cycles.cycle_start(now, 1))
    assert balance(ADA, APP) == 2500
    assert all(check.ok for check in maintenance.check_books(now=cycles.cycle_start(now, 1)))


def test_an_unchanged_catalog_computes_nothing_again(now: datetime) -> None:
    correct()
    report(now)
    assert balance(ADA, APP) == 1000
    tick(now + timedelta(minutes=1))
    assert tick(now + timedelta(minutes=2)) == {"subscriptions": 0, "units": 0}
