"""One story in the payloads of before basil and since: the ledger is the same. And one Stripe account for two apps."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs import runs
from models import database
from tests.support.cast import ADA, balance, deliver, event_states
from tests.support.providers.stripe_events import charge, event, invoice, paid_session, refund, subscription

pytestmark = pytest.mark.usefixtures("db")
LEDGER = """
SELECT a.customer, e.type, e.amount, e.key, e.balance_after FROM entry e JOIN account a ON a.id = e.account_id
ORDER BY e.id
"""
PAYMENTS = "SELECT plan, pack, amount_minor, refunded_minor, state FROM payment ORDER BY id"


def old_subscription(it: dict[str, Any]) -> dict[str, Any]:
    """The period on the subscription itself."""
    item = {**it["items"]["data"][0]}
    period = {name: item.pop(name) for name in ("current_period_start", "current_period_end")}
    return {**it, **period, "items": {"object": "list", "data": [item]}}


def old_invoice(it: dict[str, Any], intent: str) -> dict[str, Any]:
    """The subscription and the payment on the invoice, the price on the line."""
    details = it["parent"]["subscription_details"]
    line = {**it["lines"]["data"][0]}
    line["price"] = {"id": line.pop("pricing")["price_details"]["price"]}
    rest = {name: value for name, value in it.items() if name not in ("parent", "lines")}
    return {
        **rest,
        "subscription": details["subscription"],
        "subscription_details": {"metadata": details["metadata"]},
        "payment_intent": intent,
        "lines": {"object": "list", "data": [line]},
    }


def story(now: datetime, old: bool) -> tuple[list[Any], list[Any]]:
    """Subscribed, renewed, a month refunded in part, ended."""
    second = now + timedelta(days=31)
    third = second + timedelta(days=30)
    told: list[tuple[datetime, str, dict[str, Any]]] = []

    def subscribed(at: datetime, end: datetime, kind: str, **more: Any) -> None:
        it = subscription("songs", ADA, "pro", anchor=now, start=at, end=end, **more)
        told.append((at, f"customer.subscription.{kind}", old_subscription(it) if old else it))

    def paid(at: datetime, end: datetime, number: str) -> None:
        it = invoice("songs", ADA, "pro", start=at, end=end, number=number)
        told.append((at, "invoice.paid", old_invoice(it, f"pi_{number}") if old else it))
        if not old:
            of = {"type": "payment_intent", "payment_intent": f"pi_{number}"}
            known = {"id": f"inpay_{number}", "object": "invoice_payment", "invoice": f"in_{number}", "payment": of}
            told.append((at, "invoice_payment.paid", known))

    subscribed(now, second, "created")
    paid(now, second, "1")
    subscribed(second, third, "updated")
    paid(second, third, "2")
    money = {"amount": 2900, "number": "2"}
    told.append((second, "charge.refunded", charge(refunded=1450, **money, **({"invoice": "in_2"} if old else {}))))
    told.append((second, "refund.created", refund("re_1", 1450, number="2")))
    subscribed(second + timedelta(days=1), third, "deleted", status="canceled")
    for at, type_, thing in told:
        deliver("songs", event(type_, thing, created=at), now=at)
    assert {state for state, _ in event_states("songs")} == {"done"}
    return database.read(LEDGER), database.read(PAYMENTS)


def test_both_shapes_of_a_story_give_the_same_ledger(now: datetime) -> None:
    new = story(now, old=False)
    tables = "account, lot, entry, allocation, payment, payment_return, subscription, inbox_event, activation_key"
    database.connection().execute(f"TRUNCATE {tables}, provider_customer RESTART IDENTITY CASCADE")
    old = story(now, old=True)
    assert new == old
    assert [row[2] for row in new[0]] == [1000, 1000, -500]
    assert new[1][1] == ("pro", None, 2900, 1450, "partly_refunded")


def test_two_apps_on_one_account_never_get_each_others_credit(now: datetime) -> None:
    """The provider sends every event to every receiver of the account."""
    told = [
        event("checkout.session.completed", paid_session("ai-services", ADA, "starter"), created=now),
        event("checkout.session.completed", paid_session("songs", ADA, "starter", number="2"), created=now),
        event("charge.refunded", charge(refunded=500), created=now),
    ]
    for it in told:
        for slug in ("ai-services", "songs", "echomind"):
            deliver(slug, it, now=now)
    assert (balance(ADA, "ai-services"), balance(ADA, "songs"), balance(ADA, "echomind")) == (50, 100, 0)
    assert [state for state, _ in event_states("ai-services")] == ["done", "ignored", "done"]
    assert [state for state, _ in event_states("echomind")] == ["ignored", "ignored", "done"]


def test_a_paused_subscription_grants_nothing_until_it_goes_on(now: datetime) -> None:
    end = now + timedelta(days=365)
    it = subscription("songs", ADA, "pro", anchor=now, start=now, end=end)
    deliver("songs", event("customer.subscription.created", it, created=now), now=now)
    paused = {**it, "pause_collection": {"behavior": "void"}}
    later = now + timedelta(days=2)
    deliver("songs", event("customer.subscription.updated", paused, created=later), now=later)
    runs.run("songs", "grant-monthly", now=now + timedelta(days=40))
    assert balance(ADA, "songs") == 1000
    again = now + timedelta(days=45)
    deliver("songs", event("customer.subscription.resumed", it, created=again), now=again)
    assert balance(ADA, "songs") == 1000, "the month that began in the pause was not paid for"
    runs.run("songs", "grant-monthly", now=now + timedelta(days=62))
    assert balance(ADA, "songs") == 2000


def test_a_pause_takes_nothing_that_was_paid_before_it(now: datetime) -> None:
    it = subscription("songs", ADA, "pro", anchor=now, start=now, end=now + timedelta(days=365))
    deliver("songs", event("customer.subscription.created", it, created=now), now=now)
    year = invoice("songs", ADA, "pro", start=now, end=now + timedelta(days=365), amount_paid=29000)
    deliver("songs", event("invoice.paid", year, created=now), now=now)
    for day, change in ((2, {"pause_collection": {"behavior": "void"}}), (70, {})):
        at = now + timedelta(days=day)
        deliver("songs", event("customer.subscription.updated", {**it, **change}, created=at), now=at)
    assert balance(ADA, "songs") == 3000


@pytest.mark.parametrize("named", [None, "gone"])
def test_an_upgrade_to_a_price_that_the_catalog_does_not_know_is_noted_and_the_rest_is_taken_over(
    named: str | None, now: datetime
) -> None:
    month = {"start": now, "end": now + timedelta(days=31)}
    it = subscription("songs", ADA, "pro", anchor=now, **month)
    deliver("songs", event("customer.subscription.created", it, created=now), now=now)
    before = {"items": {"data": [{**it["items"]["data"][0]}]}}
    changed = copy.deepcopy(it) | {"status": "past_due"}
    changed["items"]["data"][0]["price"] = {"id": "price_unheard_of"}
    told = event("customer.subscription.updated", changed, created=now + timedelta(days=3))
    told["data"]["previous_attributes"] = before if named is None else before | {"metadata": {"plan": named}}
    deliver("songs", told, now=now + timedelta(days=3))
    assert database.read("SELECT plan, status FROM subscription") == [("pro", "past_due")]
    state, note = event_states("songs")[-1]
    assert state == "done"
    assert ("price_unheard_of" in str(note)) is (named is None)
