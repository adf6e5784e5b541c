"""Translates the sales of PayPal's subscriptions into bills, and their refunds and reversals.

A sale names its subscription (`billing_agreement_id`), and neither a period nor a plan: `models.plans.rules.paypal`
finds the cycles that it pays. Source: Payments v1 of https://developer.paypal.com/api/rest/.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jobs.providers.facts import AnyFact, PaymentReversed
from jobs.providers.malformed import MalformedEvent
from jobs.providers.paypal import fields
from jobs.providers.paypal.fields import Object, get, objects, text
from jobs.providers.paypal.subscriptions import State, checkout_ended, created_at, customer_of, reported, sold_in
from jobs.providers.returns import Refund
from models.catalog.apps import App
from models.errors import NotOurs
from models.inbox.events import Event
from models.plans.facts import SALE, Bill

# The state of a bill by its sale's: a refunded sale was paid.
BILL_STATES = {
    "completed": "paid",
    "partially_refunded": "paid",
    "refunded": "paid",
    "reversed": "paid",
    "pending": "open",
    "denied": "failed",
    "declined": "failed",
    "failed": "failed",
}
STATE_OF_EVENT = {"PAYMENT.SALE.COMPLETED": "paid", "PAYMENT.SALE.PENDING": "open", "PAYMENT.SALE.DENIED": "failed"}
REVERSED = "PAYMENT.SALE.REVERSED"
CHECKOUT_STATES: dict[str, State] = {"paid": "paid", "open": "pending", "failed": "failed"}


def sale(app: App, event: Event, paid: Object) -> Iterator[AnyFact]:
    """The sale of a subscription as a bill.

    Raises:
        NotOurs: it does not belong to a subscription.
    """
    subscription = paid.get("billing_agreement_id")
    if not subscription:
        raise NotOurs("the sale does not belong to a subscription")
    fact = bill(app, event, paid)
    yield reported(app, event, text(subscription), fact)
    yield checkout_ended(app, event, text(subscription), CHECKOUT_STATES[fact.state])


def bill(app: App, event: Event, paid: Object) -> Bill:
    """What the sale says. Its total is the amount before tax, as the price of a plan is."""
    sold = sold_in(app, paid.get("custom") or paid.get("custom_id"))
    state = _bill_state(event, paid)
    paid_minor, currency = fields.money_of_sale(paid["amount"])
    before_tax = get(paid, "amount", "details", "subtotal")
    return Bill(
        key=f"{event.event_id}:{state}:fetched" if event.is_fetched else f"{event.event_id}:{state}",
        bill=text(paid["id"]),
        state=state,
        at=fields.time(paid.get("create_time")) or created_at(event),
        reason=SALE,
        total_minor=fields.money_of_sale({"total": before_tax, "currency": currency})[0] if before_tax else paid_minor,
        paid_minor=paid_minor,
        currency=currency,
        customer=customer_of(sold),
        checkout=sold.checkout,
    )


def returned(app: App, event: Event, refund: Object) -> Iterator[PaymentReversed]:
    """A refund or a reversal of a sale, whole or in part."""
    sold_in(app, refund.get("custom") or refund.get("custom_id"))
    amount_minor, currency = fields.money_of_sale(refund["amount"], is_signed=True)
    reference, sale_id = text(refund["id"]), _sale_of(refund)
    total = refund.get("total_refunded_amount")
    failed = refund.get("state") in ("failed", "cancelled")
    yield PaymentReversed(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        payment=(sale_id,),
        refunds=(
            Refund(
                # PayPal's reversals may have the id of the sale.
                reference=reference if reference != sale_id else f"{sale_id}:reversed",
                amount_minor=amount_minor,
                failed=failed,
                is_reversal=event.type == REVERSED,
                made_at=fields.time(refund.get("create_time")),
            ),
        ),
        refunded_minor=_total(total, currency) if total is not None and not failed else None,
        currency=currency,
    )


def _bill_state(event: Event, paid: Object) -> str:
    """The state by the event's type. The sale's own replaces it if it was refetched, or is later."""
    state = paid.get("state")
    own = BILL_STATES.get(state.lower()) if isinstance(state, str) else None
    reported = STATE_OF_EVENT[event.type]
    return own if own is not None and (event.is_fetched or own in ("failed", "open")) else reported


def _sale_of(refund: Object) -> str:
    """The sale that was refunded: by its id, else by a link."""
    if refund.get("sale_id"):
        return text(refund["sale_id"])
    linked = fields.id_of_link(refund, "sale")
    if linked:
        return linked
    hrefs = [link.get("href") for link in objects(refund.get("links")) if link.get("rel") == "self"]
    if any(isinstance(href, str) and "/payments/sale/" in href for href in hrefs):
        return text(refund["id"])
    raise ValueError("resource has no sale_id, and resource.links no sale")


def _total(total: Any, currency: str) -> int | None:
    """PayPal's own total of the refunds of the sale, in minor units; None if it is in another currency."""
    if not isinstance(total, dict):
        raise MalformedEvent(total, "an amount with a value and a currency")
    amount_minor, total_currency = fields.money_of_sale(
        {"total": total["value"], "currency": total["currency"]}, is_signed=True
    )
    return amount_minor if total_currency == currency else None
