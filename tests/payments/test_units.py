"""Units follow the money: sessions made elsewhere, whose quantity nobody wrote down."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from jobs.inbox import events
from models import database
from models.inbox import events as inbox
from models.ledger import explain
from tests.payments.test_reversals import clean
from tests.providers.paypal.test_events import deliver as deliver_paypal
from tests.support.cast import ADA, BO, app, balance, deliver, entries, event_states
from tests.support.providers import paypal_events
from tests.support.providers.shop import change, repack
from tests.support.providers.stripe_events import charge, event, paid_session

pytestmark = pytest.mark.usefixtures("db")
APP = "ai-services"


@pytest.fixture(autouse=True)
def priced(db: str) -> None:
    """The packs have prices at Stripe. Ten dollars buy a starter, of which eight are accepted."""
    for key in ("starter", "pro"):
        repack(APP, key, stripe_price=f"price_{key}")
    repack(APP, "starter", min_price_minor=800)


def tell(now: datetime, **more: Any) -> None:
    """A session that was made elsewhere, for what `amount_subtotal` says."""
    given = {"amount_total": more.get("amount_subtotal"), **more}
    session = paid_session(APP, ADA, "starter") | given
    deliver(APP, event("checkout.session.completed", session, created=now), now=now)


def note() -> str | None:
    """The note of the only event, which is also on what it granted."""
    ((id_,),) = database.read("SELECT id FROM inbox_event")
    told = inbox.get(APP, id_)
    assert told["state"] == "done"
    (lot,) = explain.for_customer(app(APP), ADA, now=told["received_at"])["lots"]
    assert lot["note"] == told["error"]
    return told["error"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(("paid", "units"), [(1000, 100), (3000, 300), (10000, 1000)])
def test_a_whole_multiple_of_the_price_buys_as_many_packs(now: datetime, paid: int, units: int) -> None:
    tell(now, amount_subtotal=paid)
    assert (balance(ADA), note()) == (units, None)
    assert database.read("SELECT quantity, amount_minor FROM payment") == [(units // 100, paid)]


def test_discount_and_tax_change_no_quantity(now: datetime) -> None:
    tell(now, amount_subtotal=2000, amount_total=1190, total_details={"amount_discount": 1000, "amount_tax": 190})
    assert (balance(ADA), note()) == (200, None)


def test_a_session_paid_by_a_coupon_buys_what_it_would_have_cost(now: datetime) -> None:
    tell(now, amount_subtotal=2000, amount_total=0, payment_status="no_payment_required", payment_intent=None)
    assert balance(ADA) == 200


@pytest.mark.parametrize("paid", [800, 999, 1001, 2500])
def test_any_other_amount_buys_one_pack_with_a_note(now: datetime, paid: int) -> None:
    tell(now, amount_subtotal=paid)
    assert balance(ADA) == 100
    written = f"{paid // 100}.{paid % 100:02d} usd were paid for starter, which costs 10.00 usd: one pack was credited"
    assert note() == written


@pytest.mark.parametrize("paid", [0, 1, 799])
def test_less_than_the_least_price_is_dead_and_says_what_was_paid_for_what(now: datetime, paid: int) -> None:
    tell(now, amount_subtotal=paid)
    assert balance(ADA) == 0
    ((state, error),) = event_states(APP)
    assert state == "dead"
    assert f"{paid // 100}.{paid % 100:02d} usd were paid for 1 × starter" in str(error)
    assert "which cost 10.00 usd (at least 8.00)" in str(error)


def test_an_amount_in_another_currency_buys_one_pack_with_a_note(now: datetime) -> None:
    tell(now, amount_subtotal=2780, currency="eur")
    assert balance(ADA) == 100
    assert "27.80 eur were paid for starter, whose price is in usd" in str(note())


def test_an_amount_that_stripe_converted_counts_in_the_currency_of_the_price(now: datetime) -> None:
    source = {"amount_subtotal": 3000, "amount_total": 3000, "fx_rate": "0.93", "source_currency": "usd"}
    tell(now, amount_subtotal=2780, currency="eur", currency_conversion=source)
    assert (balance(ADA), note()) == (300, None)


def test_line_items_say_the_quantity_whatever_was_paid(now: datetime) -> None:
    tell(now, amount_subtotal=900, line_items={"data": [{"id": "li_1", "quantity": 2, "price": {"id": "price_x"}}]})
    assert (balance(ADA), note()) == (200, None)


def test_an_unpaid_session_is_counted_when_its_money_comes(now: datetime) -> None:
    tell(now, amount_subtotal=3000, payment_status="unpaid")
    assert balance(ADA) == 0
    session = paid_session(APP, ADA, "starter", amount_subtotal=3000, amount_total=3000)
    deliver(APP, event("checkout.session.async_payment_succeeded", session, created=now), now=now)
    assert (balance(ADA), database.read("SELECT quantity FROM payment")) == (300, [(3,)])


# --- PayPal: the amount is all that is known of an order from a browser


@pytest.mark.parametrize(("value", "packs"), [("4.99", 1), ("9.98", 2), ("5.50", 1), ("4.00", 1), ("3.99", 0)])
def test_a_capture_buys_what_it_paid_for(now: datetime, value: str, packs: int) -> None:
    repack("clash-ai", "minutes_30", min_price_minor=400)
    told = paypal_events.capture(f"customer={ADA}&pack=minutes_30", amount=paypal_events.amount(value))
    deliver_paypal(paypal_events.event("PAYMENT.CAPTURE.COMPLETED", told), now=now)
    assert balance(ADA, "clash-ai") == 30 * packs
    ((state, error),) = event_states("clash-ai")
    assert (state, error is None) == ("done" if packs else "dead", value in ("4.99", "9.98"))


# --- whose it is


def foreign(now: datetime, customer: str | None = "cus_1", **more: Any) -> None:
    tell(now, amount_subtotal=1000, metadata={"pack": "starter"}, client_reference_id=None, customer=customer, **more)


def known(now: datetime, customer: str, number: str) -> None:
    """A session that makes a customer of the provider known."""
    session = paid_session(APP, customer, "starter", number=number) | {"customer": "cus_1"}
    deliver(APP, event("checkout.session.completed", session, created=now), now=now)


def test_the_providers_customer_stands_for_one_of_ours(now: datetime) -> None:
    known(now, BO, "9")
    foreign(now)
    assert (balance(BO), balance(ADA)) == (200, 0)


def test_a_customer_of_the_provider_that_stands_for_two_decides_nothing(now: datetime) -> None:
    known(now, BO, "8")
    known(now, ADA, "9")
    foreign(now)
    assert (balance(BO), balance(ADA)) == (100, 100)
    state, error = event_states(APP)[-1]
    assert (state, "'cus_1' is not one known customer" in str(error)) == ("dead", True)


def test_a_customer_of_the_provider_that_is_not_known_is_dead_with_the_reason(now: datetime) -> None:
    foreign(now)
    ((state, error),) = event_states(APP)
    assert (state, "no customer: " in str(error)) == ("dead", True)


# --- several line items


def items(*sold: tuple[str, int, int]) -> dict[str, Any]:
    return {
        "object": "list",
        "data": [
            {"id": f"li_{place}", "quantity": quantity, "amount_total": amount, "price": {"id": price}}
            for place, (price, quantity, amount) in enumerate(sold)
        ],
    }


MIXED = items(("price_starter", 2, 2000), ("price_pro", 1, 5000))


def test_each_line_item_of_a_session_is_a_pack(now: datetime) -> None:
    tell(now, amount_subtotal=7000, line_items=MIXED, metadata={"customer": ADA})
    assert entries(ADA) == [("purchase", 200), ("purchase", 500)]
    assert database.read("SELECT amount_minor, units_granted, state FROM payment") == [(7000, 700, "settled")]
    assert database.read("SELECT price_minor FROM lot ORDER BY id") == [(2000,), (5000,)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_refund_takes_its_share_of_every_line(now: datetime, order: tuple[int, ...]) -> None:
    paid = paid_session(APP, ADA, "starter", amount_total=7000, line_items=MIXED, metadata={"customer": ADA})
    told = [
        ("checkout.session.completed", paid),
        ("charge.refunded", charge(refunded=1750, amount=7000)),
        ("charge.refunded", charge(refunded=3500, amount=7000)),
    ]
    for place in (*order, *order):
        type_, thing = told[place]
        deliver(APP, event(type_, thing, created=now), now=now)
    assert balance(ADA) == 350
    assert database.read("SELECT remaining FROM lot ORDER BY id") == [(100,), (250,)]
    assert clean(now)


def test_a_line_item_that_is_no_pack_is_noted(now: datetime) -> None:
    tell(now, line_items=items(("price_starter", 1, 1000), ("price_mug", 1, 900)), metadata={"customer": ADA})
    assert (balance(ADA), note()) == (100, "1 of 2 line items have prices of no pack, and were not credited")


def test_line_items_of_which_none_is_a_pack_are_dead(now: datetime) -> None:
    tell(now, line_items=items(("price_hat", 1, 1000), ("price_mug", 1, 900)), metadata={"customer": ADA})
    ((state, error),) = event_states(APP)
    assert (state, str(error).startswith("the checkout session has 2 line items")) == ("dead", True)


def test_a_line_whose_pack_the_catalog_learns_later_is_credited_by_a_replay(now: datetime) -> None:
    packs = app(APP).packs
    change(APP, packs={**packs, "pro": replace(packs["pro"], stripe_price=None)})
    tell(now, line_items=MIXED, metadata={"customer": ADA})
    assert balance(ADA) == 200
    repack(APP, "pro", stripe_price="price_pro")
    for _ in range(2):
        events.replay(APP, 1, now=now)
        events.apply_pending(now=now)
    assert entries(ADA) == [("purchase", 200), ("purchase", 500)]
    assert database.read("SELECT units_granted FROM payment") == [(700,)]
