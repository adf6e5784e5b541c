"""What a plan granted follows the money of whoever paid for it: base, upgrade, or a whole year."""

from __future__ import annotations

import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs import maintenance, runs
from jobs.inbox import events
from models import cycles, database
from models.ledger import balances
from models.payments import listing
from tests.support.cast import ADA, BO, app, balance, deliver, entries, event_states
from tests.support.providers.shop import change
from tests.support.providers.stripe_events import charge, dispute, event, invoice, refund, subscription

pytestmark = pytest.mark.usefixtures("db")
APP = "songs"
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def plans(db: str) -> None:
    """A small plan beside the thousand credits of `pro`."""
    pro = app(APP).plans["pro"]
    change(
        APP, plans={"pro": pro, "mini": type(pro)("mini", 100, 500, "usd"), "max": type(pro)("max", 3000, 9000, "usd")}
    )


def tell(at: datetime, type_: str, thing: dict[str, Any], *, on: datetime | None = None) -> None:
    deliver(APP, event(type_, thing, created=at), now=on or at)


def has(
    plan: str, now: datetime, *, customer: str = ADA, days: int = 31, number: str = "1", **more: Any
) -> dict[str, Any]:
    """The subscription on a plan, from `now` on for so many days."""
    return subscription(APP, customer, plan, anchor=now, start=now, end=now + days * DAY, number=number, **more)


def bill(
    plan: str, now: datetime, paid: int, *, customer: str = ADA, days: int = 31, number: str = "1", **more: Any
) -> dict[str, Any]:
    """The invoice of a period of so many days, paid by the payment intent of the same number."""
    return invoice(
        APP, customer, plan, start=now, end=now + days * DAY, amount_paid=paid, payment_intent=f"pi_{number}",
        number=number, **more,
    )  # fmt: skip


def upgrade_bill(
    plan: str, at: datetime, end: datetime, paid: int, *, number: str = "2", **more: Any
) -> dict[str, Any]:
    """What Stripe bills at once for a change of the plan: only prorations."""
    made = bill(plan, at, paid, number=number, reason="subscription_update", **more)
    period = {"start": int(at.timestamp()), "end": int(end.timestamp())}
    proration = {"type": "subscription_item_details", "subscription_item_details": {"proration": True}}
    lines = [{"id": f"il_{number}a", "amount": -200, "period": period, "parent": proration, "metadata": {}}]
    lines.append({"id": f"il_{number}b", "amount": paid + 200, "period": period, "parent": proration, "metadata": {}})
    return {**made, "lines": {"object": "list", "data": lines}}


def clean(now: datetime) -> bool:
    assert [check.failures for check in maintenance.check_books(now=now) if not check.ok] == []
    return True


def frozen(now: datetime) -> list[bool]:
    return [lot["frozen"] for lot in balances.current(app(APP), ADA, now=now)["lots"]]


# --- an upgrade within a month


# Nine hundred credits more for 21 of 31 days.
MORE = 900 * 21 // 31


def begin(now: datetime) -> datetime:
    """A hundred credits for five dollars, and the share of nine hundred more for ten after ten days."""
    then = now + 10 * DAY
    tell(now, "customer.subscription.created", has("mini", now))
    tell(now, "invoice.paid", bill("mini", now, 500))
    tell(then, "customer.subscription.updated", has("pro", now))
    tell(then, "invoice.paid", upgrade_bill("pro", then, now + 31 * DAY, 1000))
    assert entries(ADA, APP) == [("subscription_grant", 100), ("subscription_grant", MORE)]
    return then


def test_a_refund_of_the_upgrade_takes_what_the_upgrade_granted(now: datetime) -> None:
    then = begin(now)
    tell(then, "charge.refunded", charge(refunded=500, number="2"))
    assert balance(ADA, APP) == 100 + MORE - MORE // 2
    tell(then, "charge.refunded", charge(refunded=1000, number="2"))
    assert balance(ADA, APP) == 100
    assert clean(then)


def test_a_refund_of_the_month_takes_what_the_month_granted_before_the_upgrade(now: datetime) -> None:
    then = begin(now)
    tell(then, "charge.refunded", charge(refunded=500, amount=500))
    assert balance(ADA, APP) == MORE
    assert clean(then)


def test_payments_tell_the_units_that_each_of_them_bought(now: datetime) -> None:
    then = begin(now)
    paid, _ = listing.for_customer(app(APP), ADA, now=then)
    assert [(it["plan"], it["units"], it["credit"]) for it in paid] == [
        ("pro", MORE, "unredeemed"),
        ("mini", 100, "unredeemed"),
    ]


