"""Translates Stripe's events of payment reversals into facts: refunds, refunded charges, disputes.

`charge.refunded` reports the total of all refunds, `refund.*` each refund by its id. The facts contain both, and the
larger one counts when they are applied. The balance transactions of a dispute are authoritative; without them, the
event's type says whether money moved. Sources: Stripe's API reference on Charge, Refund and Dispute.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from jobs.providers.facts import Dispute, DisputeMove, PaymentKnownAs, PaymentReversed, Refund
from jobs.providers.malformed import MalformedEvent
from jobs.providers.stripe.objects import Object, get, id_of, objects, own_id, text, whole
from models.catalog.apps import App
from models.errors import NotOurs
from models.inbox.events import Event

# A refund in one of these states returned no money, or its money was recovered.
FAILED = ("failed", "canceled")
INQUIRIES = {"warning_needs_response": "inquiry", "warning_under_review": "inquiry", "warning_closed": "inquiry_closed"}
DECIDED = ("won", "lost", "prevented")
Stage = Literal["inquiry", "inquiry_closed", "open", "closed"]


def charge_refunded(app: App, event: Event, charge: Object) -> Iterator[PaymentReversed]:
    """The total of the charge's refunds, and the refunds that the charge contains."""
    charge_id, refunds = own_id(charge), objects(charge, "refunds", "data")
    yield PaymentReversed(
        **_source(app, event),
        payment=_ids(charge_id, charge),
        refunds=tuple(_refund(refund) for refund in refunds),
        refunded_minor=whole(charge["amount_refunded"]),
    )


def refund_changed(app: App, event: Event, refund: Object) -> Iterator[PaymentReversed]:
    """One refund. The failure of a refund cancels its effect."""
    yield PaymentReversed(
        **_source(app, event), payment=_ids(id_of(refund.get("charge")), refund), refunds=(_refund(refund),)
    )


def dispute_changed(app: App, event: Event, dispute: Object) -> Iterator[PaymentReversed]:
    """The state of a dispute in the event."""
    reference = own_id(dispute)
    amount = whole(dispute["amount"]) or 0
    moves, in_its_currency = _moves(dispute)
    withdrawn = event.type.endswith(".funds_withdrawn") or any(move.amount_minor > 0 for move in moves)
    reinstated = event.type.endswith(".funds_reinstated") or any(move.amount_minor < 0 for move in moves)
    yield PaymentReversed(
        **_source(app, event),
        payment=_ids(id_of(dispute.get("charge")), dispute),
        dispute=Dispute(
            reference=reference,
            stage=_stage(text(dispute["status"])),
            moves=moves if in_its_currency else (),
            withdrawn_minor=amount if withdrawn and not (moves and in_its_currency) else 0,
            reinstated_minor=amount if reinstated and not (moves and in_its_currency) else 0,
        ),
    )


def invoice_payment(app: App, event: Event, paid: Object) -> Iterator[PaymentKnownAs]:
    """The ids of an invoice and its payment. Since basil, invoices and charges do not name each other."""
    names = (
        id_of(paid.get("invoice")),
        id_of(get(paid, "payment", "payment_intent")),
        id_of(get(paid, "payment", "charge")),
    )
    known = tuple(name for name in names if name)
    if len(known) < 2:
        raise NotOurs("the invoice payment does not name both an invoice and its payment")
    yield PaymentKnownAs(**_source(app, event), payment=known)


def _source(app: App, event: Event) -> dict[str, Any]:
    return {"app": app.slug, "provider": event.provider, "event_id": event.event_id}


def _ids(charge: str | None, thing: Object) -> tuple[str, ...]:
    """All ids that the object has for its payment, the charge first."""
    names = (charge, id_of(thing.get("payment_intent")), id_of(thing.get("invoice")))
    known = tuple(name for name in names if name)
    if not known:
        raise ValueError("the object names neither a charge nor a payment intent")
    return known


def _refund(refund: Object) -> Refund:
    return Refund(
        reference=text(refund["id"]), amount_minor=whole(refund["amount"]) or 0, failed=refund.get("status") in FAILED
    )


def _moves(dispute: Object) -> tuple[tuple[DisputeMove, ...], bool]:
    """The dispute's moves, and whether they are in the payment's currency: an account may settle in another one."""
    transactions = objects(dispute, "balance_transactions")
    moves = tuple(
        DisputeMove(reference=text(transaction["id"]), amount_minor=-_signed(transaction["amount"]))
        for transaction in transactions
    )
    currency = dispute.get("currency")
    return moves, all(transaction.get("currency", currency) == currency for transaction in transactions)


def _signed(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**53:
        raise MalformedEvent(value, "an amount in minor units")
    return value


def _stage(status: str) -> Stage:
    if status in INQUIRIES:
        return INQUIRIES[status]  # type: ignore[return-value]
    return "closed" if status in DECIDED else "open"
