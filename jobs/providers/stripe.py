"""Stripe's events as facts. Plain dicts in, facts out; both shapes of payloads are read, before and since `basil`.

The shape follows the API version of the webhook endpoint, not the SDK's: `invoice.subscription` moved below `parent`,
a line's `price` below `pricing`, a subscription's `current_period_*` to its items. Sources: Stripe's API reference and
changelog (2025-03-31.basil).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from typing import Any

from jobs.facts import AnyFact, CustomerKnown, PaymentSettled, PeriodPaid, PlanLine, SubscriptionChanged
from models.apps import App
from models.errors import NotOurs, Unprocessable
from models.events import Event
from settings import settings

Object = dict[str, Any]
Handler = Callable[[App, Event, Object], Iterable[AnyFact]]


def facts_of(app: App, event: Event) -> Iterator[AnyFact]:
    """The facts that an event tells.

    Raises:
        NotOurs: the event is not used, is of the other mode, or names another app.
        Unprocessable: the object is not what its type promises.
    """
    handler = HANDLERS.get(event.type)
    if handler is None:
        raise NotOurs(f"{event.type} is not used")
    thing = _get(event.payload, "data", "object")
    if not isinstance(thing, dict):
        raise Unprocessable("malformed event: data.object is missing")
    _check_mode(event)
    named = _named_app(thing)
    if named is not None and named != app.slug:
        raise NotOurs(f"it belongs to the app {str(named)[:120]!r}")
    try:
        yield from handler(app, event, thing)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Unprocessable(f"malformed {event.type}: {type(error).__name__} {error}") from error


def _check_mode(event: Event) -> None:
    live = event.payload.get("livemode")
    expected = not settings.sandbox and not (settings.stripe_secret_key or "").startswith("sk_test_")
    if isinstance(live, bool) and live != expected:
        raise NotOurs(f"it is a {'live' if live else 'test'} event and this is {'live' if expected else 'test'} mode")


def _named_app(thing: Object) -> Any:
    return _metadata(thing).get("app") or _subscription_metadata(thing).get("app")


# --- checkout sessions


def _session_completed(app: App, event: Event, session: Object) -> Iterator[AnyFact]:
    yield from _customer(app, event, session)
    if session.get("mode") == "subscription":
        return
    if session.get("mode") not in ("payment", None):
        raise NotOurs(f"a checkout session of mode {session['mode']!r} sells nothing")
    state = "pending" if session.get("payment_status") == "unpaid" else "settled"
    yield _sold(app, event, session, state)


def _session_paid(app: App, event: Event, session: Object) -> Iterator[AnyFact]:
    yield _sold(app, event, session, "settled")


def _session_failed(app: App, event: Event, session: Object) -> Iterator[AnyFact]:
    yield _sold(app, event, session, "failed")


def _sold(app: App, event: Event, session: Object, state: Any) -> PaymentSettled:
    intent = _id(session.get("payment_intent"))
    invoice = _id(session.get("invoice"))
    item = _only_item(session)
    quantity = item.get("quantity", 1)
    if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
        raise ValueError(f"quantity {quantity!r}")
    return PaymentSettled(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        customer=_customer_named(session),
        reference=intent or _text(session["id"]),
        aliases=tuple(name for name in (_text(session["id"]), invoice) if name),
        pack=_metadata(session).get("pack"),
        price_id=_price_of(item) or _metadata(session).get("price"),
        quantity=quantity,
        amount_minor=_whole(session.get("amount_total")),
        currency=session.get("currency"),
        state=state,
    )


def _only_item(session: Object) -> Object:
    """The line item of a session that carries them; sessions in events usually do not."""
    items = _get(session, "line_items", "data") or []
    if len(items) > 1:
        raise Unprocessable(f"a session with {len(items)} line items: packs are sold one kind at a time")
    return items[0] if items else {}


def _customer(app: App, event: Event, session: Object) -> Iterator[CustomerKnown]:
    customer, known_as = _customer_named(session), _id(session.get("customer"))
    if customer and known_as:
        yield CustomerKnown(
            app=app.slug,
            provider=event.provider,
            event_id=event.event_id,
            customer=customer,
            provider_customer=known_as,
        )


# --- subscriptions and their invoices


def _subscription_changed(app: App, event: Event, subscription: Object) -> Iterator[AnyFact]:
    item = (_get(subscription, "items", "data") or [{}])[0]
    start = _time(subscription.get("current_period_start") or item.get("current_period_start"))
    yield SubscriptionChanged(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        subscription=_text(subscription["id"]),
        customer=_metadata(subscription).get("customer"),
        provider_customer=_id(subscription.get("customer")),
        plan=_metadata(subscription).get("plan"),
        price_id=_price_of(item),
        status="canceled" if event.type.endswith(".deleted") else _text(subscription["status"]),
        anchor=_time(subscription.get("billing_cycle_anchor") or subscription.get("start_date"))
        or start
        or _created(event),
        period_start=start,
        period_end=_time(subscription.get("current_period_end") or item.get("current_period_end")),
        changed_at=_created(event),
    )


RENEWALS = ("subscription_create", "subscription_cycle")


def _invoice(app: App, event: Event, invoice: Object, paid: bool) -> Iterator[AnyFact]:
    subscription = _id(invoice.get("subscription")) or _id(
        _get(invoice, "parent", "subscription_details", "subscription")
    )
    if not subscription:
        raise NotOurs("the invoice is of no subscription")
    line = _plan_line(invoice)
    yield PeriodPaid(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        subscription=subscription,
        customer=_subscription_metadata(invoice).get("customer") or _metadata(line or {}).get("customer"),
        provider_customer=_id(invoice.get("customer")),
        invoice=_text(invoice["id"]),
        paid=paid,
        renews=invoice.get("billing_reason") in RENEWALS,
        line=_paid_line(line, invoice) if line else None,
        amount_minor=_whole(invoice.get("amount_paid")),
        currency=invoice.get("currency"),
        aliases=tuple(name for name in (_id(invoice.get("payment_intent")),) if name),
    )


def _invoice_paid(app: App, event: Event, invoice: Object) -> Iterator[AnyFact]:
    return _invoice(app, event, invoice, paid=True)


def _invoice_unpaid(app: App, event: Event, invoice: Object) -> Iterator[AnyFact]:
    return _invoice(app, event, invoice, paid=False)


def _plan_line(invoice: Object) -> Object | None:
    """The line that pays for the plan itself: the latest one that is no proration."""
    lines = [line for line in _get(invoice, "lines", "data") or [] if not _is_proration(line)]
    return max(lines, key=lambda line: line["period"]["start"], default=None)


def _is_proration(line: Object) -> bool:
    details = _get(line, "parent", "subscription_item_details") or {}
    return bool(line.get("proration") or details.get("proration"))


def _paid_line(line: Object, invoice: Object) -> PlanLine:
    start, end = _time(line["period"]["start"]), _time(line["period"]["end"])
    if start is None or end is None:
        raise ValueError("a line without a period")
    plan = _subscription_metadata(invoice).get("plan") or _metadata(line).get("plan")
    return PlanLine(plan=plan, price_id=_price_of(line), start=start, end=end)


HANDLERS: dict[str, Handler] = {
    "checkout.session.completed": _session_completed,
    "checkout.session.async_payment_succeeded": _session_paid,
    "checkout.session.async_payment_failed": _session_failed,
    "customer.subscription.created": _subscription_changed,
    "customer.subscription.updated": _subscription_changed,
    "customer.subscription.deleted": _subscription_changed,
    "invoice.paid": _invoice_paid,
    "invoice.payment_failed": _invoice_unpaid,
}


# --- reading Stripe's objects


def _get(thing: Any, *path: str) -> Any:
    for name in path:
        thing = thing.get(name) if isinstance(thing, dict) else None
    return thing


def _id(thing: Any) -> str | None:
    """The id of a reference, expanded or not."""
    if isinstance(thing, dict):
        thing = thing.get("id")
    return _text(thing) if thing else None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 255 or "\x00" in value:
        raise ValueError(f"expected a short text, got {str(value)[:60]!r}")
    return value


def _whole(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise ValueError(f"expected an amount in minor units, got {str(value)[:60]!r}")
    return value


def _time(value: Any) -> datetime | None:
    return datetime.fromtimestamp(value, timezone.utc) if value else None


def _created(event: Event) -> datetime:
    return _time(event.payload.get("created")) or event.received_at


def _metadata(thing: Object) -> Object:
    """The metadata; values that are no text are as good as absent."""
    found = thing.get("metadata")
    return {key: value for key, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}


def _subscription_metadata(invoice: Object) -> Object:
    """The subscription's metadata as its invoices carry it."""
    details = _get(invoice, "parent", "subscription_details") or invoice.get("subscription_details")
    return _metadata(details) if isinstance(details, dict) else {}


def _customer_named(thing: Object) -> str | None:
    reference = thing.get("client_reference_id")
    return _metadata(thing).get("customer") or (reference if isinstance(reference, str) else None)


def _price_of(line: Object) -> str | None:
    return _id(line.get("price")) or _id(_get(line, "pricing", "price_details", "price")) or _id(line.get("plan"))
