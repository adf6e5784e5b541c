"""Payment reversals: refunds, disputes (chargebacks) and dispute reinstatements.

The stored reversals of a payment determine how many of its units are clawed back; the number may rise and fall. So any
order and any repetition of events has the same result. A reversal that is reported before its payment is stored, and
applied in the commit that grants the payment.

Target = floor(granted × (refunded + disputed − reinstated) ÷ paid): everything at a full reversal, nothing at price 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from operator import attrgetter
from typing import Any

from jobs.plans import settlement
from jobs.providers.facts import PaymentKnownAs, PaymentReversed
from jobs.providers.returns import Dispute, DisputeMove
from models.catalog.apps import App
from models.database import Connection
from models.errors import Unprocessable
from models.ledger import accounts
from models.ledger.post import post
from models.outbox import messages
from models.payments import disputes, payments, sales, standing
from models.payments import messages as payment_messages
from models.payments import reversals as payment_reversals
from models.payments.amounts import Move
from models.payments.payments import ReversiblePayment
from models.planning.movements import Clawback, Freeze
from models.plans import subscriptions


def reverse(conn: Connection, app: App, fact: PaymentReversed, *, now: datetime) -> str | None:
    """Store the reversals that an event reports, and settle the payment if it is stored. Returns its customer.

    Raises:
        Unprocessable: the payment is in another currency. Nothing was written.
    """
    ids = fact.payment
    if fact.dispute is not None and fact.dispute.whole is not None:
        disputes.lock(conn, app.slug, fact.provider, fact.dispute.whole)
    _check_currency(conn, app, fact)
    for refund in sorted(fact.refunds, key=attrgetter("reference")):
        payment_reversals.store_refund(
            conn, app.slug, fact.provider, ids, refund.reference, refund.amount_minor, refund.failed,
            is_reversal=refund.is_reversal, currency=fact.currency, made_at=refund.made_at, now=now,
        )  # fmt: skip
    for note in sorted(fact.credit_notes, key=attrgetter("reference")):
        payment_reversals.store_credit_note(
            conn, app.slug, fact.provider, ids, note.reference, note.amount_minor, note.voided,
            refunds=dict(note.refunds), now=now,
        )  # fmt: skip
    if fact.refunded_minor is not None:
        payment_reversals.store_refunded(
            conn, app.slug, fact.provider, ids, fact.refunded_minor, currency=fact.currency, now=now
        )
    if fact.dispute is not None:
        _store_dispute(conn, app, fact, fact.dispute, now)
    customer = settle(conn, app, fact.provider, ids, event_id=fact.event_id, now=now)
    if fact.dispute is not None and fact.dispute.whole is not None:
        _level(conn, app, fact, fact.dispute.whole, now)
    return customer


def _check_currency(conn: Connection, app: App, fact: PaymentReversed) -> None:
    if fact.currency is None:
        return
    payment = payments.find(
        conn, app.slug, fact.provider, payment_reversals.lock(conn, app.slug, fact.provider, fact.payment)
    )
    if payment is not None and payment.currency not in (None, fact.currency):
        raise Unprocessable(
            f"a reversal in {fact.currency} of {payment.reference}, which was paid in {payment.currency}: no units "
            "were clawed back; check the object at the provider, and if it is genuine, deduct the units manually "
            "(POST /v1/adjustments)"
        )


def _level(conn: Connection, app: App, fact: PaymentReversed, dispute: str, now: datetime) -> None:
    """Settle the dispute's other payments, which this event may not name."""
    for ids in disputes.level(conn, app.slug, fact.provider, dispute, now=now):
        settle(conn, app, fact.provider, ids, event_id=fact.event_id, now=now)


