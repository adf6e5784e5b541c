"""Translates Stripe's invoices of subscriptions, and credit notes before their payment, into bills.

Sources: Stripe's API reference on Invoice, its lines and CreditNote, before and since basil.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jobs.providers.facts import AnyFact, PlanReported
from jobs.providers.malformed import MalformedEvent
from jobs.providers.stripe import parts
from jobs.providers.stripe.objects import (
    Object,
    created,
    currency_of,
    get,
    id_of,
    metadata,
    objects,
    own_id,
    price_of,
    subscription_metadata,
    text,
    time_of,
    whole,
)
from jobs.providers.stripe.pack_lines import pack_lines
from jobs.providers.stripe.subscriptions import interval_of, quantity_of
from models.catalog.apps import App
from models.errors import NotOurs
from models.inbox.events import Event
from models.ledger import accounts
from models.plans.facts import STATES, Bill, CreditNote, Line

LARGEST_AMOUNT = 2**53
LONGEST_URL = 2000


def invoice_changed(app: App, event: Event, invoice: Object) -> Iterator[AnyFact]:
    """The invoice as a bill, in the state that it has or, if its payment failed, had.

    Raises:
        NotOurs: it does not belong to a subscription.
    """
    subscription = subscription_of(invoice)
    if not subscription:
        raise NotOurs("the invoice does not belong to a subscription")
    yield PlanReported(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        subscription=subscription,
        fact=bill(event, invoice),
    )


def invoice_paid(app: App, event: Event, invoice: Object) -> Iterator[AnyFact]:
    """A paid invoice of a plan, of packs, or of both.

    Raises:
        NotOurs: it is of neither.
    """
    packs = list(pack_lines(app, event, invoice))
    if subscription_of(invoice) or not packs:
        yield from invoice_changed(app, event, invoice)
    yield from packs or parts.of_paid_invoice(app, event, invoice)


def subscription_of(invoice: Object) -> str | None:
    """The id of the invoice's subscription."""
    return id_of(invoice.get("subscription")) or id_of(get(invoice, "parent", "subscription_details", "subscription"))


def bill(event: Event, invoice: Object) -> Bill:
    """What the invoice says."""
    state = _state(event, invoice)
    named = subscription_metadata(invoice)
    lines = objects(invoice, "lines", "data")
    customer = named.get("customer") or next(filter(None, (metadata(line).get("customer") for line in lines)), None)
    reason = invoice.get("billing_reason")
    paid = whole(invoice.get("amount_paid"))
    return Bill(
        key=f"{event.event_id}:{state}:fetched" if event.is_fetched else f"{event.event_id}:{state}",
        bill=own_id(invoice),
        state=state,
        at=time_of(invoice.get("created")) or created(event),
        lines=tuple(_line(line, number, paid or 0) for number, line in enumerate(lines)),
        reason=text(reason) if isinstance(reason, str) and reason else None,
        total_minor=_amount(invoice.get("total"), default=paid or 0),
        paid_minor=paid or 0,
        currency=currency_of(invoice),
        credited_minor=whole(invoice.get("pre_payment_credit_notes_amount")) or 0,
        customer=accounts.known(customer, "metadata.customer of the subscription") if customer else None,
        provider_customer=id_of(invoice.get("customer")),
        plan=named.get("plan"),
        checkout=named.get("checkout"),
        aliases=tuple(name for name in (id_of(invoice.get("payment_intent")), id_of(invoice.get("charge"))) if name),
        is_complete=get(invoice, "lines", "has_more") is not True,
        url=_url(invoice.get("hosted_invoice_url")),
    )


def _url(value: Any) -> str | None:
    """The page of the invoice. What is no such address is left out, because nothing depends on it."""
    is_one = isinstance(value, str) and value.startswith(("https://", "http://")) and len(value) <= LONGEST_URL
    return value if is_one and value.isprintable() else None


def _state(event: Event, invoice: Object) -> str:
    """The state of the bill. A failed payment leaves the invoice open, so the event tells of it.

    Raises:
        MalformedEvent: the status is unknown.
    """
    status = invoice.get("status")
    if status is None:
        status = {"invoice.paid": "paid", "invoice.payment_succeeded": "paid", "invoice.voided": "void"}.get(event.type)
        status = status or "open"
    if status not in STATES:
        raise MalformedEvent(status, "a status of an invoice", "data.object.status")
    return "failed" if status == "open" and event.type == "invoice.payment_failed" else str(status)


def _line(line: Object, number: int, paid: int) -> Line:
    start, end = time_of(get(line, "period", "start")), time_of(get(line, "period", "end"))
    if start is None or end is None:
        raise ValueError("a line of data.object.lines has no period")
    details = [get(line, "parent", kind) for kind in ("subscription_item_details", "invoice_item_details")]
    is_prorated = bool(line.get("proration") or any(get(one, "proration") for one in details))
    is_own = line.get("type") == "invoiceitem" or get(line, "parent", "type") == "invoice_item_details"
    return Line(
        id=id_of(line.get("id")) or str(number),
        start=start,
        end=end,
        amount_minor=_amount(line.get("amount"), default=paid),
        item=id_of(line.get("subscription_item")) or _item(details),
        price=price_of(line),
        quantity=quantity_of(line),
        interval=interval_of(line),
        is_prorated=is_prorated,
        is_one_off=is_own and not is_prorated,
        plan=metadata(line).get("plan"),
        credits=_credits(line, details),
    )


def _item(details: list[Any]) -> str | None:
    return next(filter(None, (id_of(get(one, "subscription_item")) for one in details)), None)


def _credits(line: Object, details: list[Any]) -> tuple[str, ...]:
    """The invoice and the lines that a line credits."""
    for one in (line, *details):
        credited = get(one, "proration_details", "credited_items")
        if isinstance(credited, dict):
            lines = credited.get("invoice_line_items")
            named = [credited.get("invoice"), *(lines if isinstance(lines, list) else [])]
            return tuple(text(name) for name in named if isinstance(name, str) and name)
    return ()


def _amount(value: Any, *, default: int) -> int:
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= LARGEST_AMOUNT:
        raise MalformedEvent(value, "an amount in minor units")
    return value


def credit_note(app: App, event: Event, note: Object) -> Iterator[AnyFact]:
    """A credit note that was issued before its invoice was paid."""
    is_void = note.get("status") == "void"
    invoice = id_of(note.get("invoice"))
    if not invoice:
        raise MalformedEvent(note.get("invoice"), "the id of an invoice", "data.object.invoice")
    yield PlanReported(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        subscription=None,
        fact=CreditNote(
            key=f"{own_id(note)}:void" if is_void else own_id(note),
            note=text(note["id"]),
            bill=invoice,
            amount_minor=whole(note.get("total")) or whole(note.get("amount")) or 0,
            is_void=is_void,
        ),
    )
