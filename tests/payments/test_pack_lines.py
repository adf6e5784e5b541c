"""Packs on invoices: beside a plan, alone, or of a checkout that made the invoice."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from models import database
from tests.payments.test_reversals import clean
from tests.support.cast import ADA, BO, app, balance, deliver, entries, event_states
from tests.support.providers.shop import change, repack
from tests.support.providers.stripe_events import charge, dispute, event, invoice, paid_session, refund, subscription

pytestmark = pytest.mark.usefixtures("db")
APP = "songs"
SHAPES = ("before basil", "since basil")


@pytest.fixture(autouse=True)
def priced(db: str) -> None:
    """The packs and the plan have prices at Stripe: 100 credits for 4.99, 500 for 19.99, 1000 a month for 29.00."""
    for key in ("starter", "popular"):
        repack(APP, key, stripe_price=f"price_{key}")


def line(price: str, amount: int, *, shape: str = SHAPES[1], number: str = "2", **more: Any) -> dict[str, Any]:
    """A one-off line of an invoice."""
    written: dict[str, Any] = {
        "id": f"il_{number}",
        "object": "line_item",
        "amount": amount,
        "quantity": 1,
        "discount_amounts": [],
        "period": {"start": 1773144000, "end": 1773144000},
        "metadata": {},
    }
    if shape == SHAPES[0]:
        return {**written, "type": "invoiceitem", "proration": False, "price": {"id": price}, **more}
    details = {"type": "invoice_item_details", "invoice_item_details": {"proration": False}}
    return {**written, "parent": details, "pricing": {"price_details": {"price": price}}, **more}


def bill(
    now: datetime, *lines: dict[str, Any], shape: str = SHAPES[1], paid: int = 3399, **more: Any
) -> dict[str, Any]:
    """The first invoice of a plan for 29.00, with these lines before the plan's own."""
    told = invoice(APP, ADA, "pro", start=now, end=now + timedelta(days=31), reason="subscription_create")
    told |= {"amount_paid": paid, "total": paid, **more}
    told["lines"]["data"] = [*lines, {**told["lines"]["data"][0], "amount": 2900, "quantity": 1}]
    if shape == SHAPES[0]:
        details = told.pop("parent")["subscription_details"]
        return {
            **told,
            "subscription": details["subscription"],
            "subscription_details": details,
            "payment_intent": "pi_1",
        }
    return told


