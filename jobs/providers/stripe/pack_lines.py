"""Packs that were sold on an invoice, alone or beside a plan: a paid line whose price is a pack's."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.providers.facts import PaymentSettled
from jobs.providers.malformed import MalformedEvent
from jobs.providers.sold import PackLine
from jobs.providers.stripe import parts
from jobs.providers.stripe.objects import (
    Object,
    currency_of,
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
from models.catalog.apps import App, Pack
from models.inbox.events import Event


def pack_lines(app: App, event: Event, invoice: Object) -> Iterator[PaymentSettled]:
    """The payment of the invoice's packs, if it has any. Other lines are not looked at."""
    lines = tuple(_lines(app, invoice))
    if not lines:
        return
    yield PaymentSettled(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        customer=subscription_metadata(invoice).get("customer") or metadata(invoice).get("customer"),
        reference=own_id(invoice),
        aliases=tuple(_payments(invoice)),
        lines=lines,
        document=own_id(invoice),
        checkout=metadata(invoice).get("checkout"),
        provider_customer=id_of(invoice.get("customer")),
        is_named_later=True,
        customer_field="metadata.customer of the invoice",
        amount_minor=whole(invoice.get("amount_paid")),
        currency=currency_of(invoice),
        parts=parts.of_invoice(invoice),
    )


def _lines(app: App, invoice: Object) -> Iterator[PackLine]:
    for line in objects(invoice, "lines", "data"):
        price = price_of(line)
        pack = app.pack_by_stripe_price(price) if price else None
        quantity = _quantity(line)
        if price and pack and quantity and _is_sale(line, invoice, pack):
            yield PackLine(reference=text(line["id"]), price_id=price, quantity=quantity, amount_minor=_paid(line))


def _is_sale(line: Object, invoice: Object, pack: Pack) -> bool:
    """Whether the line sells the pack: for money, or for nothing by a coupon. A negative line is a credit."""
    amount = line.get("amount")
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise MalformedEvent(amount, "an amount in minor units")
    discounts = (line.get("discount_amounts"), line.get("discounts"), invoice.get("total_discount_amounts"))
    return amount > 0 or (amount == 0 and (any(discounts) or bool(invoice.get("discount")) or pack.price_minor == 0))


def _quantity(line: Object) -> int:
    quantity = line.get("quantity", 1)
    if quantity is None:
        return 1
    if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 0:
        raise MalformedEvent(quantity, "a quantity of 0 or more")
    return quantity


def _paid(line: Object) -> int | None:
    """The amount of the line without its discounts."""
    amount = whole(line["amount"])
    discounts = sum(whole(discount.get("amount")) or 0 for discount in objects(line, "discount_amounts"))
    return max(0, amount - discounts) if amount is not None else None


def _payments(invoice: Object) -> Iterator[str]:
    """The ids of the invoice's payments, in the shape before or since basil, where the invoice has them."""
    paid = [get(payment, "payment") for payment in objects(invoice, "payments", "data")]
    for thing in (invoice, *paid):
        for name in (id_of(get(thing, "payment_intent")), id_of(get(thing, "charge"))):
            if name:
                yield name