def story(now: datetime, customer: str, number: str) -> list[tuple[datetime, str, dict[str, Any]]]:
    """A month with an upgrade, both paid and both refunded: half of the month's money, all of the upgrade's."""
    then, one, two = now + 10 * DAY, f"a{number}", f"b{number}"
    on = {"customer": customer, "subscription_number": one}
    return [
        (now, "customer.subscription.created", has("mini", now, customer=customer, number=one)),
        (now, "invoice.paid", bill("mini", now, 500, number=one, **on)),
        (then, "customer.subscription.updated", has("pro", now, customer=customer, number=one)),
        (then, "invoice.paid", upgrade_bill("pro", then, now + 31 * DAY, 1000, number=two, **on)),
        (then, "charge.refunded", charge(refunded=250, amount=500, number=one)),
        (then, "charge.refunded", charge(refunded=1000, number=two)),
    ]


def settle_what_waits(now: datetime) -> None:
    database.connection().execute("UPDATE inbox_event SET next_attempt_at = %s WHERE state = 'pending'", [now])
    while events.apply_pending(now=now):
        pass


def test_every_order_of_a_month_with_an_upgrade_ends_the_same(now: datetime) -> None:
    """All orders of its first five events, each with a customer of its own and with every event told twice."""
    dice, then = random.Random(11), now + 10 * DAY
    for place, order in enumerate(itertools.permutations(range(5))):
        told = story(now, f"c{place}", str(place))
        for at, type_, thing in [*(told[step] for step in order), *dice.sample(told, len(told))]:
            tell(at, type_, thing, on=then)
        settle_what_waits(then)
        assert balance(f"c{place}", APP) == 100 - 50, [told[step][1] for step in order]
    assert clean(then)
    assert {state for state, _ in event_states(APP)} == {"done"}


def test_a_month_with_an_upgrade_that_many_tell_of_at_once_ends_the_same(now: datetime) -> None:
    dice, then = random.Random(12), now + 10 * DAY

    def one(told: tuple[datetime, str, dict[str, Any]]) -> None:
        tell(told[0], told[1], told[2], on=then)
        database.release()

    for place in range(10):
        told = story(now, f"c{place}", str(place)) * 2
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(one, dice.sample(told, len(told))))
        settle_what_waits(then)
        assert balance(f"c{place}", APP) == 100 - 50
    assert clean(then)
    assert {state for state, _ in event_states(APP)} == {"done"}


def test_the_later_months_of_an_upgraded_year_are_shared_by_both_payments(now: datetime) -> None:
    then, year_end = now + 10 * DAY, now + 365 * DAY
    tell(now, "customer.subscription.created", has("mini", now, days=365))
    tell(now, "invoice.paid", bill("mini", now, 5000, days=365))
    tell(then, "customer.subscription.updated", has("pro", now, days=365))
    tell(then, "invoice.paid", upgrade_bill("pro", then, year_end, 20000))
    later = now + 70 * DAY
    runs.run(APP, "grant-monthly", now=later)
    assert balance(ADA, APP) == 300 + MORE + 2 * 900
    tell(later, "charge.refunded", charge(refunded=20000, amount=20000, number="2"))
    assert balance(ADA, APP) == 300
    runs.run(APP, "grant-monthly", now=later + 31 * DAY)
    assert balance(ADA, APP) == 400, "the year on the small plan is paid"
    tell(later, "charge.refunded", charge(refunded=2500, amount=5000))
    assert balance(ADA, APP) == 200
    assert clean(later)


def test_of_two_upgrades_each_payment_takes_its_own_back(now: datetime) -> None:
    then = begin(now)
    tell(then + DAY, "customer.subscription.updated", has("max", now))
    tell(then + DAY, "invoice.paid", upgrade_bill("max", then + DAY, now + 31 * DAY, 4000, number="3"))
    most = 2000 * 20 // 31
    assert balance(ADA, APP) == 100 + MORE + most
    tell(then + DAY, "charge.refunded", charge(refunded=1000, number="2"))
    assert balance(ADA, APP) == 100 + most
    tell(then + DAY, "charge.refunded", charge(refunded=4000, amount=4000, number="3"))
    assert balance(ADA, APP) == 100
    assert clean(then)


# --- a year that is granted by the month


def subscribe_for_a_year(now: datetime) -> None:
    tell(now, "customer.subscription.created", has("pro", now, days=365))
    tell(now, "invoice.paid", bill("pro", now, 29000, days=365))


