"""The state of a payment after its refunds and disputes. The movements of units that follow are made by jobs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from models.database import Connection
from models.payments import payments
from models.payments import reversals as payment_reversals
from models.payments.amounts import PaymentReversals
from models.payments.payments import ReversiblePayment


def refresh(
    conn: Connection, app: str, provider: str, ids: Iterable[str], *, now: datetime
) -> tuple[ReversiblePayment | None, bool]:
    """Apply all stored reversals to the payment with these ids. Returns it, and whether its state has changed.

    None: no payment with these ids is stored yet.
    """
    all_ids = payment_reversals.lock(conn, app, provider, ids)
    payment = payments.find(conn, app, provider, all_ids)
    if payment is None:
        return None, False
    before = (payment.refunded_minor, payment.disputed_minor, payment.frozen, payment.state)
    reported = payment_reversals.for_payment(conn, app, provider, all_ids, currency=payment.currency)
    payment.aliases = sorted({*payment.aliases, *all_ids} - {payment.reference})
    _cap(payment, reported)
    payment.frozen = reported.frozen
    if payment.state not in ("pending", "failed"):
        payment.state = _state(payment)
    payments.save_reversals(conn, payment, now=now)
    return payment, (payment.refunded_minor, payment.disputed_minor, payment.frozen, payment.state) != before


def _cap(payment: ReversiblePayment, reported: PaymentReversals) -> None:
    """Set the payment's amounts: refunds and disputes together never exceed what was paid."""
    paid = payment.amount_minor or 0
    payment.refunded_minor = min(reported.refunded_minor, paid)
    payment.disputed_minor = min(reported.disputed_minor, paid - payment.refunded_minor)


def _state(payment: ReversiblePayment) -> str:
    if payment.disputed_minor or payment.frozen:
        return "disputed"
    if not payment.refunded_minor:
        return "settled"
    return "refunded" if payment.refunded_minor == payment.amount_minor else "partly_refunded"
