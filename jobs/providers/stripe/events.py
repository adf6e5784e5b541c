"""Stripe's events as facts. Plain dicts in, facts out; both shapes of payloads are read, before and since `basil`.

The shape follows the API version of the webhook endpoint, not the SDK's: `invoice.subscription` moved below `parent`,
a line's `price` below `pricing`, a subscription's `current_period_*` to its items. Sources: Stripe's API reference and
changelog (2025-03-31.basil).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from jobs.providers.facts import AnyFact, CheckoutEnded, CustomerKnown, PaymentSettled
from jobs.providers.malformed import MalformedEvent, malformed
from jobs.providers.stripe import invoices, reversals
from jobs.providers.stripe.objects import (
    Object,
    currency_of,
    customer_named,
    get,
    id_of,
    metadata,
    objects,
    own_id,
    price_of,
    subscription_metadata,
    text,
    whole,
)
from models.catalog.apps import App
from models.errors import NotOurs, Unprocessable
from models.inbox.events import MEND, Event
from models.ledger.accounts import BY_HAND, NOT_ALONE
from settings import settings

Handler = Callable[[App, Event, Object], Iterable[AnyFact]]
# A session's `payment_status`: paid, or nothing to pay.
SETTLED = ("paid", "no_payment_required")


def facts_of(app: App, event: Event) -> Iterator[AnyFact]:
    """The facts that an event tells.

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
    for told in (event.payload, thing):
        _check_mode(app, told)
    named = _named_app(thing)
    if named is not None and named != app.slug:
        raise NotOurs(f"it belongs to the app {str(named)[:120]!r}")
    try:
        yield from handler(app, event, thing)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise malformed(event, error) from error


def note_of(app: App, event: Event) -> str | None:
    """A change to a price that the catalog does not know: all but the plan is taken over.

    The price of a checkout is often made for it alone, and no catalog has it: so only one that was changed is told of.
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
    """Whether there is an API key to fetch the object afresh with; without one the signed payload is what there is."""
    return bool(app.stripe.secret_key or settings.stripe_secret_key) and event.type in HANDLERS


def prepare(app: App, event: Event) -> Event:
    """The event with its object fetched afresh.

    Raises:
        ProviderAway: Stripe gave no answer.
    """
    from jobs.providers.stripe import refetch

    return refetch.prepare(app, event)


def _check_account(event: Event) -> None:
    """Stripe names an account only in events of connected ones: what they sell is not sold by us."""
    named = event.payload.get("account")
    if named is not None:
        raise NotOurs(f"it is of the connected account {str(named)[:120]!r}, not of the one that the endpoint is of")


def _check_mode(app: App, told: Object) -> None:
    """Of the event, and of its object, which may contradict it."""
    live = told.get("livemode")
    key = app.stripe.secret_key or settings.stripe_secret_key or ""
    expected = not settings.sandbox and not key.startswith(("sk_test_", "rk_test_"))
    if isinstance(live, bool) and live != expected:
        raise NotOurs(f"it is a {'live' if live else 'test'} event and this is {'live' if expected else 'test'} mode")


def _named_app(thing: Object) -> Any:
    return metadata(thing).get("app") or subscription_metadata(thing).get("app")


# --- checkout sessions


def _session_completed(app: App, event: Event, session: Object) -> Iterator[AnyFact]:
    yield from _customer(app, event, session)
    if session.get("mode") not in ("payment", "subscription", None):
        raise NotOurs(f"a checkout session of mode {session['mode']!r} sells nothing")
    yield from _session_is(app, event, session, _paid_state(session))


def _session_paid(app: App, event: Event, session: Object) -> Iterator[AnyFact]:
    return _session_is(app, event, session, _paid_state(session))


def _paid_state(session: Object) -> Literal["settled", "pending"]:
    """Whether the money has come. What does not say so clearly has not been paid.

    Raises:
        NotOurs: nobody completed the session. Unreadable: it has a payment status that we do not know, or none.
    """
    if session.get("status") in ("open", "expired"):
        raise NotOurs(f"the session is {session['status']}: nobody has paid it")
    status = session.get("payment_status")
    if status not in (*SETTLED, "unpaid"):
        raise MalformedEvent(status, "paid, no_payment_required or unpaid", "data.object.payment_status")
    return "pending" if status == "unpaid" else "settled"


def _session_failed(app: App, event: Event, session: Object) -> Iterator[AnyFact]:
    return _session_is(app, event, session, "failed")


def _session_is(app: App, event: Event, session: Object, state: Any) -> Iterator[AnyFact]:
    """What became of a session. Of a plan's the invoices tell the rest."""
    if session.get("mode") == "subscription":
        yield from _ended(app, event, session, "paid" if state == "settled" else state)
    else:
        yield _sold(app, event, session, state)


