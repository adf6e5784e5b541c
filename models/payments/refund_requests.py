"""Refunds that Scrip requests from a provider, by the id that the client gave.

Rows are `models.tables.RefundRequest`: `external_id` is that id, `amount_minor` None requests all that is left of the
payment, `answer` is the response that the client got, None until the provider has answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from models import database
from models.errors import NotFound
from models.tables import Account, Payment, RefundRequest

State = Literal["pending", "succeeded", "failed"]
COLUMNS = (
    *(Payment.id, Account.customer, Payment.provider, Payment.reference, Payment.aliases, Payment.pack, Payment.plan),
    *(Payment.amount_minor, Payment.currency, Payment.refunded_minor, Payment.disputed_minor, Payment.state),
)


@dataclass(frozen=True, slots=True)
class RefundablePayment:
    """The payment columns that a refund needs, and the customer. Amounts are in minor units of `currency`.

    `amount_minor` is None if the provider did not report it.
    """

    id: int
    customer: str
    provider: str
    reference: str
    aliases: list[str]
    pack: str | None
    plan: str | None
    amount_minor: int | None
    currency: str | None
    refunded_minor: int
    disputed_minor: int
    state: str

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids that the provider uses for it."""
        return (self.reference, *self.aliases)


def payment(app: str, payment_id: int) -> RefundablePayment:
    """The payment, with the amounts refunded and disputed so far.

    Raises:
        NotFound: the app has no such payment.
    """
    joined = Payment.select(*COLUMNS).join(Account, on=(Account.id == Payment.account_id))
    found = joined.where(Payment.app == app, Payment.id == payment_id).objects(RefundablePayment).first()
    if found is None:
        raise NotFound(f"no payment {payment_id}")
    return found


def find(app: str, request_id: str) -> RefundRequest | None:
    """The request with this id."""
    return RefundRequest.get_or_none(RefundRequest.app == app, RefundRequest.external_id == request_id)


def store(app: str, request: RefundRequest, *, customer: str, actor: str, now: datetime) -> None:
    """Store a request before the provider is called, unless its id is taken. `actor`: who requested it, for the log."""
    query = RefundRequest.insert(
        app=app,
        external_id=request.external_id,
        payment_id=request.payment_id,
        customer=customer,
        amount_minor=request.amount_minor,
        reason=request.reason,
        actor=actor,
        created_at=now,
    )
    stored = query.on_conflict(conflict_target=(RefundRequest.app, RefundRequest.external_id), action="IGNORE")
    database.transaction(lambda _: stored.execute())


def store_answer(app: str, request_id: str, answer: dict[str, Any], *, now: datetime) -> bool:
    """Store the response to a request. Returns False if one is stored already."""
    query = RefundRequest.update(answer=answer, answered_at=now)
    answered = query.where(
        RefundRequest.app == app, RefundRequest.external_id == request_id, RefundRequest.answer.is_null()
    )
    return bool(database.transaction(lambda _: answered.execute()))


def delete_refused(app: str, request_id: str) -> None:
    """Delete a request that the provider refused: a refusal stores nothing."""
    refused = RefundRequest.delete().where(
        RefundRequest.app == app, RefundRequest.external_id == request_id, RefundRequest.answer.is_null()
    )
    database.transaction(lambda _: refused.execute())
