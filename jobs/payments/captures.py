"""Authorised payments that are captured later, and the parts of a payment that later events report."""

from __future__ import annotations

from datetime import datetime

from jobs.payments import purchases
from jobs.providers.facts import PaymentCaptured, PaymentParts, PaymentSettled
from jobs.providers.sold import PackLine
from models.catalog.apps import App
from models.database import Connection
from models.ledger import accounts
from models.payments import payments, sales
from models.payments import reversals as payment_reversals
from models.payments.payments import ReversiblePayment


def capture(conn: Connection, app: App, fact: PaymentCaptured, *, now: datetime) -> str | None:
    """Store what was captured, and settle the payment if it is stored. Returns its customer.

    A capture that is reported before its session is applied with the session.

    Raises:
        Unprocessable: too little was captured for a pack, or a part of several packs.
    """
    payment_reversals.store_capture(
        conn,
        app.slug,
        fact.provider,
        fact.payment,
        fact.amount_minor,
        authorized_minor=fact.authorized_minor,
        canceled=fact.canceled,
        now=now,
    )
    ids = payment_reversals.lock(conn, app.slug, fact.provider, fact.payment)
    payment = payments.find(conn, app.slug, fact.provider, ids)
    if payment is None:
        return None
    if payment.entry_id is not None or payment.pack is None:
        return accounts.customer_of(conn, payment.account_id)
    return purchases.settle(conn, app, _pending(conn, fact, payment), now=now)


def _pending(conn: Connection, fact: PaymentCaptured, payment: ReversiblePayment) -> PaymentSettled:
    """The stored payment as its session reported it."""
    quantity, sale = sales.pending(conn, payment.id)
    return PaymentSettled(
        app=fact.app,
        provider=fact.provider,
        event_id=fact.event_id,
        customer=accounts.customer_of(conn, payment.account_id),
        reference=payment.reference,
        aliases=tuple(payment.aliases),
        pack=payment.pack,
        quantity=quantity,
        lines=tuple(PackLine(**line) for line in sale.get("lines", ())),
        document=sale.get("document"),
        subtotal=tuple(sale["subtotal"]) if sale.get("subtotal") else None,
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        state="pending",
    )


def store_parts(conn: Connection, app: App, fact: PaymentParts, *, now: datetime) -> str | None:
    """Store the tax, discount and fee of a payment. Returns its customer; None if the payment is not stored."""
    ids = payment_reversals.lock(conn, app.slug, fact.provider, fact.payment)
    account_id = sales.store_parts(
        conn,
        app.slug,
        fact.provider,
        ids,
        tax_minor=fact.parts.tax_minor,
        discount_minor=fact.parts.discount_minor,
        fee_minor=fact.parts.fee_minor,
    )
    return accounts.customer_of(conn, account_id) if account_id else None
