"""What is asked of PayPal before an event is applied: the money of an approved order, and the object as it is now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import structlog

from jobs.providers.malformed import malformed
from jobs.providers.paypal import client as paypal_client
from jobs.providers.paypal import fields
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
# How the resource of an event is fetched again. A reversal's may be no refund that PayPal shows.
FETCH = {
    "PAYMENT.CAPTURE.COMPLETED": "get_capture",
    "PAYMENT.CAPTURE.PENDING": "get_capture",
    "PAYMENT.CAPTURE.DECLINED": "get_capture",
    "PAYMENT.CAPTURE.DENIED": "get_capture",
    "PAYMENT.CAPTURE.REFUNDED": "get_refund",
    "PAYMENT.CAPTURE.REVERSED": "get_refund",
}


def needs_refetch(app: App, event: Event) -> bool:
    """Whether PayPal has to be asked first: of an approved order always, of the rest with an account of our own."""
    return event.type == APPROVED or (event.type in FETCH and paypal_client.has_real_account(app))


def prepare(app: App, event: Event) -> Event:
    """The event with what PayPal says now, where it can be asked: an approved order captured, an object fetched again.

    Raises:
        ProviderAway: PayPal cannot be reached; ask again later.
        Unprocessable: what was bought is not sold here: its money is left with the buyer.
    """
    resource = event.payload.get("resource")
    if not isinstance(resource, dict):
        return event
    if event.type == APPROVED:
        return _with(event, _captured(app, event, resource))
    fetch = FETCH.get(event.type)
    if fetch is None or not paypal_client.has_real_account(app):
        return event
    return _with(event, _fetched(app, fetch, resource.get("id")))


def _with(event: Event, resource: Object | None) -> Event:
    """The event with the object that is known now; what PayPal leaves out of it stays as it was signed."""
    if resource is None:
        return event
    payload = {**event.payload, "resource": {**event.payload["resource"], **resource}}
    return replace(event, payload=payload, is_fetched=True)


def _captured(app: App, event: Event, order: Object) -> Object | None:
    """The order after its capture; None if it was not captured now, and its event is all that is known."""
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
        # Declined, expired or withdrawn: no money moved. The buyer may approve it anew, which is an event of its own.
        log.warning("order not captured", app=app.slug, order=order_id, reason=refused.detail, code=refused.code)
        return None


def _sold(app: App, order: Object) -> tuple[Object, Sold | None]:
    """The order's only unit, and what of this app it sells: other shops that share the account take their money
    themselves.
    """
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
    """Whether the money is taken already: then it is its payment that is judged."""
    return bool(paypal_client.captures_of(order))


def _check_offer(app: App, event: Event, order_id: str, unit: Object, sold: Sold) -> None:
    """Whoever made the order wrote its price. A wrong one is left uncaptured: the buyer keeps the money.

    Raises:
        Unprocessable: it is for no pack that is sold here, of another currency, or for less than the price.
    """
    pack, quantity = _pack(app, order_id, sold)
    try:
        amount_minor, currency = fields.money(unit["amount"])
    except (KeyError, ValueError) as error:
        raise malformed(event, error) from error
    named = prices.fault(pack, quantity, amount_minor, currency)
    if named:
        raise Unprocessable(
            f"{money.to_amount(amount_minor, currency)} {currency} were offered for {named}, so the order was not "
            f"captured, and there is nothing to refund; if the price is wrong, {MEND}"
        )


def _pack(app: App, order_id: str, sold: Sold) -> tuple[Pack, int]:
    """The pack and how many of it: as they were promised where the order is of a checkout of ours."""
    promise = checkouts.find_before_payment(app.slug, "paypal", sold.checkout, (order_id,))
    database.release()  # PayPal is asked next, and that takes its time
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
    return pack, 1


def _fetched(app: App, fetch: str, thing_id: Any) -> Object | None:
    """The object as PayPal has it now; None where PayPal does not show it, and the signed one has to do."""
    if not isinstance(thing_id, str) or not thing_id:
        return None
    try:
        thing: Object = getattr(paypal_client.client(app), fetch)(thing_id)
        return thing
    except ProviderRefused as refused:
        if refused.status in (403, 404):
            return None
        raise ProviderAway(refused.detail) from refused
