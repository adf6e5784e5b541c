"""Stripe's events of money that goes back, as facts: refunds, charges that were refunded, disputes.

`charge.refunded` tells the sum of all refunds, `refund.*` each of them by its id: both are told on, and whoever applies
them counts the larger. Of a dispute the balance transactions are the truth; where an event carries none, its type says
whether money moved. Sources: Stripe's API reference on Charge, Refund and Dispute.
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

# A refund in one of these states returned nothing, or took back what it returned.
FAILED = ("failed", "canceled")
INQUIRIES = {"warning_needs_response": "inquiry", "warning_under_review": "inquiry", "warning_closed": "inquiry_closed"}
DECIDED = ("won", "lost", "prevented")
Stage = Literal["inquiry", "inquiry_closed", "open", "closed"]


def charge_refunded(app: App, event: Event, charge: Object) -> Iterator[PaymentReversed]:
    """The charge with the sum of its refunds, and with those that it carries."""
    charge_id, carried = own_id(charge), objects(charge, "refunds", "data")
    yield PaymentReversed(
        **_told_by(app, event),
        payment=_ids(charge_id, charge),
        refunds=tuple(_refund(refund) for refund in carried),
        refunded_minor=whole(charge["amount_refunded"]),
    )


def refund_changed(app: App, event: Event, refund: Object) -> Iterator[PaymentReversed]:
    """One refund; a failed one undoes itself."""
    yield PaymentReversed(
        **_told_by(app, event), payment=_ids(id_of(refund.get("charge")), refund), refunds=(_refund(refund),)
    )


def dispute_changed(app: App, event: Event, dispute: Object) -> Iterator[PaymentReversed]:
    """A dispute as far as this event knows of it."""
    reference = own_id(dispute)
    amount = whole(dispute["amount"]) or 0
    moves, in_its_currency = _moves(dispute)
    withdrawn = event.type.endswith(".funds_withdrawn") or any(move.amount_minor > 0 for move in moves)
    reinstated = event.type.endswith(".funds_reinstated") or any(move.amount_minor < 0 for move in moves)
    yield PaymentReversed(
        **_told_by(app, event),
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
    """Since basil neither an invoice nor a charge names the other; this names both."""
    names = (
        id_of(paid.get("invoice")),
        id_of(get(paid, "payment", "payment_intent")),
        id_of(get(paid, "payment", "charge")),
    )
    known = tuple(name for name in names if name)
    if len(known) < 2:
        raise NotOurs("it names no payment of an invoice")
    yield PaymentKnownAs(**_told_by(app, event), payment=known)


def _told_by(app: App, event: Event) -> dict[str, Any]:
    return {"app": app.slug, "provider": event.provider, "event_id": event.event_id}


def _ids(charge: str | None, thing: Object) -> tuple[str, ...]:
    """All names that the object has for its payment, the charge first."""
    names = (charge, id_of(thing.get("payment_intent")), id_of(thing.get("invoice")))
    known = tuple(name for name in names if name)
    if not known:
        raise ValueError("it names neither a charge nor a payment intent")
    return known


def _refund(refund: Object) -> Refund:
    return Refund(
        reference=text(refund["id"]), amount_minor=whole(refund["amount"]) or 0, failed=refund.get("status") in FAILED
    )


def _moves(dispute: Object) -> tuple[tuple[DisputeMove, ...], bool]:
    """What the dispute moved, and whether that is in the payment's currency: an account may settle in another one."""
    transactions = objects(dispute, "balance_transactions")
    moves = tuple(DisputeMove(reference=text(it["id"]), amount_minor=-_signed(it["amount"])) for it in transactions)
    currency = dispute.get("currency")
    return moves, all(it.get("currency", currency) == currency for it in transactions)


def _signed(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**53:
        raise MalformedEvent(value, "an amount in minor units")
    return value


def _stage(status: str) -> Stage:
    if status in INQUIRIES:
        return INQUIRIES[status]  # type: ignore[return-value]
    return "closed" if status in DECIDED else "open"
