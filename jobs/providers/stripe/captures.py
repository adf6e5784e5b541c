"""Payments that are authorised first and captured later (`capture_method` manual), as facts.

The session reports what was bought, the payment intent and the charge how much of it was captured. Source: Stripe's
guide "Place a hold on a payment method".
"""

from __future__ import annotations

from collections.abc import Iterator

from jobs.providers.facts import AnyFact, PaymentCaptured
from jobs.providers.stripe import purchases
from jobs.providers.stripe.objects import Object, id_of, metadata, own_id, whole
from models.catalog.apps import App
from models.inbox.events import Event


def intent_succeeded(app: App, event: Event, intent: Object) -> Iterator[AnyFact]:
    """The capture of an authorised payment, or the payment of one of Scrip's checkouts."""
    named = metadata(intent)
    if intent.get("capture_method") != "manual":
        yield from purchases.intent_succeeded(app, event, intent)
        return
    received = whole(intent.get("amount_received")) or 0
    yield _captured(app, event, _ids(intent), received, whole(intent.get("amount")) or received)
    if named.get("checkout") and named.get("pack"):
        yield from purchases.intent_succeeded(app, event, intent)


def intent_canceled(app: App, event: Event, intent: Object) -> Iterator[PaymentCaptured]:
    """An authorisation that was canceled, or that was not captured in time."""
    yield _captured(app, event, _ids(intent), 0, whole(intent.get("amount")) or 0, canceled=True)


def charge_captured(app: App, event: Event, charge: Object) -> Iterator[PaymentCaptured]:
    amount = whole(charge.get("amount")) or 0
    captured = whole(charge.get("amount_captured"))
    # Older API versions lack the field and count the rest as refunded.
    rest = whole(charge.get("amount_refunded")) or 0
    yield _captured(app, event, _charge_ids(charge), amount - rest if captured is None else captured, amount)


def _captured(
    app: App, event: Event, payment: tuple[str, ...], amount_minor: int, authorized_minor: int, canceled: bool = False
) -> PaymentCaptured:
    return PaymentCaptured(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        payment=payment,
        amount_minor=amount_minor,
        authorized_minor=authorized_minor,
        canceled=canceled,
    )


def _ids(intent: Object) -> tuple[str, ...]:
    return tuple(name for name in (own_id(intent), id_of(intent.get("latest_charge"))) if name)


def _charge_ids(charge: Object) -> tuple[str, ...]:
    return tuple(name for name in (id_of(charge.get("payment_intent")), own_id(charge)) if name)
