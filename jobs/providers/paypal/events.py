"""Translates PayPal's events into facts and rejects resources that do not have the documented shape.

A payment is a capture, or a sale of a subscription. The order of a capture is created first and may have several
captures, so the order's id is not an alias of the payment. Refunds and reversals have a *refund* resource, whose link
`up` names the capture. Sources: Orders v2, Payments v2 and Disputes v1 of https://developer.paypal.com/api/rest/, and
"Webhook event names" there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from jobs.providers.facts import AnyFact, PaymentReversed, PaymentSettled
from jobs.providers.malformed import MalformedEvent, malformed
from jobs.providers.paypal import client, disputes, fields, sales, subscriptions
from jobs.providers.paypal.capture import needs_refetch, prepare
from jobs.providers.paypal.fields import Object, Sold, get, text
from jobs.providers.returns import Refund
from jobs.providers.sold import Parts
from models.catalog.apps import App
from models.errors import NotOurs, Unprocessable
from models.inbox.events import Event
from models.ledger.accounts import CREDIT_MANUALLY

__all__ = ["needs_refetch", "facts_of", "note_of", "prepare"]

State = Literal["settled", "pending", "failed"]
Handler = Callable[[App, Event, Object], Iterable[AnyFact]]

# The state of a payment by its capture's status, for every event type: a refunded capture was paid.
STATES: dict[str, State] = {
    "COMPLETED": "settled",
    "PARTIALLY_REFUNDED": "settled",
    "REFUNDED": "settled",
    "PENDING": "pending",
    "DECLINED": "failed",
    "FAILED": "failed",
}
REVERSED = "PAYMENT.CAPTURE.REVERSED"
FAILED_REFUNDS = ("FAILED", "CANCELLED")
CUSTOM_ID = "custom_id (customer=…&pack=…)"


def facts_of(app: App, event: Event) -> Iterator[AnyFact]:
    """Translate an event into facts. Pure: no I/O.

    Raises:
        NotOurs: the event is not used, is from PayPal's sandbox although the app is live, or names another app.
        Unprocessable: the resource is not what its type promises.
    """
    handler = HANDLERS.get(event.type)
    if handler is None:
        raise NotOurs(f"{event.type} is not used")
    resource = event.payload.get("resource")
    if not isinstance(resource, dict):
        raise malformed(event, MalformedEvent(resource, "an object, which resource should be"))
    if client.environment_of(app) == "live" and fields.is_of_sandbox(event.payload):
        raise NotOurs("the event is from PayPal's sandbox, but the app is live")
    try:
        yield from handler(app, event, resource)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise malformed(event, error) from error


def note_of(app: App, event: Event) -> None:
    """None: PayPal's events are applied entirely or not at all."""


# --- captures: the payment itself


def _captured(app: App, event: Event, capture: Object) -> Iterator[AnyFact]:
    yield _settled(app, event, capture, _state(capture) or "settled")


def _capture_pending(app: App, event: Event, capture: Object) -> Iterator[AnyFact]:
    yield _settled(app, event, capture, _at_most("pending", event, capture))


def _capture_failed(app: App, event: Event, capture: Object) -> Iterator[AnyFact]:
    yield _settled(app, event, capture, _at_most("failed", event, capture))


def _order(app: App, event: Event, order: Object) -> Iterator[AnyFact]:
    """The captures of the order. They are in the event if `prepare` or another program has captured the order."""
    captures = client.captures_of(order)
    if not captures:
        raise NotOurs("the order is not captured: the event of its capture will report the payment")
    for capture in captures:
        related = {"related_ids": {"order_id": order.get("id")}}
        yield _settled(
            app, event, {**capture, "supplementary_data": related}, _state(capture) or "pending", "purchase_units[0]."
        )


def _state(capture: Object) -> State | None:
    status = capture.get("status")
    return STATES.get(status) if isinstance(status, str) else None


def _at_most(state: State, event: Event, capture: Object) -> State:
    """The state by the event's type. The capture's status replaces it if it was refetched or is a failure."""
    current = _state(capture)
    return current if current is not None and (event.is_fetched or current == "failed") else state


def _settled(app: App, event: Event, capture: Object, state: State, place: str = "") -> PaymentSettled:
    """The payment of a capture. `place` is the path to its custom_id within the resource, for error messages."""
    where = f"resource.{place}{CUSTOM_ID}"
    sold = _sold(app, capture.get("custom_id"))
    if sold.customer is None and sold.checkout is None and sold.app is None:
        raise Unprocessable(
            f"no customer: resource.{place}custom_id is not of the form customer=…&pack=…; {CREDIT_MANUALLY}"
        )
    order = get(capture, "supplementary_data", "related_ids", "order_id")
    reference = text(capture["id"])
    amount_minor, currency = fields.money(capture["amount"])
    return PaymentSettled(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        customer=sold.customer,
        reference=reference,
        order=next((name for name in _ids(order) if name != reference), None),
        pack=sold.pack,
        checkout=sold.checkout,
        is_priced_by_payer=True,
        customer_field=f"customer of {where}",
        pack_field=where,
        amount_minor=amount_minor,
        currency=currency,
        parts=_parts(capture, currency),
        state=state,
    )


