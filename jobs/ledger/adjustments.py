"""Adjustments: an operator credits or deducts units, with a reason that is stored on the entry."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from jobs import idempotency
from models import durations
from models.catalog.apps import App
from models.database import Connection
from models.ledger.post import post
from models.planning.movements import Grant, Movement, Take


def adjust(app: App, body: dict[str, Any], *, now: datetime) -> tuple[dict[str, Any], bool]:
    """Credit (`units` > 0) or deduct (`units` < 0) units.

    Returns (`{"id", "units", "balance", "entry"}`, whether it is new).

    Raises:
        InsufficientBalance: fewer units are available, and `allow_debt` is not set. Nothing is deducted.
        Invalid: the balance would exceed the limit of an account.
        Conflict: the id is stored with other content.
    """

    def work(conn: Connection, request_id: str) -> dict[str, Any]:
        (outcome,) = post(conn, [_movement(app, body, request_id)], now=now)
        if outcome.status == "refused":
            raise idempotency.refused(outcome)
        return {"id": request_id, "units": body["units"], "balance": outcome.balance, "entry": outcome.entry_id}

    return idempotency.once(app, "adjustment", "ADJUSTMENT", body, work, now=now)


def _movement(app: App, body: dict[str, Any], request_id: str) -> Movement:
    common: dict[str, Any] = {
        "app": app.slug,
        "customer": body["customer"],
        "key": f"adjustment:{request_id}",
        "reason": body["reason"],
        "type": body.get("type") or "admin_adjustment",
        "actor": "operator",
        "meta": {"metadata": body["metadata"]} if body.get("metadata") else None,
    }
    if body["units"] < 0:
        return Take(**common, units=-body["units"], on_shortfall="debt" if body.get("allow_debt") else "reject")
    return Grant(
        **common, units=body["units"], source=common["type"], expires_after=_duration(body.get("expires_after"))
    )


def _duration(text: str | None) -> timedelta | None:
    return durations.parse(text) if text else None
