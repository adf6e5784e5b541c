"""Charges: units deducted immediately, all or none, committed before the response is sent."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobs import idempotency
from jobs.ledger import pricing
from models.catalog.apps import App
from models.database import Connection
from models.ledger.post import post
from models.planning.movements import Take


def charge(app: App, body: dict[str, Any], *, now: datetime) -> tuple[dict[str, Any], bool]:
    """Deduct `units`, or the price of `quantity` at `rate`, or of all `lines`.

    Returns (`{"id", "units", "balance", "entry"}`, whether it is new).

    Raises:
        InsufficientBalance: fewer units are available. Nothing is deducted.
        Invalid: a rate is unknown, or the price exceeds the limit.
        Conflict: the id is stored with other content.
    """
    price = pricing.price(app, body)

    def work(conn: Connection, request_id: str) -> dict[str, Any]:
        take = Take(
            app=app.slug,
            customer=body["customer"],
            key=f"charge:{request_id}",
            units=price.units,
            carried=price.carried,
            on_shortfall="reject",
            reason=body.get("reason") or price.reason or "charge",
            meta=price.meta,
            actor="charge",
        )
        (outcome,) = post(conn, [take], now=now)
        if outcome.status == "refused":
            raise idempotency.refused(outcome)
        return {"id": request_id, "units": outcome.units, "balance": outcome.balance, "entry": outcome.entry_id}

    return idempotency.once(app, "charge", "CHARGE", body, work, now=now)
