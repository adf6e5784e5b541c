"""What one story comes to must not hang on which of its events came first, nor on ids and figures that others wrote."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs import maintenance, runs
from models import cycles, database
from tests.support.cast import ADA, app, balance, deliver, entries, event_states
from tests.support.providers.shop import change
from tests.support.providers.stripe_events import charge, event, invoice, paid_session, subscription

pytestmark = pytest.mark.usefixtures("db")
DAY = timedelta(days=1)
BOTH_ORDERS = [(0, 1), (1, 0)]
Fetched = tuple[datetime, str, dict[str, Any]]


def tell(*told: Fetched, slug: str = "songs") -> None:
    for at, type_, thing in told:
        deliver(slug, event(type_, thing, created=at), now=at)


def clean(now: datetime) -> bool:
    return all(check.ok for check in maintenance.check_books(now=now))


def of(now: datetime, anchor: datetime, month: int, **more: Any) -> dict[str, Any]:
    start, end = cycles.cycle_start(anchor, month), cycles.cycle_start(anchor, month + 1)
    return subscription("songs", ADA, "pro", anchor=anchor, start=start, end=end, **more)


def paid(anchor: datetime, month: int, **more: Any) -> dict[str, Any]:
    start, end = cycles.cycle_start(anchor, month), cycles.cycle_start(anchor, month + 1)
    return invoice("songs", ADA, "pro", start=start, end=end, number=f"m{month}", **more)


@pytest.mark.parametrize("order", BOTH_ORDERS)
def test_an_old_subscription_of_which_we_hear_in_its_sixth_month_grants_that_one(
    now: datetime, order: tuple[int, ...]
) -> None:
    anchor = cycles.cycle_start(now, -5)
    told = [(now, "invoice.paid", paid(anchor, 5)), (now, "customer.subscription.updated", of(now, anchor, 5))]
    tell(*(told[number] for number in order))
    assert balance(ADA, "songs") == 1000
    later = cycles.cycle_start(anchor, 6)
    tell((later, "invoice.paid", paid(anchor, 6)))
    assert balance(ADA, "songs") == 2000
    assert clean(later)


@pytest.mark.parametrize("seconds", [-2, 2])
def test_an_anchor_that_differs_by_seconds_grants_no_month_twice(now: datetime, seconds: int) -> None:
    anchor = now + timedelta(seconds=seconds)
    tell((now, "invoice.paid", paid(now, 0)), (now + DAY, "customer.subscription.updated", of(now, anchor, 0)))
    assert balance(ADA, "songs") == 1000


@pytest.mark.parametrize("order", BOTH_ORDERS)
def test_a_larger_plan_that_begins_its_months_anew_grants_one_whole_month(
    now: datetime, order: tuple[int, ...]
) -> None:
    pro = app("songs").plans["pro"]
    change("songs", plans={"pro": pro, "mini": type(pro)("mini", 100, 500, "usd")})
    small = {"app": "songs", "customer": ADA, "plan": "mini"}
    tell((now, "customer.subscription.created", of(now, now, 0, metadata=small)))
    assert balance(ADA, "songs") == 100
    then = now + 19 * DAY
    told = [
        (then, "invoice.paid", paid(then, 0, reason="subscription_update")),
        (then, "customer.subscription.updated", of(now, then, 0)),
    ]
    tell(*(told[number] for number in order))
    assert balance(ADA, "songs") == 1100
    assert clean(then)


@pytest.mark.parametrize("order", BOTH_ORDERS)
def test_a_trial_grants_a_month_and_the_first_paid_month_another(now: datetime, order: tuple[int, ...]) -> None:
    trial_end = now + 14 * DAY
    trial = subscription("songs", ADA, "pro", anchor=trial_end, start=now, end=trial_end, status="trialing")
    nothing = invoice(
        "songs", ADA, "pro", start=now, end=trial_end, number="t", amount_paid=0, reason="subscription_create"
    )
    told = [(now, "customer.subscription.created", trial), (now, "invoice.paid", nothing)]
    tell(*(told[number] for number in order))
    assert balance(ADA, "songs") == 1000
    tell((trial_end, "invoice.paid", paid(trial_end, 0)), (trial_end, "invoice.paid", {**nothing, "id": "in_t"}))
    tell((trial_end, "customer.subscription.updated", of(now, trial_end, 0)))
    assert balance(ADA, "songs") == 2000
    assert clean(trial_end)


@pytest.mark.parametrize("is_prorated", [False, True])
@pytest.mark.parametrize("days", [9, 20])
@pytest.mark.parametrize("order", BOTH_ORDERS)
def test_the_days_before_a_fixed_billing_day_are_their_share_of_a_month(
    now: datetime, order: tuple[int, ...], days: int, is_prorated: bool
) -> None:
    billing_day = now + days * DAY
    held = subscription("songs", ADA, "pro", anchor=billing_day, start=now, end=billing_day)
    bill = {"amount_paid": 870, "reason": "subscription_create", "payment_intent": "pi_s"}
    stub = invoice("songs", ADA, "pro", start=now, end=billing_day, number="s", **bill)
    stub["lines"]["data"][0] |= {"amount": 870, "proration": is_prorated}
    told = [(now, "customer.subscription.created", held), (now, "invoice.paid", stub)]
    tell(*(told[number] for number in order))
    share = 1000 * days // (billing_day - cycles.cycle_start(billing_day, -1)).days
    assert balance(ADA, "songs") == share
    tell((billing_day, "invoice.paid", paid(billing_day, 0)))
    tell((billing_day, "customer.subscription.updated", of(now, billing_day, 0)))
    assert balance(ADA, "songs") == share + 1000
    tell((billing_day, "charge.refunded", charge(refunded=870, amount=870, number="s")))
    assert balance(ADA, "songs") == 1000
    assert clean(billing_day)


def test_an_upgrade_told_again_after_the_end_grants_nothing(now: datetime) -> None:
    upgrade = paid(now, 0, reason="subscription_update")
    tell((now, "customer.subscription.created", of(now, now, 0)), (now, "invoice.paid", upgrade))
    tell((now + 9 * DAY, "customer.subscription.deleted", of(now, now, 0, status="canceled")))
    later = now + 130 * DAY
    database.connection().execute("UPDATE inbox_event SET state = 'pending', next_attempt_at = %s", [later])
    tell((later, "invoice.paid", {**upgrade, "lines": {"object": "list", "data": []}}))
    assert balance(ADA, "songs") == 1000


def test_a_bill_for_something_else_grants_no_unpaid_month(now: datetime) -> None:
    tell((now, "customer.subscription.created", of(now, now, 0)))
    then = now + 40 * DAY
    tell((then, "customer.subscription.updated", of(now, now, 1, status="past_due")))
    tell((then, "invoice.paid", {**paid(now, 1, reason="manual", amount_paid=100), "lines": {"data": []}}))
    assert balance(ADA, "songs") == 1000


def test_a_late_event_that_names_fewer_ids_gives_nothing_back(now: datetime) -> None:
    """The invoice was told with its payment intent; the webhook that comes late does not name it."""
    tell((now, "customer.subscription.created", of(now, now, 0)))
    tell((now, "invoice.paid", paid(now, 0, payment_intent="pi_1")))
    tell((now, "charge.refunded", charge(refunded=2900, amount=2900)))
    assert balance(ADA, "songs") == 0
    tell((now, "invoice.paid", paid(now, 0)))
    assert balance(ADA, "songs") == 0
    assert clean(now)


def test_of_two_events_of_one_second_created_is_the_older_one(now: datetime) -> None:
    tell((now, "customer.subscription.updated", of(now, now, 0)))
    tell((now, "customer.subscription.created", of(now, now, 0, status="incomplete")))
    assert database.read("SELECT status FROM subscription") == [("active",)]
    runs.run("songs", "grant-monthly", now=now)
    assert balance(ADA, "songs") == 1000


def test_a_payment_intent_whose_checkout_was_lost_leaves_the_sale_to_its_session(now: datetime) -> None:
    """An older backup was restored, and the provider's events are played again."""
    metadata = {"app": "songs", "customer": ADA, "pack": "starter", "checkout": "lost"}
    intent = {"id": "pi_1", "amount_received": 2495, "currency": "usd", "metadata": metadata}
    session = paid_session("songs", ADA, "starter", line_items={"data": [{"quantity": 5}]}, metadata=metadata)
    tell((now, "payment_intent.succeeded", intent), (now, "checkout.session.completed", session))
    assert entries(ADA, "songs") == [("purchase", 500)]
    (state, reason), told = event_states("songs")
    assert (state, told) == ("ignored", ("done", None))
    assert "'lost', which this app did not create" in str(reason)
