"""Stripe's events as facts, from payloads of the API versions before and since `basil`.

The shape follows the API version of the webhook endpoint, not the SDK's: `invoice.subscription` moved below `parent`,
a line's `price` below `pricing`, a subscription's `current_period_*` to its items. Sources: Stripe's API reference and
changelog (2025-03-31.basil).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jobs.providers.facts import AnyFact
from jobs.providers.malformed import MalformedEvent, malformed
from jobs.providers.stripe import captures, invoices, purchases, reversals
from jobs.providers.stripe.objects import (
    Object,
    get,
    metadata,
    price_of,
    subscription_metadata,
)
from models.catalog.apps import App
from models.errors import NotOurs
from models.inbox.events import MEND, Event
from settings import settings

Handler = Callable[[App, Event, Object], Iterable[AnyFact]]


def facts_of(app: App, event: Event) -> Iterator[AnyFact]:
    """Translate an event into facts. Pure: no I/O.

    Raises:
        NotOurs: the event is not used, is of the other mode or of a connected account, or names another app.
        Unprocessable: the object is not what its type promises.
    """
    handler = HANDLERS.get(event.type)
    if handler is None:
        raise NotOurs(f"{event.type} is not used")
    thing = get(event.payload, "data", "object")
    if not isinstance(thing, dict):
        raise malformed(event, MalformedEvent(thing, "an object, which data.object should be"))
    _check_account(event)
    for source in (event.payload, thing):
        _check_mode(app, source)
    named = _named_app(thing)
    if named is not None and named != app.slug:
        raise NotOurs(f"the event belongs to the app {str(named)[:120]!r}")
    try:
        yield from handler(app, event, thing)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise malformed(event, error) from error


def note_of(app: App, event: Event) -> str | None:
    """A note for operators if the subscription changed to a price outside the catalog; all else is applied.

    Prices are often created for one checkout and are in no catalog, so the first price gets no note.
    """
    if event.type != "customer.subscription.updated":
        return None
    subscription, old = get(event.payload, "data", "object"), get(event.payload, "data", "previous_attributes")
    if get(old, "metadata", "plan") is not None and metadata(subscription).get("plan") in app.plans:
        return None
    price, before = _only_price(subscription), _only_price(old)
    if not price or not before or price == before or app.plan_by_stripe_price(price):
        return None
    return (
        f"the subscription changed to the price {price}, which no plan of the catalog has, so the customer keeps the"
        f" plan and its units: {MEND}"
    )


def _only_price(thing: Any) -> str | None:
    items = get(thing, "items", "data")
    try:
        return price_of(items[0]) if isinstance(items, list) and items and isinstance(items[0], dict) else None
    except MalformedEvent:
        return None


def needs_refetch(app: App, event: Event) -> bool:
    """Whether the object can be refetched: it needs an API key. Without one the signed payload is used."""
    return bool(app.stripe.secret_key or settings.stripe_secret_key) and event.type in HANDLERS


def prepare(app: App, event: Event) -> Event:
    """The event with its refetched object.

    Raises:
        ProviderAway: Stripe did not respond.
    """
    from jobs.providers.stripe import refetch

    return refetch.prepare(app, event)


def _check_account(event: Event) -> None:
    """Only events of connected accounts have an `account`. Scrip does not credit what those accounts sell."""
    named = event.payload.get("account")
    if named is not None:
        raise NotOurs(
            f"the event belongs to the connected account {str(named)[:120]!r}, not to the account of the endpoint"
        )


def _check_mode(app: App, source: Object) -> None:
    """Check the mode of the event, or of its object, which may differ."""
    live = source.get("livemode")
    key = app.stripe.secret_key or settings.stripe_secret_key or ""
    expected = not settings.sandbox and not key.startswith(("sk_test_", "rk_test_"))
    if isinstance(live, bool) and live != expected:
        event_mode, app_mode = ("live" if each else "test" for each in (live, expected))
        raise NotOurs(f"the event is in {event_mode} mode, but the app is in {app_mode} mode")


def _named_app(thing: Object) -> Any:
    return metadata(thing).get("app") or subscription_metadata(thing).get("app")


HANDLERS: dict[str, Handler] = {
    "checkout.session.completed": purchases.session_completed,
    "checkout.session.async_payment_succeeded": purchases.session_paid,
    "checkout.session.async_payment_failed": purchases.session_failed,
    "checkout.session.expired": purchases.session_expired,
    "customer.subscription.created": invoices.subscription_changed,
    "customer.subscription.updated": invoices.subscription_changed,
    "customer.subscription.deleted": invoices.subscription_changed,
    "customer.subscription.paused": invoices.subscription_changed,
    "customer.subscription.resumed": invoices.subscription_changed,
    "invoice.paid": invoices.invoice_paid,
    "invoice.payment_succeeded": invoices.invoice_paid,
    "invoice.payment_failed": invoices.invoice_unpaid,
    "invoice.finalized": invoices.invoice_sent,
    "invoice.marked_uncollectible": invoices.invoice_unpaid,
    "invoice.voided": invoices.invoice_unpaid,
    "invoice_payment.paid": reversals.invoice_payment,
    "payment_intent.succeeded": captures.intent_succeeded,
    "payment_intent.canceled": captures.intent_canceled,
    "charge.captured": captures.charge_captured,
    "charge.refunded": reversals.charge_refunded,
    "charge.refund.updated": reversals.refund_changed,
    "refund.created": reversals.refund_changed,
    "refund.updated": reversals.refund_changed,
    "refund.failed": reversals.refund_changed,
    "credit_note.created": reversals.credit_note_changed,
    "credit_note.updated": reversals.credit_note_changed,
    "credit_note.voided": reversals.credit_note_changed,
    "charge.dispute.created": reversals.dispute_changed,
    "charge.dispute.updated": reversals.dispute_changed,
    "charge.dispute.closed": reversals.dispute_changed,
    "charge.dispute.funds_withdrawn": reversals.dispute_changed,
    "charge.dispute.funds_reinstated": reversals.dispute_changed,
}
