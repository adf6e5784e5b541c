"""Calls to PayPal before an event is applied: captures approved orders, and refetches the objects of other events."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import structlog

from jobs.providers.malformed import malformed
from jobs.providers.paypal import checkout, fields
from jobs.providers.paypal import client as paypal_client
from jobs.providers.paypal.fields import Sold
from models import database, money
from models.catalog import prices
from models.catalog.apps import App, Pack
from models.errors import ProviderAway, ProviderRefused, Unprocessable
from models.inbox.events import MEND, Event
from models.payments import checkouts

log = structlog.get_logger()
Object = dict[str, Any]
APPROVED = "CHECKOUT.ORDER.APPROVED"
# The call that refetches the resource of an event. PayPal may not return the refund of a reversal.
FETCH = {
    APPROVED: "get_order",
    "CHECKOUT.ORDER.COMPLETED": "get_order",
    "PAYMENT.CAPTURE.COMPLETED": "get_capture",
    "PAYMENT.CAPTURE.PENDING": "get_capture",
    "PAYMENT.CAPTURE.DECLINED": "get_capture",
    "PAYMENT.CAPTURE.DENIED": "get_capture",
    "PAYMENT.CAPTURE.REFUNDED": "get_refund",
    "PAYMENT.CAPTURE.REVERSED": "get_refund",
}
# The sandbox is asked for these too. It does not know the objects of events that were only signed for a test.
FETCH_OF_PLANS = {
    "BILLING.SUBSCRIPTION.CREATED": "get_subscription",
    "BILLING.SUBSCRIPTION.ACTIVATED": "get_subscription",
    "BILLING.SUBSCRIPTION.RE-ACTIVATED": "get_subscription",
    "BILLING.SUBSCRIPTION.UPDATED": "get_subscription",
    "BILLING.SUBSCRIPTION.SUSPENDED": "get_subscription",
    "BILLING.SUBSCRIPTION.CANCELLED": "get_subscription",
    "BILLING.SUBSCRIPTION.EXPIRED": "get_subscription",
    "BILLING.SUBSCRIPTION.PAYMENT.FAILED": "get_subscription",
    "PAYMENT.SALE.COMPLETED": "get_sale",
    "PAYMENT.SALE.PENDING": "get_sale",
    "PAYMENT.SALE.DENIED": "get_sale",
    "PAYMENT.SALE.REFUNDED": "get_sale_refund",
    "PAYMENT.SALE.REVERSED": "get_sale_refund",
}
# Events whose object is credited as it was signed: PayPal must know it.
CREDITED = (
    *(APPROVED, "CHECKOUT.ORDER.COMPLETED", "PAYMENT.CAPTURE.COMPLETED", "PAYMENT.SALE.COMPLETED"),
    *(type_ for type_, method in FETCH_OF_PLANS.items() if method == "get_subscription"),
)


def needs_refetch(app: App, event: Event) -> bool:
    """Whether the event needs `prepare`: approved orders always, other events only where PayPal can be asked."""
    return event.type == APPROVED or _can_be_asked(app, event)


def _can_be_asked(app: App, event: Event) -> bool:
    if paypal_client.has_real_account(app):
        return event.type in FETCH or event.type in FETCH_OF_PLANS
    return event.type in FETCH_OF_PLANS and checkout.is_reachable(app)


def prepare(app: App, event: Event) -> Event:
    """The event with the captured order or the refetched object; unchanged if there is neither.

    Raises:
        ProviderAway: PayPal did not respond; retry later.
        Unprocessable: the order does not match the catalog, so it was not captured; or PayPal does not know the object.
    """
    resource = event.payload.get("resource")
    if not isinstance(resource, dict):
        return event
    if event.type == APPROVED:
        return _with(event, _captured(app, event, resource))
    if not _can_be_asked(app, event):
        return event
    return _with(event, _fetched(app, event, resource))


def _with(event: Event, resource: Object | None) -> Event:
    """The event with the current object, and the `signed` one. Fields that PayPal omits keep their signed values."""
    if resource is None:
        return event
    signed = event.payload["resource"]
    payload = {**event.payload, "resource": {**signed, **resource}, "signed": signed}
    return replace(event, payload=payload, is_fetched=True)


def _captured(app: App, event: Event, order: Object) -> Object | None:
    """The captured order; None if it was not captured, so that the event is used as it was signed."""
    order_id = order.get("id")
    if not isinstance(order_id, str) or order.get("intent") != "CAPTURE":
        return None
    unit, sold = _sold(app, order)
    if sold is None:
        return None
    if not _has_captures(order):
        _check_offer(app, event, order_id, unit, sold)
    try:
        client = paypal_client.client(app)
    except ProviderRefused:
        return None
    try:
        return client.capture_order(order_id)
    except ProviderRefused as refused:
        # Declined, expired or withdrawn: no money moved. Another approval by the buyer is a separate event.
        log.warning("order not captured", app=app.slug, order=order_id, reason=refused.detail, code=refused.code)
        is_credited = _has_captures(order) and paypal_client.has_real_account(app)
        return _fetched(app, event, order) if is_credited else None


def _sold(app: App, order: Object) -> tuple[Object, Sold | None]:
    """The order's only unit, and what it sells; None if that is not this app's: other shops may share the account."""
    units = fields.objects(order.get("purchase_units"))
    if len(units) != 1:
        return {}, None
    try:
        sold = fields.read_custom_id(units[0].get("custom_id"))
    except ValueError:
        return units[0], None
    is_ours = sold.app in (None, app.slug) and (sold.checkout or sold.app or (sold.customer and sold.pack))
    return units[0], sold if is_ours else None


def _has_captures(order: Object) -> bool:
    """Whether the order is already captured. Then its payment is checked instead of the offer."""
    return bool(paypal_client.captures_of(order))


def _check_offer(app: App, event: Event, order_id: str, unit: Object, sold: Sold) -> None:
    """Check the order's price, which its creator may have set. An order with a wrong price is not captured.

    Raises:
        Unprocessable: the order's pack is not in the catalog, its currency differs, or it pays less than was promised
            or, without a promise, than the least price.
    """
    pack, promised = _pack(app, order_id, sold)
    try:
        amount_minor, currency = fields.money(unit["amount"])
    except (KeyError, ValueError) as error:
        raise malformed(event, error) from error
    cost = (
        prices.fault(pack, promised, amount_minor, currency)
        if promised
        else prices.least_fault(pack, amount_minor, currency)
    )
    if cost:
        raise Unprocessable(
            f"{money.to_amount(amount_minor, currency)} {currency} were offered for {cost}, so the order was not "
            f"captured, and there is nothing to refund; if the price is wrong, {MEND}"
        )


def _pack(app: App, order_id: str, sold: Sold) -> tuple[Pack, int | None]:
    """The pack, and the quantity that was promised if the order belongs to a checkout of Scrip."""
    promise = checkouts.find_before_payment(app.slug, "paypal", sold.checkout, (order_id,))
    database.release()  # the next step is a slow call to PayPal
    if promise is not None and checkouts.is_paid_by(promise, sold.customer, order_id):
        promised = checkouts.sold_pack(promise)
        assert promised is not None
        return promised, promise.quantity
    pack = app.packs.get(sold.pack or "")
    if pack is None:
        if not sold.pack:
            raise Unprocessable("no pack named by the order's custom_id, so it was not captured: nothing to refund")
        raise Unprocessable(
            f"no pack {sold.pack[:120]!r} in the catalog of {app.slug}, so the order was not captured: {MEND}"
        )
    return pack, None


def _fetched(app: App, event: Event, resource: Object) -> Object | None:
    """The current object; None if PayPal does not return one that credits nothing, so that the signed one is used.

    Raises:
        ProviderAway: PayPal did not respond; retry later.
        Unprocessable: PayPal does not know an object that would be credited.
    """
    thing_id = resource.get("id")
    if not isinstance(thing_id, str) or not thing_id:
        return None
    try:
        thing: Object = getattr(paypal_client.client(app), {**FETCH, **FETCH_OF_PLANS}[event.type])(thing_id)
        return thing
    except ProviderRefused as refused:
        if refused.status not in (403, 404):
            raise ProviderAway(refused.detail) from refused
        if event.type in CREDITED and paypal_client.has_real_account(app):
            raise _unknown(thing_id, refused) from refused
        return None


def _unknown(thing_id: str, refused: ProviderRefused) -> Unprocessable:
    return Unprocessable(
        f"PayPal does not show {thing_id[:120]!r} to this account ({refused.detail}), so nothing was credited: check"
        " the object at PayPal and the app's credentials, and if it is genuine, replay the event"
        " (POST /v1/events/{id}/replay)"
    )
