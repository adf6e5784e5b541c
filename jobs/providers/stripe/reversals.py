"""Translates Stripe's events of payment reversals into facts: refunds, refunded charges, disputes.

`charge.refunded` reports the total of all refunds, `refund.*` each refund by its id. The facts contain both, and the
larger one counts when they are applied. The status of a dispute decides its end. Until then its balance transactions
count; without them, the event's type says whether money moved.

Sources: Stripe's API reference on Charge, Refund and Dispute.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jobs.providers.facts import PaymentKnownAs, PaymentParts, PaymentReversed
from jobs.providers.malformed import MalformedEvent
from jobs.providers.returns import CreditNote, Dispute, DisputeMove, Refund, Stage
from jobs.providers.stripe import parts
from jobs.providers.stripe.objects import (
    Object,
    created,
    currency_of,
    get,
    id_of,
    objects,
    own_id,
    text,
    time_of,
    whole,
)
from models.catalog.apps import App
from models.errors import NotOurs
from models.inbox.events import Event

# A refund in one of these states returned no money, or its money was recovered.
FAILED = ("failed", "canceled")
# The stage by a dispute's status; others are open. A prevented dispute never reached the bank, and `charge_refunded`
# ended by a refund: their balance transactions, if any, count.
STAGES: dict[str, Stage] = {
    "warning_needs_response": "inquiry",
    "warning_under_review": "inquiry",
    "warning_closed": "inquiry_closed",
    "prevented": "closed",
    "charge_refunded": "closed",
    "won": "won",
    "lost": "lost",
}


def charge_refunded(app: App, event: Event, charge: Object) -> Iterator[PaymentReversed | PaymentParts]:
    """The total of the charge's refunds, and the refunds that the charge contains."""
    charge_id, refunds = own_id(charge), objects(charge, "refunds", "data")
    yield PaymentReversed(
        **_source(app, event),
        payment=_ids(charge_id, charge),
        refunds=tuple(_refund(refund) for refund in refunds),
        refunded_minor=max(0, (whole(charge["amount_refunded"]) or 0) - _uncaptured(charge)),
    )
    yield from parts.of_charge(app, event, charge)


def _uncaptured(charge: Object) -> int:
    """The part of an authorised charge that was not captured: Stripe counts it as refunded, but it was never paid."""
    amount, captured = whole(charge.get("amount")) or 0, whole(charge.get("amount_captured"))
    return max(0, amount - captured) if captured else 0


def refund_changed(app: App, event: Event, refund: Object) -> Iterator[PaymentReversed]:
    """One refund. The failure of a refund cancels its effect."""
    yield PaymentReversed(
        **_source(app, event), payment=_ids(id_of(refund.get("charge")), refund), refunds=(_refund(refund),)
    )


def credit_note_changed(app: App, event: Event, note: Object) -> Iterator[PaymentReversed]:
    """A credit note on a paid invoice. One made before the payment returns no money."""
    amount = _returned(note)
    if amount:
        yield PaymentReversed(
            **_source(app, event),
            payment=(text(id_of(note.get("invoice"))),),
            credit_notes=(
                CreditNote(
                    reference=own_id(note),
                    amount_minor=amount,
                    voided=note.get("status") == "void" or event.type.endswith(".voided"),
                    refunds=tuple(_named_refunds(note)),
                ),
            ),
        )


def _returned(note: Object) -> int:
    """The part of a credit note that was made after the payment."""
    if note.get("type") not in ("pre_payment", "post_payment", "mixed"):
        raise MalformedEvent(note.get("type"), "pre_payment, post_payment or mixed", "data.object.type")
    after = whole(note.get("post_payment_amount"))
    if after is None and note["type"] == "post_payment":
        after = whole(note["amount"])
    return after or 0


def _named_refunds(note: Object) -> Iterator[tuple[str, int | None]]:
    """The refunds that a credit note names: in a list, or in older API versions one without its amount."""
    refunds = objects(note, "refunds")
    for refund in refunds:
        named = id_of(refund.get("refund"))
        if named:
            yield named, whole(refund.get("amount_refunded"))
    only = id_of(note.get("refund"))
    if only and not refunds:
        yield only, None


def dispute_changed(app: App, event: Event, dispute: Object) -> Iterator[PaymentReversed]:
    """The state of a dispute in the event."""
    reference, amount, moves = own_id(dispute), whole(dispute["amount"]) or 0, _moves(dispute)
    is_withdrawn = event.type.endswith(".funds_withdrawn") and not any(move.amount_minor > 0 for move in moves)
    is_reinstated = event.type.endswith(".funds_reinstated") and not any(move.amount_minor < 0 for move in moves)
    yield PaymentReversed(
        **_source(app, event),
        payment=_ids(id_of(dispute.get("charge")), dispute),
        dispute=Dispute(
            reference=reference,
            at=created(event),
            began_at=time_of(dispute.get("created")),
            stage=STAGES.get(text(dispute["status"]), "open"),
            amount_minor=amount,
            moves=moves,
            withdrawn_minor=amount if is_withdrawn else 0,
            reinstated_minor=amount if is_reinstated else 0,
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
        reference=text(refund["id"]),
        amount_minor=whole(refund["amount"]) or 0,
        failed=refund.get("status") in FAILED,
        made_at=time_of(refund.get("created")),
    )


def _moves(dispute: Object) -> tuple[DisputeMove, ...]:
    """What the dispute's balance transactions moved. An account may settle in another currency than the payment's."""
    own = currency_of(dispute)
    found = []
    for transaction in objects(dispute, "balance_transactions"):
        currency, at = currency_of(transaction), time_of(transaction.get("created"))
        found.append(
            DisputeMove(
                reference=text(transaction["id"]),
                amount_minor=-_signed(transaction["amount"]),
                currency=currency if currency != own else None,
                at_seconds=int(at.timestamp()) if at else None,
            )
        )
    return tuple(found)


def _signed(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**53:
        raise MalformedEvent(value, "an amount in minor units")
    return value
