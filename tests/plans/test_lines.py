"""Subscriptions and invoices that hold more than the plan: add-ons, fees, bills that were sent to be paid by hand."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobs import maintenance, runs
from models import cycles
from tests.support.cast import ADA, app, balance, deliver, event_states
from tests.support.providers.shop import change
from tests.support.providers.stripe_events import charge, event, invoice, subscription

pytestmark = pytest.mark.usefixtures("db")
APP, PRICE = "songs", "price_pro"
SHAPES = pytest.mark.parametrize("is_new", [True, False], ids=["new", "old"])
Fetched = tuple[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def priced(db: str) -> None:
    change(APP, plans={"pro": replace(app(APP).plans["pro"], stripe_price=PRICE)})


def tell(at: datetime, *told: Fetched) -> None:
    for type_, thing in told:
        deliver(APP, event(type_, thing, created=at), now=at)
    assert {state for state, _ in event_states(APP)} <= {"done", "ignored"}, event_states(APP)


def line(price: str, start: datetime, end: datetime, *, is_new: bool, is_fee: bool = False) -> dict[str, Any]:
    """A line of an invoice, in either shape."""
    made = {
        "id": f"il_{price}",
        "amount": 500,
        "period": {"start": int(start.timestamp()), "end": int(end.timestamp())},
        "metadata": {},
    }
    if not is_new:
        kind = "invoiceitem" if is_fee else "subscription"
        return {**made, "type": kind, "proration": False, "price": {"id": price}}
    kind = "invoice_item_details" if is_fee else "subscription_item_details"
    parent = {"type": kind, kind: {"proration": False}}
    return {**made, "parent": parent, "pricing": {"price_details": {"price": price}}}


def bill(start: datetime, end: datetime, *lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    made = invoice(APP, ADA, "", start=start, end=end, reason="subscription_create", payment_intent="pi_1", **more)
    made["parent"]["subscription_details"]["metadata"] = {"app": APP, "customer": ADA}
    return {**made, "lines": {"object": "list", "data": list(lines)}}


def held(start: datetime, end: datetime, *prices: str, **more: Any) -> dict[str, Any]:
    made = subscription(APP, ADA, "", anchor=start, start=start, end=end, **more)
    (item,) = made["items"]["data"]
    items = [{**item, "id": f"si_{price}", "price": {"id": price}} for price in prices or (PRICE,)]
    return {**made, "metadata": {"app": APP, "customer": ADA}, "items": {"object": "list", "data": items}}


def fees(start: datetime, *, is_new: bool) -> list[dict[str, Any]]:
    """Billed once: at the same second, and a second after it."""
    later = start + timedelta(seconds=1)
    return [line("price_fee", at, at, is_new=is_new, is_fee=True) for at in (start, later)]


@SHAPES
@pytest.mark.parametrize("refunded", [2900, 1450])
@pytest.mark.parametrize("is_fee_first", [True, False])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_fee_on_the_bill_is_not_what_the_month_was_paid_with(
    order: tuple[int, ...], is_fee_first: bool, refunded: int, is_new: bool, now: datetime
) -> None:
    end = cycles.cycle_start(now, 1)
    lines = [*fees(now, is_new=is_new), line(PRICE, now, end, is_new=is_new)]
    told: list[Fetched] = [
        ("customer.subscription.created", held(now, end)),
        ("invoice.paid", bill(now, end, *(lines if is_fee_first else lines[::-1]))),
        ("charge.refunded", charge(refunded=refunded, amount=2900)),
    ]
    tell(now, *(told[each] for each in order))
    assert balance(ADA, APP) == 1000 - 1000 * refunded // 2900
    assert all(check.ok for check in maintenance.check_books(now=now))


@SHAPES
def test_a_year_with_a_fee_is_granted_month_by_month(is_new: bool, now: datetime) -> None:
    end = cycles.cycle_start(now, 12)
    plan = line(PRICE, now, end, is_new=is_new)
    tell(
        now,
        ("customer.subscription.created", held(now, end, status="incomplete")),
        ("invoice.paid", bill(now, end, plan, *fees(now, is_new=is_new))),
        ("customer.subscription.deleted", held(now, end, status="canceled")),
    )
    for _ in runs.chunks("grant-monthly", now=cycles.cycle_start(now, 3)):
        pass
    assert balance(ADA, APP) == 4000, "the year was paid for, and the end of the subscription does not undo that"


@SHAPES
@pytest.mark.parametrize("prices", list(itertools.permutations(["price_seats", PRICE, "price_support"])))
@pytest.mark.parametrize("is_invoice_first", [False, True])
def test_the_plan_is_found_among_other_things_that_are_sold_with_it(
    is_invoice_first: bool, prices: tuple[str, ...], is_new: bool, now: datetime
) -> None:
    end = cycles.cycle_start(now, 1)
    told: list[Fetched] = [
        ("customer.subscription.created", held(now, end, *prices)),
        ("invoice.paid", bill(now, end, *(line(price, now, end, is_new=is_new) for price in prices))),
    ]
    for each in told[::-1] if is_invoice_first else told:
        tell(now, each)
        assert balance(ADA, APP) == 1000


@SHAPES
def test_a_bill_that_was_sent_grants_its_month_when_it_is_paid(is_new: bool, now: datetime) -> None:
    end = cycles.cycle_start(now, 1)
    sent = bill(now, end, line(PRICE, now, end, is_new=is_new), status="open", collection_method="send_invoice")
    running = ("customer.subscription.created", held(now, end, latest_invoice="in_1"))
    tell(now, ("invoice.finalized", {**sent, "amount_paid": 0}), running)
    assert balance(ADA, APP) == 0
    tell(now + timedelta(days=9), ("invoice.paid", {**sent, "status": "paid"}))
    assert balance(ADA, APP) == 1000
    tell(now + timedelta(days=9), ("invoice.finalized", {**sent, "amount_paid": 0}))
    assert balance(ADA, APP) == 1000


def test_a_bill_that_is_not_paid_yet_covers_nothing_whatever_the_status_says(now: datetime) -> None:
    end = cycles.cycle_start(now, 1)
    finalized = bill(now, end, line(PRICE, now, end, is_new=True), status="open", amount_paid=0)
    finalized["collection_method"] = "charge_automatically"
    tell(now, ("invoice.finalized", finalized), ("customer.subscription.created", held(now, end)))
    assert balance(ADA, APP) == 0
    tell(now, ("invoice.paid", {**finalized, "status": "paid", "amount_paid": 2900}))
    assert balance(ADA, APP) == 1000