def _intent_succeeded(app: App, event: Event, intent: Object) -> Iterator[AnyFact]:
    """The same payment as its checkout session's, if it is of a checkout of ours: only that says how many were sold."""
    named = metadata(intent)
    if not (named.get("checkout") and named.get("pack")):
        raise NotOurs(
            f"a payment intent does not say how many were sold, and it names no checkout of ours: {NOT_ALONE}"
        )
    yield PaymentSettled(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        customer=named.get("customer"),
        reference=own_id(intent),
        aliases=tuple(name for name in (id_of(intent.get("latest_charge")),) if name),
        pack=named["pack"],
        checkout=named["checkout"],
        only_if_promised=True,
        amount_minor=whole(intent.get("amount_received")),
        currency=currency_of(intent),
    )


def _session_expired(app: App, event: Event, session: Object) -> Iterator[AnyFact]:
    return _ended(app, event, session, "expired")


def _ended(app: App, event: Event, session: Object, state: Any) -> Iterator[AnyFact]:
    checkout = metadata(session).get("checkout")
    if checkout:
        yield CheckoutEnded(
            app=app.slug,
            provider=event.provider,
            event_id=event.event_id,
            checkout=checkout,
            reference=text(session["id"]),
            state=state,
        )


def _sold(app: App, event: Event, session: Object, state: Any) -> PaymentSettled:
    intent = id_of(session.get("payment_intent"))
    invoice = id_of(session.get("invoice"))
    item = _only_item(session)
    quantity = item.get("quantity", 1)
    if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
        raise MalformedEvent(quantity, "a quantity of 1 or more")
    return PaymentSettled(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        customer=customer_named(session),
        reference=intent or text(session["id"]),
        aliases=tuple(name for name in (text(session["id"]), invoice) if name),
        pack=metadata(session).get("pack"),
        price_id=price_of(item) or metadata(session).get("price"),
        quantity=quantity,
        checkout=metadata(session).get("checkout"),
        amount_minor=whole(session.get("amount_total")),
        currency=currency_of(session),
        state=state,
    )


def _only_item(session: Object) -> Object:
    """The line item of a session that carries them; sessions in events usually do not."""
    items = objects(session, "line_items", "data")
    if len(items) > 1:
        raise Unprocessable(
            f"the session has {len(items)} line items, and packs are sold one kind at a time: {BY_HAND}"
        )
    return items[0] if items else {}


def _customer(app: App, event: Event, session: Object) -> Iterator[CustomerKnown]:
    customer, known_as = customer_named(session), id_of(session.get("customer"))
    if customer and known_as:
        yield CustomerKnown(
            app=app.slug,
            provider=event.provider,
            event_id=event.event_id,
            customer=customer,
            provider_customer=known_as,
        )


HANDLERS: dict[str, Handler] = {
    "checkout.session.completed": _session_completed,
    "checkout.session.async_payment_succeeded": _session_paid,
    "checkout.session.async_payment_failed": _session_failed,
    "checkout.session.expired": _session_expired,
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
    "payment_intent.succeeded": _intent_succeeded,
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
