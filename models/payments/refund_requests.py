"""Refunds that we asked a provider for, by the id that the client gave."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import orjson

from models import database
from models.errors import NotFound

State = Literal["pending", "succeeded", "failed"]
# The provider's sums of a payment as they are now; the account's customer for the operation log.
PAYMENT = """
SELECT p.id, a.customer, p.provider, p.reference, p.aliases, p.pack, p.plan, p.amount_minor, p.currency,
       p.refunded_minor, p.disputed_minor, p.state
FROM payment p JOIN account a ON a.id = p.account_id WHERE p.app = %s AND p.id = %s
"""
STORE = """
INSERT INTO refund_request (app, external_id, payment_id, customer, amount_minor, reason, actor, created_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (app, external_id) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Payment:
    """What a refund needs to know of a payment. `amount_minor` is None where nobody told it."""

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
        """All ids that it goes by at its provider."""
        return (self.reference, *self.aliases)


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `amount_minor` None means all that is left. `answer` is None until the provider has answered."""

    id: str
    payment_id: int
    amount_minor: int | None
    reason: str
    answer: dict[str, Any] | None


def payment(app: str, payment_id: int) -> Payment:
    """The payment.

    Raises:
        NotFound: the app has no such payment.
    """
    rows = database.read(PAYMENT, [app, payment_id])
    if not rows:
        raise NotFound(f"no payment {payment_id}")
    return Payment(*rows[0])


def find(app: str, request_id: str) -> Request | None:
    """The request of this id."""
    rows = database.read(
        "SELECT external_id, payment_id, amount_minor, reason, answer FROM refund_request"
        " WHERE app = %s AND external_id = %s",
        [app, request_id],
    )
    return Request(*rows[0]) if rows else None


def store(app: str, request: Request, *, customer: str, actor: str, now: datetime) -> None:
    """Store a request before its provider is asked, unless its id is taken. `actor` asked for it, for the log."""
    values = [app, request.id, request.payment_id, customer, request.amount_minor, request.reason, actor, now]
    database.write(STORE, values)


def answered(app: str, request_id: str, answer: dict[str, Any], *, now: datetime) -> bool:
    """Keep the provider's answer; False if there is one."""
    return (
        database.write(
            "UPDATE refund_request SET answer = %s::json, answered_at = %s"
            " WHERE app = %s AND external_id = %s AND answer IS NULL",
            [orjson.dumps(answer).decode(), now, app, request_id],
        ).rowcount
        == 1
    )


def forget(app: str, request_id: str) -> None:
    """Drop a request that the provider refused: a refusal stores nothing."""
    database.write(
        "DELETE FROM refund_request WHERE app = %s AND external_id = %s AND answer IS NULL",
        [app, request_id],
    )
