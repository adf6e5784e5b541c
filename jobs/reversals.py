"""Payments whose money goes back: refunds, disputes, and what is given back of them.

The money that went back is a set; what is clawed of the payment's units follows from it, up or down, so that any order
and any repetition of events ends the same. A return that comes before its payment waits as a row of its own, and the
payment's grant applies it in the same commit.

Target = floor(granted × (refunded + disputed − given back) ÷ paid); all of it at a full return, nothing at price 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import psycopg

from jobs import grants
from jobs.facts import Dispute, PaymentKnownAs, PaymentReversed
from models import accounts, ledger, outbox, payments, returns
from models import subscriptions as stored
from models.apps import App
from models.movements import Clawback, Freeze, Movement
from models.outbox import Message
from models.payments import Returnable
from models.returns import Returned

Connection = psycopg.Connection[tuple[Any, ...]]


def reverse(conn: Connection, app: App, fact: PaymentReversed, *, now: datetime) -> str | None:
    """Store what went back, and settle the payment if it is known. Returns its customer."""
    ids = fact.payment
    for refund in fact.refunds:
        returns.store_refund(
            conn, app.slug, fact.provider, ids, refund.reference, refund.amount_minor, refund.failed, now=now
        )
    if fact.refunded_minor is not None:
        returns.store_refunded(conn, app.slug, fact.provider, ids, fact.refunded_minor, now=now)
    if fact.dispute is not None:
        _store_dispute(conn, app, fact, fact.dispute, now)
    return settle(conn, app, fact.provider, ids, event_id=fact.event_id, now=now)


def _store_dispute(conn: Connection, app: App, fact: PaymentReversed, dispute: Dispute, now: datetime) -> None:
    returns.store_dispute(
        conn,
        app.slug,
        fact.provider,
        fact.payment,
        dispute.reference,
        stage=dispute.stage,
        moves={move.reference: move.amount_minor for move in dispute.moves},
        withdrawn_minor=dispute.withdrawn_minor,
        reinstated_minor=dispute.reinstated_minor,
        now=now,
    )


def know_as(conn: Connection, app: App, fact: PaymentKnownAs, *, now: datetime) -> str | None:
    """Note that one payment goes by all of these ids. Returns its customer, if it is known."""
    returns.store_alias(conn, app.slug, fact.provider, fact.payment, now=now)
    return settle(conn, app, fact.provider, fact.payment, event_id=fact.event_id, now=now)


def settle(
    conn: Connection, app: App, provider: str, ids: Iterable[str], *, event_id: str, now: datetime
) -> str | None:
    """Bring the payment of these ids to what went back of it. Returns its customer; None while there is no payment.

    Whoever credits a payment calls this too, in the same transaction.
    """
    known = returns.lock(conn, app.slug, provider, ids)
    payment = payments.find(conn, app.slug, provider, known)
    if payment is None:
        return None
    # What went back is known by any of its ids, and this event may have named but one of them.
    known = returns.lock(conn, app.slug, provider, {*known, payment.reference, *payment.aliases})
    customer = accounts.customer_of(conn, payment.account_id)
    before = (payment.refunded_minor, payment.disputed_minor, payment.state)
    back = returns.of_payment(conn, app.slug, provider, known)
    payment.aliases = sorted({*payment.aliases, *known} - {payment.reference})
    _cap(payment, back)
    if payment.state not in ("pending", "failed"):
        payment.state = _state(payment, back)
    payments.save_returns(conn, payment, now=now)
    if (payment.refunded_minor, payment.disputed_minor, payment.state) != before:
        units = _claw(conn, app, customer, payment, back, event_id, now)
        _tell(conn, app, customer, payment, units, now)
    return customer


def _cap(payment: Returnable, back: Returned) -> None:
    """A refund and a dispute of one payment never take more than was paid."""
    paid = payment.amount_minor or 0
    payment.refunded_minor = min(back.refunded_minor, paid)
    payment.disputed_minor = min(back.disputed_minor, paid - payment.refunded_minor)


def _state(payment: Returnable, back: Returned) -> str:
    if payment.disputed_minor or back.frozen:
        return "disputed"
    if not payment.refunded_minor:
        return "settled"
    return "refunded" if payment.refunded_minor == payment.amount_minor else "partly_refunded"


def _claw(
    conn: Connection, app: App, customer: str, payment: Returnable, back: Returned, event_id: str, now: datetime
) -> int:
    """Bring what was clawed of the payment's grants to their targets. Returns the units of all targets."""
    if payment.subscription_id is not None:
        _stop_or_go_on(conn, app, payment, now)
        granted = payments.cycle_grants(conn, payment)
    else:
        granted = [(payment.entry_id, payment.units_granted)] if payment.entry_id else []
    common: dict[str, Any] = {
        "app": app.slug,
        "customer": customer,
        "reason": f"{payment.state.replace('_', ' ')}: {payment.reference}",
        "actor": payment.provider,
        "meta": {"event": event_id, "payment": payment.reference, "provider": payment.provider},
    }
    targets = [(entry, _target(payment, units)) for entry, units in granted]
    movements: list[Movement] = [Freeze(**common, payment_id=payment.id, frozen=back.frozen)]
    movements += [Clawback(**common, entry_id=entry, target_units=units) for entry, units in targets]
    ledger.post(conn, movements, now=now)
    return sum(units for _, units in targets)


def _target(payment: Returnable, units: int) -> int:
    if not payment.amount_minor:
        return 0
    return units * (payment.refunded_minor + payment.disputed_minor) // payment.amount_minor


def _stop_or_go_on(conn: Connection, app: App, payment: Returnable, now: datetime) -> None:
    """Cycles that a plan's payment would have paid for are owed no more once it went back whole, or again if it came
    back after all.
    """
    assert payment.subscription_id is not None
    it = stored.lock_by_id(conn, payment.subscription_id)
    returned = f"returned:{payment.reference}"
    others = [name for name in it.unpaid_invoices if name != returned]
    whole = bool(payment.amount_minor) and payment.refunded_minor + payment.disputed_minor >= (
        payment.amount_minor or 0
    )
    whole = whole and payment.period_end is not None
    whole = whole and not (it.current_period_end and payment.period_end and payment.period_end < it.current_period_end)
    it.unpaid_invoices = [*others, returned] if whole else others
    it.paid_until = payments.paid_until(conn, it.id)
    stored.save(conn, it, now=now)
    grants.grant_due(conn, app, [it], now=now)


def _tell(conn: Connection, app: App, customer: str, payment: Returnable, units: int, now: datetime) -> None:
    data = {
        "payment": payment.id,
        "provider": payment.provider,
        "reference": payment.reference,
        "state": payment.state,
        "refunded_minor": payment.refunded_minor,
        "disputed_minor": payment.disputed_minor,
        "units": units,
    }
    outbox.tell(conn, [Message(app.slug, "payment.reversed", customer, data)], now=now)
