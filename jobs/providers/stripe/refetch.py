"""Refetches the object of an event: events arrive late and out of order, and contain an old state.

This needs a real key. If Stripe does not return the object (it was deleted, belongs to another account, or the key may
not read it), the signed copy is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog

from jobs.providers.stripe import client
from jobs.providers.stripe.client import Object
from jobs.providers.stripe.objects import get
from models.catalog.apps import App
from models.errors import ProviderRefused
from models.inbox.events import Event

log = structlog.get_logger()

# The call that fetches an object, by its kind. Fields that the copy in an event lacks are expanded.
FETCH: dict[str, Callable[[Any, str], Any]] = {
    "checkout.session": lambda v1, id_: v1.checkout.sessions.retrieve(id_, {"expand": ["line_items"]}),
    "payment_intent": lambda v1, id_: v1.payment_intents.retrieve(id_),
    "subscription": lambda v1, id_: v1.subscriptions.retrieve(id_),
    "invoice": lambda v1, id_: v1.invoices.retrieve(id_),
    "invoice_payment": lambda v1, id_: v1.invoice_payments.retrieve(id_),
    "charge": lambda v1, id_: v1.charges.retrieve(id_, {"expand": ["refunds"]}),
    "refund": lambda v1, id_: v1.refunds.retrieve(id_),
    "credit_note": lambda v1, id_: v1.credit_notes.retrieve(id_),
    "dispute": lambda v1, id_: v1.disputes.retrieve(id_),
}


def prepare(app: App, event: Event) -> Event:
    """The event with its refetched object; unchanged without a key or if the object cannot be fetched.

    Raises:
        ProviderAway: Stripe did not respond; the event is retried.
    """
    thing = get(event.payload, "data", "object")
    if not client.real_key(app) or not isinstance(thing, dict) or not _can_be_fetched(thing):
        return event
    try:
        fresh = fetch(app, thing["object"], thing["id"])
    except ProviderRefused as refusal:
        log.warning("taken as signed", event_id=event.event_id, object=thing["id"], reason=refusal.detail)
        return event
    payload = {**event.payload, "data": {**event.payload["data"], "object": fresh}}
    return replace(event, payload=payload, is_fetched=True)


def fetch(app: App, kind: str, id_: str) -> Object:
    """One object from Stripe. An invoice includes the payment intent that paid it.

    Raises:
        ProviderAway, ProviderRefused.
    """
    fresh = client.call(app, lambda v1: FETCH[kind](v1, id_), quick=True)
    return with_payment(app, fresh) if kind == "invoice" else fresh


def _can_be_fetched(thing: Object) -> bool:
    kind, id_ = thing.get("object"), thing.get("id")
    is_named = isinstance(kind, str) and isinstance(id_, str) and 0 < len(id_) <= 255 and "/" not in id_
    return is_named and kind in FETCH


def with_payment(app: App, invoice: Object) -> Object:
    """The invoice with its `payment_intent`, which invoices lack since basil.

    Raises:
        ProviderAway, ProviderRefused.
    """
    if invoice.get("payment_intent") or invoice.get("status") != "paid" or not invoice.get("amount_paid"):
        return invoice
    intents = payment_intents(app, invoice["id"])
    return {**invoice, "payment_intent": intents[0]} if intents else invoice


def payment_intents(app: App, invoice_id: str) -> list[str]:
    """The ids of the payment intents that paid an invoice, in Stripe's order.

    Raises:
        ProviderAway, ProviderRefused.
    """
    query: Any = {"invoice": invoice_id, "status": "paid"}
    paid, _ = client.page(app, lambda v1: v1.invoice_payments.list(query), quick=True)
    found = [(payment.get("payment") or {}).get("payment_intent") for payment in paid]
    return [intent["id"] if isinstance(intent, dict) else intent for intent in found if intent]
