"""Monthly grants: a cycle once, in order, however late and by whatever way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from jobs import maintenance, runs
from jobs.plans import grants
from models import cycles, database
from models.catalog import catalog
from tests.support.cast import ADA, app, balance, deliver, entries
from tests.support.providers.shop import change
from tests.support.providers.stripe_events import event, invoice, subscription

pytestmark = pytest.mark.usefixtures("db")
ANCHOR = datetime(2026, 1, 31, 10, 0, tzinfo=timezone.utc)


def cycle(number: int) -> datetime:
    return cycles.cycle_start(ANCHOR, number)


def told(kind: str, number: int = 0, **more: Any) -> dict[str, Any]:
    """The event of a subscription in its cycle `number`."""
    it = subscription("songs", ADA, "pro", anchor=ANCHOR, start=cycle(number), end=cycle(number + 1), **more)
    return event(f"customer.subscription.{kind}", it, created=cycle(number))


def paid(period: int, **more: Any) -> dict[str, Any]:
    """The event of the paid invoice of the cycle `period`."""
    number = period
    reason = "subscription_cycle" if number else "subscription_create"
    terms = {"start": cycle(number), "end": cycle(number + 1), "number": str(number), "reason": reason}
    return event("invoice.paid", invoice("songs", ADA, "pro", **{**terms, **more}), created=cycle(number))


def tick(now: datetime) -> dict[str, int]:
    return runs.run(None, "grant-monthly", now=now)["counts"]


def granted() -> list[datetime]:
    """The starts of the periods that were granted, in the order of the grants."""
    rows = database.read("SELECT meta FROM entry WHERE type = 'subscription_grant' ORDER BY created_at, id")
    return [datetime.fromisoformat(meta["period_start"]) for (meta,) in rows]


def test_cycles_are_counted_from_the_anchor_and_clamped_to_the_month() -> None:
    days = [(cycle(n).month, cycle(n).day) for n in range(5)]
    assert days == [(1, 31), (2, 28), (3, 31), (4, 30), (5, 31)]


def test_an_active_subscription_is_granted_its_first_cycle_at_once() -> None:
    deliver("songs", told("created"), now=ANCHOR)
    assert entries(ADA, "songs") == [("subscription_grant", 1000)]


def test_an_invoice_and_the_schedule_share_one_key() -> None:
    deliver("songs", told("created"), now=ANCHOR)
    deliver("songs", paid(0), now=ANCHOR)
    tick(ANCHOR + timedelta(hours=1))
    deliver("songs", paid(0), now=ANCHOR + timedelta(hours=2))
    assert entries(ADA, "songs") == [("subscription_grant", 1000)]


def test_fourteen_months_from_31_january_with_the_scheduler_down_for_two_of_them() -> None:
    deliver("songs", told("created"), now=ANCHOR)
    for number in range(1, 14):
        deliver("songs", paid(number), now=cycle(number) + timedelta(days=1))
        if number not in (5, 6):
            deliver("songs", told("updated", number), now=cycle(number) + timedelta(days=1))
            tick(cycle(number) + timedelta(days=1, minutes=1))
            tick(cycle(number) + timedelta(days=1, minutes=2))
    assert granted() == [cycle(n) for n in range(14)]
    assert balance(ADA, "songs") == 14_000


def test_missed_cycles_are_granted_in_order_once_the_provider_says_they_are_paid() -> None:
    deliver("songs", told("created"), now=ANCHOR)
    late = cycle(5) + timedelta(days=1)
    year = subscription("songs", ADA, "pro", anchor=ANCHOR, start=ANCHOR, end=cycle(12))
    deliver("songs", event("customer.subscription.updated", year, created=late), now=late)
    assert granted() == [cycle(n) for n in range(6)]


def test_an_annual_plan_is_granted_monthly() -> None:
    year = subscription("songs", ADA, "pro", anchor=ANCHOR, start=ANCHOR, end=cycle(12))
    deliver("songs", event("customer.subscription.created", year, created=ANCHOR), now=ANCHOR)
    for number in range(1, 15):
        tick(cycle(number))
    assert balance(ADA, "songs") == 12_000


def test_a_lost_cancellation_does_not_grant_for_ever() -> None:
    deliver("songs", told("created"), now=ANCHOR)
    for number in range(1, 6):
        tick(cycle(number) + timedelta(hours=1))
    assert balance(ADA, "songs") == 1000


def test_a_past_due_subscription_is_not_granted() -> None:
    deliver("songs", told("created"), now=ANCHOR)
    deliver("songs", told("updated", 1, status="past_due"), now=cycle(1))
    tick(cycle(1) + timedelta(days=1))
    assert balance(ADA, "songs") == 1000
    deliver("songs", paid(1), now=cycle(1) + timedelta(days=2))
    assert balance(ADA, "songs") == 2000


def test_an_unpaid_invoice_stops_the_schedule_until_it_is_paid() -> None:
    deliver("songs", told("created"), now=ANCHOR)
    unpaid = event("invoice.payment_failed", paid(1)["data"]["object"], created=cycle(1))
    deliver("songs", unpaid, now=cycle(1))
    deliver("songs", told("updated", 1), now=cycle(1))
    tick(cycle(1) + timedelta(hours=1))
    assert balance(ADA, "songs") == 1000
    deliver("songs", paid(1), now=cycle(1) + timedelta(hours=2))
    assert balance(ADA, "songs") == 2000


def test_the_late_news_that_an_invoice_had_failed_does_not_stop_anything() -> None:
    deliver("songs", told("created"), now=ANCHOR)
    deliver("songs", paid(1), now=cycle(1))
    deliver("songs", event("invoice.payment_failed", paid(1)["data"]["object"], created=cycle(1)), now=cycle(1))
    assert balance(ADA, "songs") == 2000


def test_a_late_created_does_not_revive_an_ended_subscription() -> None:
    deliver("songs", told("deleted", 2), now=cycle(2))
    deliver("songs", told("created"), now=cycle(2) + timedelta(hours=1))
    tick(cycle(2) + timedelta(hours=2))
    assert database.read("SELECT status FROM subscription") == [("canceled",)]
    assert balance(ADA, "songs") == 1000, "the month in which it was active, as if the events had come in order"


def test_an_invoice_that_comes_before_its_subscription_makes_it() -> None:
    deliver("songs", paid(0), now=ANCHOR)
    assert balance(ADA, "songs") == 1000
    deliver("songs", told("created"), now=ANCHOR + timedelta(minutes=1))
    assert balance(ADA, "songs") == 1000


def test_a_subscription_that_scrip_meets_late_is_not_granted_its_past() -> None:
    met = subscription("songs", ADA, "pro", anchor=ANCHOR, start=cycle(24), end=cycle(25))
    deliver("songs", event("customer.subscription.updated", met, created=cycle(24)), now=cycle(24))
    assert granted() == [cycle(24)]


def test_an_old_payload_tells_the_same_story() -> None:
    old = paid(0)
    thing = old["data"]["object"]
    details = thing.pop("parent")["subscription_details"]
    thing["subscription"], thing["subscription_details"] = "sub_1", {"metadata": details["metadata"]}
    line = thing["lines"]["data"][0]
    line["price"] = {"id": line.pop("pricing")["price_details"]["price"]}
    deliver("songs", old, now=ANCHOR)
    created = told("created")
    it = created["data"]["object"]
    item = it["items"]["data"][0]
    it["current_period_start"], it["current_period_end"] = (
        item.pop("current_period_start"),
        item.pop("current_period_end"),
    )
    deliver("songs", created, now=ANCHOR)
    assert granted() == [cycle(0)]


def test_a_purchased_pack_survives_every_cycle() -> None:
    from tests.support.cast import give

    give(ADA, 77, now=ANCHOR, slug="songs")
    lapsing = _songs_with(expires_after="period")
    catalog.use(lapsing)
    deliver("songs", paid(0), now=ANCHOR)
    deliver("songs", paid(1), now=cycle(1))
    assert entries(ADA, "songs") == [
        ("bonus", 77),
        ("subscription_grant", 1000),
        ("expiry", -1000),
        ("subscription_grant", 1000),
    ]
    runs.run(None, "expire", now=cycle(2) + timedelta(days=3))
    assert balance(ADA, "songs") == 77


def test_a_larger_plan_grants_the_difference_within_the_cycle() -> None:
    from dataclasses import replace

    whole = catalog.current()
    songs = whole["songs"]
    big = replace(songs.plans["pro"], key="big", units=2500)
    catalog.use(catalog.Catalog({**whole.apps, "songs": replace(songs, plans={**songs.plans, "big": big})}))
    deliver("songs", told("created"), now=ANCHOR)
    change = told("updated", 0)
    change["created"] += 2 * 3600
    change["data"]["object"]["metadata"]["plan"] = "big"
    deliver("songs", change, now=ANCHOR + timedelta(hours=2))
    assert balance(ADA, "songs") == 1000, "no bill carries the change"
    upgrade = paid(0, reason="subscription_update", number="9")
    upgrade["data"]["object"]["parent"]["subscription_details"]["metadata"]["plan"] = "big"
    deliver("songs", upgrade, now=ANCHOR + timedelta(hours=2))
    assert balance(ADA, "songs") == 2500


def test_a_plan_that_left_the_catalog_is_dead_with_a_reason() -> None:
    deliver("songs", told("created", metadata={"customer": ADA, "plan": "gone"}), now=ANCHOR)
    ((state, error),) = database.read("SELECT state, error FROM inbox_event")
    assert state == "dead"
    assert "plan 'gone'" in error


def test_schedules_invoices_and_logins_at_once_grant_once() -> None:
    deliver("songs", told("created"), now=ANCHOR)
    deliver("songs", told("updated", 1), now=ANCHOR)
    moment = cycle(1)

    def any_way(number: int) -> None:
        try:
            if number % 3 == 0:
                tick(moment)
            elif number % 3 == 1:
                grants.grant_owed(app("songs"), ADA, now=moment)
            else:
                deliver("songs", paid(1), now=moment)
        finally:
            database.release()

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(any_way, range(24)))
    assert balance(ADA, "songs") == 2000


def _songs_with(**changes: Any) -> catalog.Catalog:
    from dataclasses import replace

    whole = catalog.current()
    songs = whole["songs"]
    plan = replace(songs.plans["pro"], **changes)
    return catalog.Catalog({**whole.apps, "songs": replace(songs, plans={"pro": plan})})


def test_units_of_a_cycle_roll_over_up_to_the_limit_of_the_catalog() -> None:
    change("songs", plans={"pro": replace(app("songs").plans["pro"], expires_after="period", rollover=60)})
    deliver("songs", told("created"), now=ANCHOR)
    deliver("songs", paid(0), now=ANCHOR)
    for number in (1, 2):
        deliver("songs", told("updated", number), now=cycle(number))
        deliver("songs", paid(number), now=cycle(number))
        assert balance(ADA, "songs") == 1060
    expired = [("expiry", -940), ("subscription_grant", 1000), ("expiry", -940), ("expiry", -60)]
    assert entries(ADA, "songs")[1:5] == expired
    assert all(check.ok for check in maintenance.check_books(now=cycle(2)))