def test_months_that_begin_after_a_partial_refund_of_the_year_are_granted_in_part(now: datetime) -> None:
    subscribe_for_a_year(now)
    tell(now + DAY, "charge.refunded", charge(refunded=14500, amount=29000))
    assert balance(ADA, APP) == 500
    later = now + 70 * DAY
    runs.run(APP, "grant-monthly", now=later)
    assert balance(ADA, APP) == 1500
    tell(later, "refund.failed", refund("re_1", 14500, status="failed"))
    assert balance(ADA, APP) == 3000
    assert clean(later)


def test_an_inquiry_freezes_the_months_that_are_there_and_those_to_come(now: datetime) -> None:
    tell(now, "customer.subscription.created", has("pro", now, days=365))
    tell(now, "charge.dispute.created", dispute(status="warning_needs_response", amount=29000))
    assert frozen(now) == [False], "nobody knows yet that it is about this"
    tell(now, "invoice.paid", bill("pro", now, 29000, days=365))
    assert frozen(now) == [True], "granted before its invoice came"
    runs.run(APP, "grant-monthly", now=now + 70 * DAY)
    assert frozen(now) == [True, True, True]
    tell(now + 70 * DAY, "charge.dispute.closed", dispute(status="warning_closed", amount=29000))
    assert frozen(now) == [False, False, False]
    assert clean(now + 70 * DAY)


# --- what is told late


def test_an_upgrade_that_no_bill_carries_waits_for_one(now: datetime) -> None:
    tell(now, "customer.subscription.created", has("mini", now))
    tell(now, "invoice.paid", bill("mini", now, 500))
    late = now + 40 * DAY
    tell(now + 10 * DAY, "customer.subscription.updated", has("pro", now), on=late)
    assert entries(ADA, APP) == [("subscription_grant", 100)]
    tell(now + 31 * DAY, "invoice.paid", bill("pro", now + 31 * DAY, 2900, number="3"), on=late)
    assert balance(ADA, APP) == 100 + 1000


def test_a_plan_that_was_fetched_anew_for_an_old_event_is_not_granted_to_the_old_month(now: datetime) -> None:
    tell(now, "customer.subscription.created", has("mini", now))
    tell(now, "invoice.paid", bill("mini", now, 500))
    february = cycles.cycle_start(now, 1)
    tell(february, "invoice.paid", bill("mini", february, 500, number="2"))
    since = subscription(APP, ADA, "pro", anchor=now, start=february, end=cycles.cycle_start(now, 2))
    tell(now + 10 * DAY, "customer.subscription.updated", since, on=february + 10 * DAY)
    assert balance(ADA, APP) == 100 + 100


def test_a_late_invoice_of_the_small_plan_does_not_bring_that_plan_back(now: datetime) -> None:
    begin(now)
    next_month = cycles.cycle_start(now, 1)
    tell(next_month, "invoice.paid", bill("mini", now, 500))
    tell(
        next_month,
        "customer.subscription.updated",
        {**has("pro", now, days=62), "items": has("pro", now, days=62)["items"]},
    )
    assert database.read("SELECT plan FROM subscription") == [("pro",)]
    runs.run(APP, "grant-monthly", now=next_month)
    assert balance(ADA, APP) == 100 + MORE, "the next month has no bill yet"


def test_a_larger_catalog_grants_a_month_that_was_granted_nothing_more(now: datetime) -> None:
    tell(now, "customer.subscription.created", has("mini", now))
    small = app(APP).plans["mini"]
    change(APP, plans={"mini": type(small)("mini", 150, 500, "usd")})
    tell(now + DAY, "customer.subscription.updated", has("mini", now))
    tell(now + DAY, "invoice.paid", bill("mini", now, 500))
    assert balance(ADA, APP) == 100


def test_a_subscription_that_only_its_checkout_names_waits_for_it(now: datetime) -> None:
    """A payment link makes subscriptions without metadata; their events come at once, in any order."""
    nameless = {**has("pro", now, metadata={"plan": "pro"})}
    tell(now, "customer.subscription.created", nameless)
    [(state, error)] = event_states(APP)
    assert state == "pending"
    assert "no checkout that came so far names 'cus_1'" in error
    session = {
        "id": "cs_1",
        "mode": "subscription",
        "payment_status": "paid",
        "customer": "cus_1",
        "subscription": "sub_1",
    }
    tell(now, "checkout.session.completed", {**session, "client_reference_id": BO, "metadata": {}})
    later = now + timedelta(minutes=1)
    while events.apply_pending(now=later):
        pass
    assert balance(BO, APP) == 1000
    assert {state for state, _ in event_states(APP)} == {"done"}


