"""PayPal's events as facts. Plain dicts in, facts out; what is not of the shape that PayPal documents is refused.

A payment is a capture. Its order comes first, and may have several; it is shown among the aliases. Refunds and
reversals carry a *refund* resource, which names its capture by the link `up`. Sources: Orders v2, Payments v2 and
Disputes v1 of https://developer.paypal.com/api/rest/, and "Webhook event names" there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from jobs.providers.facts import AnyFact, Dispute, PaymentReversed, PaymentSettled, Refund
from jobs.providers.malformed import MalformedEvent, malformed
from jobs.providers.paypal import client, fields
from jobs.providers.paypal.capture import needs_refetch, prepare
from jobs.providers.paypal.fields import Object, Sold, get, objects, text
from models.catalog.apps import App
from models.errors import NotOurs, Unprocessable
from models.inbox.events import Event
from models.ledger.accounts import CREDIT_MANUALLY
from models.payments import disputes

__all__ = ["needs_refetch", "facts_of", "note_of", "prepare"]

State = Literal["settled", "pending", "failed"]
Handler = Callable[[App, Event, Object], Iterable[AnyFact]]

# What a capture's status says now, whatever event brought it: a refunded one was paid.
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
    """The facts that an event tells.

    Raises:
        NotOurs: the event is not used, is of PayPal's sandbox while this is live, or names another app.
        Unprocessable: the resource is not what its type promises.
    """
    handler = HANDLERS.get(event.type)
    if handler is None:
        raise NotOurs(f"{event.type} is not used")
    resource = event.payload.get("resource")
    if not isinstance(resource, dict):
        raise malformed(event, MalformedEvent(resource, "an object, which resource should be"))
    if client.environment_of(app) == "live" and fields.is_of_sandbox(event.payload):
        raise NotOurs("it is an event of PayPal's sandbox and this is live")
    try:
        yield from handler(app, event, resource)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise malformed(event, error) from error


def note_of(app: App, event: Event) -> None:
    """Nothing: an event of PayPal's is applied whole or not at all."""


# --- captures: the payment itself


def _captured(app: App, event: Event, capture: Object) -> Iterator[AnyFact]:
    yield _settled(app, event, capture, _state(capture) or "settled")


def _capture_pending(app: App, event: Event, capture: Object) -> Iterator[AnyFact]:
    yield _settled(app, event, capture, _at_most("pending", event, capture))


def _capture_failed(app: App, event: Event, capture: Object) -> Iterator[AnyFact]:
    yield _settled(app, event, capture, _at_most("failed", event, capture))


def _order(app: App, event: Event, order: Object) -> Iterator[AnyFact]:
    """An order that was captured, by `prepare` or by somebody else, has its captures with it."""
    captures = client.captures_of(order)
    if not captures:
        raise NotOurs("the order is not captured: its capture will tell of itself")
    for capture in captures:
        related = {"related_ids": {"order_id": order.get("id")}}
        yield _settled(
            app, event, {**capture, "supplementary_data": related}, _state(capture) or "pending", "purchase_units[0]."
        )


def _state(capture: Object) -> State | None:
    status = capture.get("status")
    return STATES.get(status) if isinstance(status, str) else None


def _at_most(state: State, event: Event, capture: Object) -> State:
    """The state that an event's name tells: only a capture that PayPal was asked for knows of a better one."""
    said = _state(capture)
    return said if said is not None and (event.is_fetched or said == "failed") else state


def _settled(app: App, event: Event, capture: Object, state: State, place: str = "") -> PaymentSettled:
    """`place` is where in the resource the custom_id stands."""
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
        state=state,
    )


def _sold(app: App, custom_id: Any) -> Sold:
    """What the custom_id says was sold, unless it names another app."""
    sold = fields.read_custom_id(custom_id)
    if sold.app is not None and sold.app != app.slug:
        raise NotOurs(f"it belongs to the app {sold.app[:120]!r}")
    return sold


# --- money that goes back


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
            ),
        ),
        refunded_minor=None if failed else _total_refunded(refund, currency),
        currency=currency,
    )


def _refund_failed(app: App, event: Event, refund: Object) -> Iterator[AnyFact]:
    yield from _refunded(app, event, {**refund, "status": "FAILED"})


def _payment_of(refund: Object) -> tuple[str, ...]:
    """The capture that a refund is of, from the link. Its order may have other captures, so it says nothing."""
    related = get(refund, "supplementary_data", "related_ids")
    capture = fields.id_of_link(refund, "up") or get(related, "capture_id")
    if capture is None:
        raise ValueError("none of resource.links leads up to the capture")
    return (text(capture),)


def _total_refunded(refund: Object, currency: str) -> int | None:
    """PayPal's own sum of what it gave back of the capture so far, where it tells it."""
    total = get(refund, "seller_payable_breakdown", "total_refunded_amount")
    if total is None:
        return None
    amount_minor, of = fields.money(total)
    return amount_minor if of == currency else None


# --- disputes


def _disputed(app: App, event: Event, dispute: Object) -> Iterator[AnyFact]:
    """It freezes its payments until it is resolved. Money that it takes comes as a reversal or refund of its own.

    Each capture has a part of it, by a key that is the same however many captures an event lists.
    """
    reference = text(dispute["dispute_id"])
    resolved = event.type.endswith(".RESOLVED") or dispute.get("status") == "RESOLVED"
    stage: Literal["closed", "inquiry"] = "closed" if resolved else "inquiry"
    for payment in _disputed_transactions(app, dispute):
        yield PaymentReversed(
            app=app.slug,
            provider=event.provider,
            event_id=event.event_id,
            payment=(payment,),
            dispute=Dispute(reference=disputes.name_of(reference, payment), whole=reference, stage=stage),
        )


def _disputed_transactions(app: App, dispute: Object) -> list[str]:
    """The captures, other apps' left out, in the order in which every event of the dispute locks them."""
    listed = objects(dispute["disputed_transactions"])
    if not listed:
        raise ValueError("resource.disputed_transactions has none")
    foreign = [one for one in listed if fields.app_named(one.get("custom")) not in (None, app.slug)]
    if len(foreign) == len(listed):
        raise NotOurs("it belongs to another app")
    return sorted({text(one["seller_transaction_id"]) for one in listed if one not in foreign})


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
    "CUSTOMER.DISPUTE.CREATED": _disputed,
    "CUSTOMER.DISPUTE.UPDATED": _disputed,
    "CUSTOMER.DISPUTE.RESOLVED": _disputed,
}


def _ids(value: Any) -> tuple[str, ...]:
    return () if value is None else (text(value),)
