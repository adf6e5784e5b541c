"""PayPal's disputes as facts. Source: Disputes v1 of https://developer.paypal.com/api/rest/."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.providers.facts import PaymentReversed
from jobs.providers.paypal import fields
from jobs.providers.paypal.fields import Object, get, objects, text
from jobs.providers.returns import Dispute, Stage
from models.catalog.apps import App
from models.errors import NotOurs
from models.inbox.events import Event
from models.payments.disputes import name_of

# The outcomes of disputes that move the seller's money or return it. PayPal itself pays RESOLVED_WITH_PAYOUT.
OUTCOMES: dict[str, Stage] = {
    "RESOLVED_BUYER_FAVOUR": "reversing",
    "ACCEPTED": "reversing",
    "RESOLVED_SELLER_FAVOUR": "won",
    "CANCELED_BY_BUYER": "won",
    "DENIED": "won",
}


def disputed(app: App, event: Event, dispute: Object) -> Iterator[PaymentReversed]:
    """A dispute freezes its payments until it is resolved. Separate reversals or refunds report withdrawn money.

    Each capture has its own part of the dispute, under a key that does not depend on the captures that an event lists.
    """
    reference = text(dispute["dispute_id"])
    stage = _stage(event, dispute)
    at = fields.time(dispute.get("update_time")) or fields.time(event.payload.get("create_time")) or event.received_at
    began_at = fields.time(dispute.get("create_time"))
    for payment in _disputed_transactions(app, dispute):
        part = name_of(reference, payment)
        yield PaymentReversed(
            app=app.slug,
            provider=event.provider,
            event_id=event.event_id,
            payment=(payment,),
            dispute=Dispute(reference=part, whole=reference, stage=stage, at=at, began_at=began_at),
        )


def _stage(event: Event, dispute: Object) -> Stage:
    """The stage of a dispute. One that was resolved for the buyer is paid by the reversal or refund that follows it."""
    if not event.type.endswith(".RESOLVED") and dispute.get("status") != "RESOLVED":
        return "inquiry"
    outcome = get(dispute, "dispute_outcome", "outcome_code")
    return OUTCOMES.get(outcome, "closed") if isinstance(outcome, str) else "closed"


def _disputed_transactions(app: App, dispute: Object) -> list[str]:
    """The captures of the dispute without those of other apps, sorted, so that all events lock in the same order."""
    listed = objects(dispute["disputed_transactions"])
    if not listed:
        raise ValueError("resource.disputed_transactions is empty")
    foreign = [each for each in listed if fields.app_named(each.get("custom")) not in (None, app.slug)]
    if len(foreign) == len(listed):
        raise NotOurs("the dispute belongs to another app")
    return sorted({text(each["seller_transaction_id"]) for each in listed if each not in foreign})
