"""Tax, discount and fee of a payment, where the provider reports them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from models.payments import listing
from tests.payments.test_pack_lines import alone, bill, line
from tests.providers.paypal.test_events import deliver as deliver_paypal
from tests.support.cast import ADA, app, deliver
from tests.support.providers import paypal_events
from tests.support.providers.paypal_events import amount
from tests.support.providers.shop import repack
from tests.support.providers.stripe_events import charge, event, paid_session

pytestmark = pytest.mark.usefixtures("db")


def tell(now: datetime, type_: str, thing: dict[str, Any], slug: str = "songs") -> None:
    deliver(slug, event(type_, thing, created=now), now=now)


def parts(now: datetime, slug: str = "songs") -> tuple[Any, ...]:
    """(tax, discount, fee) of the only payment."""
    ((payment,), _) = listing.for_customer(app(slug), ADA, now=now)
    return tuple(payment[name] and payment[name]["amount"] for name in ("tax", "discount", "fee"))


def test_a_session_reports_tax_and_discount(now: datetime) -> None:
    details = {"amount_discount": 100, "amount_shipping": 0, "amount_tax": 76}
    tell(now, "checkout.session.completed", paid_session("songs", ADA, "starter", total_details=details))
    assert parts(now) == ("0.76", "1.00", None)


def test_what_is_not_reported_is_not_zero(now: datetime) -> None:
    tell(now, "checkout.session.completed", paid_session("songs", ADA, "starter"))
    assert parts(now) == (None, None, None)


def test_the_fee_comes_with_a_fetched_charge(now: datetime) -> None:
    tell(now, "checkout.session.completed", paid_session("songs", ADA, "starter"))
    transaction = {"id": "txn_1", "currency": "usd", "fee": 59}
    tell(now, "charge.refunded", charge(refunded=0, balance_transaction="txn_1"))
    assert parts(now) == (None, None, None)
    tell(now, "charge.refunded", charge(refunded=0, balance_transaction=transaction))
    assert parts(now) == (None, None, "0.59")
    tell(now, "charge.refunded", charge(refunded=0, balance_transaction={**transaction, "currency": "eur", "fee": 1}))
    assert parts(now) == (None, None, "0.59"), "a fee in another currency is not of this amount"


@pytest.mark.parametrize(
    "taxes", [{"total_taxes": [{"amount": 70}, {"amount": 6}]}, {"total_tax_amounts": [{"amount": 76}]}, {"tax": 76}]
)
@pytest.mark.parametrize("beside_a_plan", [True, False])
def test_an_invoice_reports_them_in_either_shape(now: datetime, taxes: dict[str, Any], beside_a_plan: bool) -> None:
    repack("songs", "starter", stripe_price="price_starter")
    more = {**taxes, "total_discount_amounts": [{"amount": 100, "discount": "di_1"}]}
    sold = line("price_starter", 499)
    tell(now, "invoice.paid", bill(now, sold, **more) if beside_a_plan else alone(sold, **more))
    assert parts(now) == ("0.76", "1.00", None)


def test_an_invoice_of_a_plan_alone_reports_them_too(now: datetime) -> None:
    tell(now, "invoice.paid", bill(now, total_taxes=[{"amount": 76}], total_discount_amounts=[]))
    assert parts(now) == ("0.76", "0.00", None)


def test_paypal_reports_its_fee_and_the_orders_tax(now: datetime) -> None:
    bought = paypal_events.capture(
        f"customer={ADA}&pack=minutes_30",
        amount=amount("5.75"),
        seller_receivable_breakdown={"paypal_fee": amount("0.47"), "gross_amount": amount("5.75")},
    )
    told = paypal_events.order(None, bought)
    told["purchase_units"][0]["amount"] = {
        **amount("5.75"),
        "breakdown": {"item_total": amount("4.99"), "tax_total": amount("0.76"), "discount": amount("1.00", "EUR")},
    }
    deliver_paypal(paypal_events.event("CHECKOUT.ORDER.COMPLETED", told), now=now)
    assert parts(now, "clash-ai") == ("0.76", None, "0.47")
