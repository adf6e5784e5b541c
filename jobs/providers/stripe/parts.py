"""The tax, discount and fee of Stripe's payments, where an object contains them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jobs.providers.facts import PaymentParts
from jobs.providers.sold import NO_PARTS, Parts
from jobs.providers.stripe.objects import Object, currency_of, get, id_of, objects, own_id, whole
from models.catalog.apps import App
from models.inbox.events import Event


def of_session(session: Object) -> Parts:
    """The parts of a checkout session's amount."""
    charge = get(session, "payment_intent", "latest_charge")
    return Parts(
        tax_minor=whole(get(session, "total_details", "amount_tax")),
        discount_minor=whole(get(session, "total_details", "amount_discount")),
        fee_minor=fee_of(charge),
    )


def of_invoice(invoice: Object) -> Parts:
    """The parts of an invoice's total, in the shape before or since basil."""
    taxes = (_sum(invoice, "total_taxes"), _sum(invoice, "total_tax_amounts"), whole(invoice.get("tax")))
    return Parts(
        tax_minor=next((tax for tax in taxes if tax is not None), None),
        discount_minor=_sum(invoice, "total_discount_amounts"),
    )


def of_paid_invoice(app: App, event: Event, invoice: Object) -> Iterator[PaymentParts]:
    """The parts of an invoice whose payment another fact reports, if the invoice has any."""
    found = of_invoice(invoice)
    if found != NO_PARTS:
        yield _known(app, event, (own_id(invoice),), found)


def of_charge(app: App, event: Event, charge: Object) -> Iterator[PaymentParts]:
    """Stripe's fee on a charge, if the charge contains it."""
    fee_minor, ids = fee_of(charge), (id_of(charge), id_of(charge.get("payment_intent")))
    if fee_minor is not None:
        yield _known(app, event, tuple(name for name in ids if name), Parts(fee_minor=fee_minor))


def _known(app: App, event: Event, payment: tuple[str, ...], found: Parts) -> PaymentParts:
    return PaymentParts(app=app.slug, provider=event.provider, event_id=event.event_id, payment=payment, parts=found)


def fee_of(charge: Any) -> int | None:
    """Stripe's fee on a charge whose balance transaction is expanded; None in another currency than the charge's."""
    transaction = get(charge, "balance_transaction")
    if not isinstance(transaction, dict) or currency_of(transaction) != currency_of(charge):
        return None
    return whole(transaction.get("fee"))


def _sum(invoice: Object, name: str) -> int | None:
    if invoice.get(name) is None:
        return None
    return sum(whole(part.get("amount")) or 0 for part in objects(invoice, name))
