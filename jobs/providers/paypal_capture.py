"""What is asked of PayPal before an event is applied: the money of an approved order, and the object as it is now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import structlog

from jobs.providers import paypal_api, paypal_fields
from models.apps import App
from models.errors import ProviderAway, ProviderRefused, Unprocessable
from models.events import MEND, Event

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


def asks(app: App, event: Event) -> bool:
    """Whether PayPal has to be asked first: of an approved order always, of the rest with an account of our own."""
    return event.type == APPROVED or (event.type in FETCH and paypal_api.has_real_account(app))


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
        return _with(event, _captured(app, resource))
    fetch = FETCH.get(event.type)
    if fetch is None or not paypal_api.has_real_account(app):
        return event
    return _with(event, _fetched(app, fetch, resource.get("id")))


def _with(event: Event, resource: Object | None) -> Event:
    """The event with the object that is known now; what PayPal leaves out of it stays as it was signed."""
    if resource is None:
        return event
    return replace(event, payload={**event.payload, "resource": {**event.payload["resource"], **resource}})


def _captured(app: App, order: Object) -> Object | None:
    """The order after its capture; None if it was not captured now, and its event is all that is known."""
    order_id = order.get("id")
    if not isinstance(order_id, str) or order.get("intent") != "CAPTURE" or not _is_ours(app, order):
        return None
    try:
        client = paypal_api.client(app)
    except ProviderRefused:
        return None
    try:
        return client.capture_order(order_id)
    except ProviderRefused as refused:
        # Declined, expired or withdrawn: no money moved. The buyer may approve it anew, which is an event of its own.
        log.warning("order not captured", app=app.slug, order=order_id, reason=refused.detail, code=refused.code)
        return None


def _is_ours(app: App, order: Object) -> bool:
    """Whether the order sells a pack of this app: other shops that share the account take their money themselves."""
    units = paypal_fields.objects(order.get("purchase_units"))
    if len(units) != 1:
        return False
    try:
        sold = paypal_fields.read_custom_id(units[0].get("custom_id"))
    except ValueError:
        return False
    if sold.app not in (None, app.slug) or not (sold.checkout or sold.app or (sold.customer and sold.pack)):
        return False
    if sold.pack and not sold.checkout and sold.pack not in app.packs:
        raise Unprocessable(
            f"no pack {sold.pack[:120]!r} in the catalog of {app.slug}, so the order was not captured: {MEND}"
        )
    return True


def _fetched(app: App, fetch: str, thing_id: Any) -> Object | None:
    """The object as PayPal has it now; None where PayPal does not show it, and the signed one has to do."""
    if not isinstance(thing_id, str) or not thing_id:
        return None
    try:
        thing: Object = getattr(paypal_api.client(app), fetch)(thing_id)
        return thing
    except ProviderRefused as refused:
        if refused.status in (403, 404):
            return None
        raise ProviderAway(refused.detail) from refused