def _parts(capture: Object, currency: str) -> Parts:
    """PayPal's fee on a capture, and the tax and discount of its order; None for those in another currency."""
    found = []
    for place in (("breakdown", "tax_total"), ("breakdown", "discount"), ("seller_receivable_breakdown", "paypal_fee")):
        part = get(capture, *place)
        minor, part_currency = fields.money(part) if part is not None else (None, currency)
        found.append(minor if part_currency == currency else None)
    tax_minor, discount_minor, fee_minor = found
    return Parts(tax_minor=tax_minor, discount_minor=discount_minor, fee_minor=fee_minor)


def _sold(app: App, custom_id: Any) -> Sold:
    """What the custom_id says was sold, unless it names another app."""
    sold = fields.read_custom_id(custom_id)
    if sold.app is not None and sold.app != app.slug:
        raise NotOurs(f"the event belongs to the app {sold.app[:120]!r}")
    return sold


# --- refunds and reversals


def _refunded(app: App, event: Event, refund: Object) -> Iterator[AnyFact]:
    _sold(app, refund.get("custom_id"))
    amount_minor, currency = fields.money(refund["amount"])
    failed = refund.get("status") in FAILED_REFUNDS
    yield PaymentReversed(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        payment=_payment_of(refund),
        refunds=(
            Refund(
                reference=text(refund["id"]),
                amount_minor=amount_minor,
                failed=failed,
                is_reversal=event.type == REVERSED,
                made_at=fields.time(refund.get("create_time")),
            ),
        ),
        refunded_minor=None if failed else _total_refunded(refund, currency),
        currency=currency,
    )


def _refund_failed(app: App, event: Event, refund: Object) -> Iterator[AnyFact]:
    yield from _refunded(app, event, {**refund, "status": "FAILED"})


def _payment_of(refund: Object) -> tuple[str, ...]:
    """The capture of a refund, by the link. The order is not used: it may have other captures."""
    related = get(refund, "supplementary_data", "related_ids")
    capture = fields.id_of_link(refund, "up") or get(related, "capture_id")
    if capture is None:
        raise ValueError("resource.links has no link up to the capture")
    return (text(capture),)


def _total_refunded(refund: Object, currency: str) -> int | None:
    """PayPal's own total of the refunds of the capture, in minor units; None if missing or in another currency."""
    total = get(refund, "seller_payable_breakdown", "total_refunded_amount")
    if total is None:
        return None
    amount_minor, total_currency = fields.money(total)
    return amount_minor if total_currency == currency else None


HANDLERS: dict[str, Handler] = {
    "CHECKOUT.ORDER.APPROVED": _order,
    "CHECKOUT.ORDER.COMPLETED": _order,
    "PAYMENT.CAPTURE.COMPLETED": _captured,
    "PAYMENT.CAPTURE.PENDING": _capture_pending,
    "PAYMENT.CAPTURE.DECLINED": _capture_failed,
    "PAYMENT.CAPTURE.DENIED": _capture_failed,
    "PAYMENT.CAPTURE.REFUNDED": _refunded,
    REVERSED: _refunded,
    "PAYMENT.REFUND.COMPLETED": _refunded,
    "PAYMENT.REFUND.PENDING": _refunded,
    "PAYMENT.REFUND.FAILED": _refund_failed,
    "BILLING.SUBSCRIPTION.CREATED": subscriptions.changed,
    "BILLING.SUBSCRIPTION.ACTIVATED": subscriptions.changed,
    "BILLING.SUBSCRIPTION.RE-ACTIVATED": subscriptions.changed,
    "BILLING.SUBSCRIPTION.UPDATED": subscriptions.changed,
    "BILLING.SUBSCRIPTION.SUSPENDED": subscriptions.changed,
    "BILLING.SUBSCRIPTION.CANCELLED": subscriptions.changed,
    "BILLING.SUBSCRIPTION.EXPIRED": subscriptions.changed,
    "BILLING.SUBSCRIPTION.PAYMENT.FAILED": subscriptions.changed,
    "PAYMENT.SALE.COMPLETED": sales.sale,
    "PAYMENT.SALE.PENDING": sales.sale,
    "PAYMENT.SALE.DENIED": sales.sale,
    "PAYMENT.SALE.REFUNDED": sales.returned,
    sales.REVERSED: sales.returned,
    "CUSTOMER.DISPUTE.CREATED": disputes.disputed,
    "CUSTOMER.DISPUTE.UPDATED": disputes.disputed,
    "CUSTOMER.DISPUTE.RESOLVED": disputes.disputed,
}


def _ids(value: Any) -> tuple[str, ...]:
    return () if value is None else (text(value),)
