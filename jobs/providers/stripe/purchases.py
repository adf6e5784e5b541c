"""Stripe's checkout sessions and payment intents as facts: packs that were paid, checkouts that ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from jobs.providers.facts import AnyFact, CheckoutEnded, CustomerKnown, PaymentSettled, PlanReported
from jobs.providers.malformed import MalformedEvent
from jobs.providers.sold import PackLine
from jobs.providers.stripe import parts
from jobs.providers.stripe.objects import (
    Object,
    created,
    currency_of,
    customer_named,
    get,
    id_of,
    metadata,
    objects,
    own_id,
    price_of,
    text,
    time_of,
    whole,
)
from models.catalog.apps import App
from models.errors import NotOurs, Unprocessable
from models.inbox.events import Event
from models.ledger import accounts
from models.ledger.accounts import CREDIT_MANUALLY, CREDITED_ELSEWHERE
from models.plans.facts import Session as SubscriptionSession

# A session's `payment_status`: paid, or nothing to pay.
SETTLED = ("paid", "no_payment_required")


def session_completed(app: App, event: Event, session: Object) -> Iterator[AnyFact]:
    yield from _known_customer(app, event, session)
    if session.get("mode") not in ("payment", "subscription", None):
        raise NotOurs(f"checkout sessions of mode {session['mode']!r} are not used")
    yield from _session_reached(app, event, session, _paid_state(session))


def session_paid(app: App, event: Event, session: Object) -> Iterator[AnyFact]:
    return _session_reached(app, event, session, _paid_state(session))


def _paid_state(session: Object) -> Literal["settled", "pending"]:
    """Whether the session has been paid. An unclear status counts as not paid.

    Raises:
        NotOurs: the session is not completed.
        MalformedEvent: the payment status is missing or unknown.
    """
    if session.get("status") in ("open", "expired"):
        raise NotOurs(f"the checkout session is {session['status']}, not paid")
    status = session.get("payment_status")
    if status not in (*SETTLED, "unpaid"):
        raise MalformedEvent(status, "paid, no_payment_required or unpaid", "data.object.payment_status")
    is_authorized = get(session, "payment_intent", "status") == "requires_capture"
    return "pending" if status == "unpaid" or is_authorized else "settled"


def session_failed(app: App, event: Event, session: Object) -> Iterator[AnyFact]:
    return _session_reached(app, event, session, "failed")


def _session_reached(app: App, event: Event, session: Object, state: Any) -> Iterator[AnyFact]:
    """The facts of a session that reached the state. A plan is granted by its invoices."""
    if session.get("mode") == "subscription":
        yield from _ended(app, event, session, "paid" if state == "settled" else state)
        yield from _subscribed(app, event, session, is_paid=state == "settled")
    else:
        yield _payment(app, event, session, state)


def intent_succeeded(app: App, event: Event, intent: Object) -> Iterator[AnyFact]:
    """The payment of one of Scrip's checkouts, which has the quantity; a payment intent alone has none."""
    named = metadata(intent)
    if not (named.get("checkout") and named.get("pack")):
        raise NotOurs(f"the payment intent names no checkout of Scrip, and has no quantity: {CREDITED_ELSEWHERE}")
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


def session_expired(app: App, event: Event, session: Object) -> Iterator[AnyFact]:
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


def _subscribed(app: App, event: Event, session: Object, *, is_paid: bool) -> Iterator[PlanReported]:
    """The session as a fact of the subscription that it names."""
    subscription = id_of(session.get("subscription"))
    customer = customer_named(session)
    if subscription is None:
        return
    yield PlanReported(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        subscription=subscription,
        fact=SubscriptionSession(
            key=f"{own_id(session)}:{'paid' if is_paid else 'unpaid'}",
            session=own_id(session),
            at=time_of(session.get("created")) or created(event),
            is_paid=is_paid,
            customer=accounts.known(customer, "metadata.customer or client_reference_id") if customer else None,
            provider_customer=id_of(session.get("customer")),
            checkout=metadata(session).get("checkout"),
        ),
    )


def _payment(app: App, event: Event, session: Object, state: Any) -> PaymentSettled:
    intent = id_of(session.get("payment_intent"))
    invoice = id_of(session.get("invoice"))
    return PaymentSettled(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        customer=customer_named(session),
        provider_customer=id_of(session.get("customer")),
        reference=intent or text(session["id"]),
        aliases=tuple(name for name in (text(session["id"]), invoice) if name),
        checkout=metadata(session).get("checkout"),
        amount_minor=whole(session.get("amount_total")),
        currency=currency_of(session),
        state=state,
        parts=parts.of_session(session),
        **_sold(app, session),
    )


def _sold(app: App, session: Object) -> dict[str, Any]:
    """The fields of the fact that say what was sold: by the line items, which sessions in events usually lack.

    Raises:
        Unprocessable: none of several line items has the price of a pack.
    """
    items = objects(session, "line_items", "data")
    if len(items) > 1:
        return _of_items(app, session, items)
    item = items[0] if items else {}
    return {
        "pack": metadata(session).get("pack"),
        "price_id": price_of(item) or metadata(session).get("price"),
        "quantity": _quantity(item),
        "subtotal": None if items else _subtotal(session),
        "has_amounts": bool(items)
        or _subtotal(session) is not None
        or session.get("payment_status") == "no_payment_required",
    }


def _of_items(app: App, session: Object, items: list[Object]) -> dict[str, Any]:
    lines = []
    for item in items:
        price = price_of(item)
        if price and app.pack_by_stripe_price(price):
            paid = whole(item.get("amount_total"))
            lines.append(
                PackLine(reference=text(item["id"]), price_id=price, quantity=_quantity(item), amount_minor=paid)
            )
    if not lines:
        raise Unprocessable(
            f"the checkout session has {len(items)} line items, and no pack of the catalog of {app.slug} has the price"
            f" of any of them: {CREDIT_MANUALLY}"
        )
    others = len(items) - len(lines)
    note = f"{others} of {len(items)} line items have prices of no pack, and were not credited" if others else None
    return {"lines": tuple(lines), "document": text(session["id"]), "note": note}


def _quantity(item: Object) -> int:
    quantity = item.get("quantity", 1)
    if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
        raise MalformedEvent(quantity, "a quantity of 1 or more")
    return quantity


def _subtotal(session: Object) -> tuple[int, str] | None:
    """The amount before discount and tax, in the currency of the price: Stripe may have converted it for the buyer."""
    converted = get(session, "currency_conversion")
    source = {**converted, "currency": converted.get("source_currency")} if isinstance(converted, dict) else session
    amount_minor, currency = whole(source.get("amount_subtotal")), currency_of(source)
    return (amount_minor, currency) if amount_minor is not None and currency else None


def _known_customer(app: App, event: Event, session: Object) -> Iterator[CustomerKnown]:
    customer, known_as = customer_named(session), id_of(session.get("customer"))
    if customer and known_as:
        yield CustomerKnown(
            app=app.slug,
            provider=event.provider,
            event_id=event.event_id,
            customer=customer,
            provider_customer=known_as,
        )