@pytest.mark.parametrize("type_", ["invoice.voided", "invoice.marked_uncollectible"])
def test_a_bill_that_is_given_up_is_not_paid(now: datetime, type_: str) -> None:
    tell(now, "customer.subscription.created", has("pro", now))
    tell(now, "invoice.paid", bill("pro", now, 2900))
    then = now + 31 * DAY
    tell(then, type_, bill("pro", then, 0, number="2"))
    renewed = subscription(APP, ADA, "pro", anchor=now, start=then, end=then + 30 * DAY)
    tell(then, "customer.subscription.updated", renewed)
    runs.run(APP, "grant-monthly", now=then + DAY)
    assert balance(ADA, APP) == 1000


def test_an_invoice_that_two_charges_paid_is_refunded_by_both(now: datetime) -> None:
    tell(now, "customer.subscription.created", has("pro", now))
    tell(now, "invoice.paid", bill("pro", now, 2900))
    for number in ("1", "2"):
        paid = {"id": f"inpay_{number}", "invoice": "in_1", "payment": {"payment_intent": f"pi_{number}"}}
        tell(now, "invoice_payment.paid", paid)
    tell(now, "charge.refunded", charge(refunded=290, amount=1450, number="1"))
    tell(now, "charge.refunded", charge(refunded=580, amount=1450, number="2"))
    tell(now, "refund.created", refund("re_2", 580, number="2"))
    assert balance(ADA, APP) == 700
    assert clean(now)


def test_a_year_that_was_billed_twice_goes_on_when_one_of_the_bills_is_refunded(now: datetime) -> None:
    subscribe_for_a_year(now)
    tell(now, "invoice.paid", bill("pro", now, 29000, days=365, number="2"))
    tell(now + DAY, "charge.refunded", charge(refunded=29000, amount=29000, number="2"))
    runs.run(APP, "grant-monthly", now=now + 70 * DAY)
    assert balance(ADA, APP) == 3000
    assert clean(now + 70 * DAY)


def test_a_year_that_is_paid_after_a_pause_began_owes_the_months_of_the_pause(now: datetime) -> None:
    paused = has("pro", now, days=365, pause_collection={"behavior": "void"})
    tell(now, "customer.subscription.created", has("pro", now, days=365))
    tell(now + 20 * DAY, "customer.subscription.updated", paused)
    runs.run(APP, "grant-monthly", now=now + 70 * DAY)
    assert balance(ADA, APP) == 1000
    tell(now + 70 * DAY, "invoice.paid", bill("pro", now, 29000, days=365))
    assert balance(ADA, APP) == 3000


def test_a_pause_that_is_told_of_again_began_when_it_began(now: datetime) -> None:
    paused = has("pro", now, days=365, pause_collection={"behavior": "void"})
    tell(now, "customer.subscription.created", has("pro", now, days=365))
    for day in (20, 35, 65):
        tell(now + day * DAY, "customer.subscription.updated", paused)
    tell(now + 70 * DAY, "customer.subscription.updated", has("pro", now, days=365))
    runs.run(APP, "grant-monthly", now=now + 75 * DAY)
    assert balance(ADA, APP) == 1000
    runs.run(APP, "grant-monthly", now=now + 95 * DAY)
    assert balance(ADA, APP) == 2000


def test_a_refund_that_failed_after_the_next_month_was_paid_owes_its_months_again(now: datetime) -> None:
    """Half a year paid at once, refunded before its third month, and the next half year paid."""
    half = cycles.cycle_start(now, 6)
    days = (half - now).days
    tell(now, "customer.subscription.created", has("pro", now, days=days))
    tell(now, "invoice.paid", bill("pro", now, 15000, days=days))
    tell(now + 35 * DAY, "charge.refunded", charge(refunded=15000, amount=15000))
    tell(half, "invoice.paid", bill("pro", half, 15000, days=181, number="2"))
    runs.run(APP, "grant-monthly", now=half + DAY)
    assert balance(ADA, APP) == 1000
    tell(half + DAY, "refund.failed", refund("re_1", 15000, status="failed"))
    assert balance(ADA, APP) == 7000
    assert clean(half + DAY)


def test_a_bill_that_is_told_again_after_its_refund_brings_no_months_back(now: datetime) -> None:
    subscribe_for_a_year(now)
    tell(now + DAY, "charge.refunded", charge(refunded=29000, amount=29000))
    told = entries(ADA, APP)
    tell(now + DAY, "invoice.paid", bill("pro", now, 29000, days=365))
    runs.run(APP, "grant-monthly", now=now + 70 * DAY)
    assert entries(ADA, APP) == told, "nothing is granted, and so nothing is taken back"
