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
from jobs.providers.stripe import captures, invoices, purchases, reversals, subscriptions
from jobs.providers.stripe.objects import (
    Object,
    get,
    metadata,
    subscription_metadata,
)
from models.catalog.apps import App
from models.errors import NotOurs
from models.inbox.events import Event
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


def _credit_note(app: App, event: Event, note: Object) -> Iterable[AnyFact]:
    """One that was issued before the payment of its invoice lowers what the invoice covers; others return money."""
    handler: Handler = invoices.credit_note if note.get("type") == "pre_payment" else reversals.credit_note_changed
    return handler(app, event, note)


# Reports of an invoice, at any of its stages.
INVOICES = (
    *("created", "updated", "finalized", "sent", "payment_failed", "payment_action_required", "overdue", "voided"),
    "marked_uncollectible",
)
HANDLERS: dict[str, Handler] = {
    "checkout.session.completed": purchases.session_completed,
    "checkout.session.async_payment_succeeded": purchases.session_paid,
    "checkout.session.async_payment_failed": purchases.session_failed,
    "checkout.session.expired": purchases.session_expired,
    **dict.fromkeys(
        (f"customer.subscription.{what}" for what in ("created", "updated", "deleted", "paused", "resumed")),
        subscriptions.subscription_changed,
    ),
    **dict.fromkeys(
        (
            f"customer.subscription.{what}"
            for what in ("trial_will_end", "pending_update_applied", "pending_update_expired")
        ),
        subscriptions.subscription_changed,
    ),
    **dict.fromkeys(
        (
            f"subscription_schedule.{what}"
            for what in ("created", "updated", "released", "canceled", "completed", "aborted")
        ),
        subscriptions.schedule_changed,
    ),
    **dict.fromkeys((f"invoice.{what}" for what in INVOICES), invoices.invoice_changed),
    "invoice.paid": invoices.invoice_paid,
    "invoice.payment_succeeded": invoices.invoice_paid,
    **dict.fromkeys((f"credit_note.{what}" for what in ("created", "updated", "voided")), _credit_note),
    "invoice_payment.paid": reversals.invoice_payment,
    "payment_intent.succeeded": captures.intent_succeeded,
    "payment_intent.canceled": captures.intent_canceled,
    "charge.captured": captures.charge_captured,
    "charge.refunded": reversals.charge_refunded,
    "charge.refund.updated": reversals.refund_changed,
    "refund.created": reversals.refund_changed,
    "refund.updated": reversals.refund_changed,
    "refund.failed": reversals.refund_changed,
    "charge.dispute.created": reversals.dispute_changed,
    "charge.dispute.updated": reversals.dispute_changed,
    "charge.dispute.closed": reversals.dispute_changed,
    "charge.dispute.funds_withdrawn": reversals.dispute_changed,
    "charge.dispute.funds_reinstated": reversals.dispute_changed,
}