def _store_dispute(conn: Connection, app: App, fact: PaymentReversed, dispute: Dispute, now: datetime) -> None:
    payment_reversals.store_dispute(
        conn,
        app.slug,
        fact.provider,
        fact.payment,
        dispute.reference,
        stage=dispute.stage,
        amount_minor=dispute.amount_minor,
        moves={move.reference: _stored(move) for move in dispute.moves},
        withdrawn_minor=dispute.withdrawn_minor,
        reinstated_minor=dispute.reinstated_minor,
        at=dispute.at,
        began_at=dispute.began_at,
        now=now,
    )


def _stored(move: DisputeMove) -> Move:
    known = {"minor": move.amount_minor, "currency": move.currency, "at": move.at_seconds}
    return {name: value for name, value in known.items() if value is not None}


def store_alias(conn: Connection, app: App, fact: PaymentKnownAs, *, now: datetime) -> str | None:
    """Store that all of these ids belong to one payment, and settle it. Returns its customer, None if unknown."""
    payment_reversals.store_alias(conn, app.slug, fact.provider, fact.payment, now=now)
    return settle(conn, app, fact.provider, fact.payment, event_id=fact.event_id, now=now)


def settle(
    conn: Connection, app: App, provider: str, ids: Iterable[str], *, event_id: str, now: datetime
) -> str | None:
    """Apply all stored reversals of a payment. Returns the customer, or None if the payment is not stored yet.

    Callers that credit a payment call this too, in the same transaction.
    """
    payment, is_changed = standing.refresh(conn, app.slug, provider, ids, now=now)
    if payment is None:
        return None
    customer = accounts.customer_of(conn, payment.account_id)
    if not (is_changed or payment.refunded_minor or payment.disputed_minor or payment.frozen):
        return customer
    # Also where nothing changed: a pack of the same payment may have been granted since.
    units = _claw(conn, app, customer, payment, event_id, now)
    if is_changed:
        messages.emit(conn, [payment_messages.reversed_(app.slug, customer, payment, units)], now=now)
    return customer


def _claw(conn: Connection, app: App, customer: str, payment: ReversiblePayment, event_id: str, now: datetime) -> int:
    """Claw back what the payment granted, up to its target. Returns the units that the reversed amount stands for.

    The payment of an invoice may have bought a plan and packs: each gives its share.
    """
    units = 0
    if payment.subscription_id is not None:
        units = _settle_plan(conn, app, payment, event_id, now)
    return units + _claw_packs(conn, app, customer, payment, event_id, now)


def _claw_packs(
    conn: Connection, app: App, customer: str, payment: ReversiblePayment, event_id: str, now: datetime
) -> int:
    grants_of_packs = sales.pack_grants(conn, payment.id)
    if not grants_of_packs:
        return 0
    common: dict[str, Any] = {
        "app": app.slug,
        "customer": customer,
        "reason": f"{payment.state.replace('_', ' ')}: {payment.reference}",
        "actor": payment.provider,
        "meta": {"event": event_id, "payment": payment.reference, "provider": payment.provider},
    }
    targets = {entry_id: _target(payment, units) for entry_id, units in grants_of_packs}
    movements = [
        Freeze(**common, entry_ids=list(targets), frozen=payment.frozen),
        *(Clawback(**common, entry_id=entry_id, target_units=units) for entry_id, units in targets.items()),
    ]
    post(conn, movements, now=now)
    return sum(targets.values())


def _target(payment: ReversiblePayment, units: int) -> int:
    if not payment.amount_minor:
        return 0
    return units * (payment.refunded_minor + payment.disputed_minor) // payment.amount_minor


def _settle_plan(conn: Connection, app: App, payment: ReversiblePayment, event_id: str, now: datetime) -> int:
    """Settle the subscription whose bill was paid. Returns the units that it is owed less."""
    subscription = subscriptions.provider_id_of(conn, payment.subscription_id or 0)
    settled = settlement.settle(conn, app, payment.provider, subscription, event_id=event_id, now=now)
    names = {payment.reference, *payment.aliases}
    return sum(one.whole_units - one.units for one in settled.account.owed if one.paid_by in names)
