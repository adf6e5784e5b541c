"""Refunds of deductions: units are returned to the lots that they came from, at most once."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobs import idempotency
from models.catalog.apps import App
from models.database import Connection
from models.errors import Conflict, Invalid
from models.ledger import entries
from models.ledger.post import post
from models.planning.movements import Reverse


def refund(app: App, body: dict[str, Any], *, now: datetime) -> tuple[dict[str, Any], bool]:
    """Refund `units` of a deduction (absent: all that can still be refunded).

    Returns (`{"id", "units", "balance", "entry"}`, whether it is new).

    Raises:
        NotFound: the app has no such entry.
        Invalid: the entry is not a deduction.
        Conflict: `units` is more than can still be refunded, or the id is stored with other content.
    """
    customer = _customer(app, body["entry"])

    def work(conn: Connection, request_id: str) -> dict[str, Any]:
        reverse = Reverse(
            app=app.slug,
            customer=customer,
            key=f"refund:{request_id}",
            entry_id=body["entry"],
            units=body.get("units"),
            reason=body["reason"],
            meta={"metadata": body["metadata"]} if body.get("metadata") else None,
            actor="operator",
        )
        (outcome,) = post(conn, [reverse], now=now)
        if outcome.status == "refused":
            refundable = outcome.shortfall
            message = f"only {refundable} units of entry {body['entry']} can still be refunded"
            raise Conflict(message, refundable=refundable)
        return {"id": request_id, "units": outcome.units, "balance": outcome.balance, "entry": outcome.entry_id}

    return idempotency.once(app, "refund", "REFUND", {**body, "customer": customer}, work, now=now)


def _customer(app: App, entry_id: int) -> str:
    customer, type_ = entries.customer_and_type(app.slug, entry_id)
    if type_ != "deduction":
        raise Invalid([("entry", f"entry {entry_id} is of type {type_}; only a deduction can be refunded")])
    return customer
