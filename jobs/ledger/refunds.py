"""Refunds of deductions: units given back to the lots they came from, in total at most once."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobs import idempotency
from models import database
from models.catalog.apps import App
from models.database import Connection
from models.errors import Conflict, Invalid, NotFound
from models.ledger.post import post
from models.planning.movements import Reverse

ENTRY = """
SELECT a.customer, e.type FROM entry e JOIN account a ON a.id = e.account_id WHERE e.app = %s AND e.id = %s
"""


def refund(app: App, body: dict[str, Any], *, now: datetime) -> tuple[dict[str, Any], bool]:
    """Give back `units` (absent: all that is left) of a deduction. Returns (`{"id", "units", "balance", "entry"}`,
    new?).

    Raises:
        NotFound: the app has no such entry.
        Invalid: the entry is no deduction.
        Conflict: more than is left of it, or the id is stored with other content.
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
            left = outcome.shortfall
            raise Conflict(f"of entry {body['entry']} only {left} can still be refunded", refundable=left)
        return {"id": request_id, "units": outcome.units, "balance": outcome.balance, "entry": outcome.entry_id}

    return idempotency.once(app, "refund", "REFUND", {**body, "customer": customer}, work, now=now)


def _customer(app: App, entry_id: int) -> str:
    rows = database.read(ENTRY, [app.slug, entry_id])
    if not rows:
        raise NotFound(f"no entry {entry_id}")
    customer, type_ = rows[0]
    if type_ != "deduction":
        raise Invalid([("entry", f"entry {entry_id} is of type {type_}; only a deduction can be refunded")])
    return str(customer)