def alone(*lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An invoice without a subscription."""
    return {
        "id": "in_1",
        "object": "invoice",
        "customer": "cus_1",
        "billing_reason": "manual",
        "amount_paid": sum(max(0, each["amount"]) for each in lines),
        "currency": "usd",
        "livemode": False,
        "metadata": {"customer": ADA},
        "lines": {"object": "list", "data": list(lines)},
        **more,
    }


def tell(now: datetime, thing: dict[str, Any], type_: str = "invoice.paid") -> None:
    deliver(APP, event(type_, thing, created=now), now=now)


def linked(now: datetime) -> None:
    tell(now, {"id": "inpay_1", "invoice": "in_1", "payment": {"payment_intent": "pi_1"}}, "invoice_payment.paid")


# --- beside a plan


@pytest.mark.parametrize("shape", SHAPES)
def test_a_pack_beside_a_plan_is_bought_once(now: datetime, shape: str) -> None:
    told = bill(now, line("price_starter", 499, shape=shape), shape=shape)
    for type_ in ("invoice.paid", "invoice.payment_succeeded", "invoice.paid"):
        tell(now, told, type_)
    assert sorted(units for _, units in entries(ADA, APP)) == [100, 1000]
    assert database.read("SELECT pack, plan, amount_minor FROM payment") == [("starter", "pro", 3399)]
    assert {state for state, _ in event_states(APP)} == {"done"}
    assert clean(now)


def test_the_quantity_is_the_lines(now: datetime) -> None:
    tell(now, bill(now, line("price_starter", 1497, quantity=3), line("price_popular", 1999, number="3")))
    assert balance(ADA, APP) == 1000 + 300 + 500


def test_a_line_paid_by_a_coupon_counts_and_a_credit_or_a_line_of_nothing_never(now: datetime) -> None:
    coupon = line("price_starter", 0, discount_amounts=[{"amount": 499, "discount": "di_1"}])
    tell(now, bill(now, coupon, line("price_popular", -1999, number="3"), line("price_popular", 0, number="4")))
    assert balance(ADA, APP) == 1000 + 100


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_a_refund_takes_its_share_of_the_plan_and_of_the_packs(
    now: datetime, shape: str, order: tuple[int, ...]
) -> None:
    told = [
        ("invoice.paid", bill(now, line("price_starter", 499, shape=shape), shape=shape)),
        ("customer.subscription.created", plan_of(now)),
        ("invoice_payment.paid", {"id": "inpay_1", "invoice": "in_1", "payment": {"payment_intent": "pi_1"}}),
        ("refund.created", refund("re_1", 1700)),
    ]
    for place in (*order, *reversed(order)):
        tell(now, told[place][1], told[place][0])
    assert balance(ADA, APP) == 1000 - 1000 * 1700 // 3399 + 100 - 100 * 1700 // 3399
    assert database.read("SELECT state, refunded_minor FROM payment") == [("partly_refunded", 1700)]
    assert clean(now)


def plan_of(now: datetime) -> dict[str, Any]:
    return subscription(APP, ADA, "pro", anchor=now, start=now, end=now + timedelta(days=31))


def test_a_dispute_freezes_and_takes_the_plan_and_the_packs(now: datetime) -> None:
    tell(now, bill(now, line("price_starter", 499)))
    linked(now)
    tell(now, dispute(status="warning_needs_response", amount=3399), "charge.dispute.created")
    assert database.read("SELECT frozen FROM lot") == [(True,), (True,)]
    tell(now, dispute(status="lost", amount=3399), "charge.dispute.closed")
    assert balance(ADA, APP) == 0
    assert clean(now)
    tell(now + timedelta(days=1), dispute(status="won", amount=3399), "charge.dispute.closed")
    assert balance(ADA, APP) == 1100


# --- alone


@pytest.mark.parametrize("shape", SHAPES)
def test_an_invoice_without_a_subscription_sells_packs(now: datetime, shape: str) -> None:
    tell(now, alone(line("price_starter", 998, shape=shape, quantity=2), line("price_popular", 1999, number="3")))
    assert entries(ADA, APP) == [("purchase", 200), ("purchase", 500)]
    assert database.read("SELECT reference, amount_minor, state FROM payment") == [("in_1", 2997, "settled")]


def test_its_customer_may_be_the_providers(now: datetime) -> None:
    tell(now, alone(line("price_starter", 499), metadata={}))
    assert event_states(APP)[0][0] == "pending", "another event may name the customer"
    tell(now, paid_session(APP, BO, "starter", number="9") | {"customer": "cus_1"}, "checkout.session.completed")
    assert balance(BO, APP) == 200
    assert event_states(APP)[0] == ("done", None)


def test_an_invoice_of_no_pack_is_ignored(now: datetime) -> None:
    tell(now, alone(line("price_mug", 499)))
    assert event_states(APP) == [("ignored", "the invoice does not belong to a subscription")]


def test_a_refund_of_it_takes_every_packs_share(now: datetime) -> None:
    tell(now, alone(line("price_starter", 499), line("price_popular", 1999, number="3")))
    tell(now, charge(refunded=1249, amount=2498), "charge.refunded")
    linked(now)
    assert database.read("SELECT remaining FROM lot ORDER BY id") == [(50,), (250,)]
    assert clean(now)


# --- an invoice that a checkout made


def session(**more: Any) -> dict[str, Any]:
    return {**paid_session(APP, ADA, "starter"), "amount_total": 499, "amount_subtotal": 499, "invoice": "in_1", **more}


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
@pytest.mark.parametrize("named", [True, False])
def test_a_checkout_and_the_invoice_that_it_made_are_one_purchase(
    now: datetime, order: tuple[int, ...], named: bool
) -> None:
    paid = alone(line("price_starter", 499), metadata={"customer": ADA} if named else {})
    told = [
        ("checkout.session.completed", session(customer="cus_1")),
        ("invoice.paid", paid),
        ("invoice_payment.paid", {"id": "inpay_1", "invoice": "in_1", "payment": {"payment_intent": "pi_1"}}),
        ("charge.refunded", charge(refunded=0, amount=499)),
    ]
    for place in (*order, *order):
        tell(now, told[place][1], told[place][0])
    assert entries(ADA, APP) == [("purchase", 100)]
    assert database.read("SELECT count(*) FROM payment") == [(1,)]
    assert {state for state, _ in event_states(APP)} == {"done"}
    assert clean(now)


def test_a_checkout_and_its_invoice_at_once_are_one_purchase(now: datetime) -> None:
    for number in range(20):
        paid = alone(line("price_starter", 499), id=f"in_{number}")
        bought = session(id=f"cs_{number}", payment_intent=f"pi_{number}", invoice=f"in_{number}")
        told = [event("invoice.paid", paid, created=now), event("checkout.session.completed", bought, created=now)]
        barrier = threading.Barrier(2)

        def one(it: dict[str, Any], barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            deliver(APP, it, now=now)
            database.release()

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(one, told))
    assert balance(ADA, APP) == 20 * 100
    assert clean(now)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_session_that_names_no_pack_leaves_it_to_its_invoice(now: datetime, order: tuple[int, ...]) -> None:
    told = [
        ("checkout.session.completed", session(metadata={"customer": ADA}, amount_subtotal=2498, amount_total=2498)),
        ("invoice.paid", alone(line("price_starter", 499), line("price_popular", 1999, number="3"))),
    ]
    for place in order:
        tell(now, told[place][1], told[place][0])
    assert entries(ADA, APP) == [("purchase", 100), ("purchase", 500)]
    assert event_states(APP)[order.index(1)] == ("done", None)


def test_a_plans_price_and_a_packs_are_told_apart(now: datetime) -> None:
    plans = app(APP).plans
    change(APP, plans={**plans, "pro": replace(plans["pro"], stripe_price="price_pro")})
    told = bill(now, line("price_starter", 499))
    told["lines"]["data"][1]["pricing"] = {"price_details": {"price": "price_pro"}}
    tell(now, told)
    assert balance(ADA, APP) == 1100
