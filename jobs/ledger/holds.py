"""Holds: units set aside before an operation, captured or released after it, and released when their time is up."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from jobs import idempotency
from jobs.chunks import Chunk
from jobs.ledger import pricing
from models import database, times
from models.access import idempotency as answers
from models.catalog.apps import App
from models.database import Connection
from models.errors import Conflict, NotFound, ScripError
from models.ledger.post import post
from models.planning.movements import Capture, Hold, Movement, Outcome, Release

DEFAULT_EXPIRY_SECONDS = 3600
CHUNK = 500
HOLD = """
SELECT a.customer, h.state, h.captured, h.expires_at, h.reason, h.meta FROM hold h JOIN account a ON a.id = h.account_id
WHERE h.app = %s AND h.key = %s
"""
DUE = """
SELECT h.id, h.app, a.customer, h.key FROM hold h JOIN account a ON a.id = h.account_id
WHERE h.state = 'held' AND h.expires_at <= %(now)s AND (%(app)s::text IS NULL OR h.app = %(app)s)
ORDER BY h.expires_at LIMIT %(limit)s
"""


def create(app: App, body: dict[str, Any], *, now: datetime) -> tuple[dict[str, Any], bool]:
    """Set units aside. Returns (`{"id", "units", "state", "expires_at", "available"}`, whether it is new).

    Raises:
        InsufficientBalance: less is available; nothing is set aside.
        Invalid: an unknown rate.
        Conflict: the id is stored with other content.
    """
    units, meta = pricing.price(app, body)
    expires_at = now + timedelta(seconds=body.get("expires_in") or DEFAULT_EXPIRY_SECONDS)

    def work(conn: Connection, request_id: str) -> dict[str, Any]:
        movement = Hold(
            app=app.slug,
            customer=body["customer"],
            key=_key(request_id),
            units=units,
            expires_at=expires_at,
            reason=body.get("reason") or body.get("rate") or "hold",
            meta=meta,
        )
        (outcome,) = post(conn, [movement], now=now)
        if outcome.status == "refused":
            raise idempotency.refused(outcome)
        return {
            "id": request_id,
            "units": units,
            "state": "held",
            "expires_at": times.write(expires_at),
            "available": outcome.available,
        }

    return idempotency.once(app, "hold", "HOLD", body, work, now=now)


def capture(app: App, hold_id: str, body: dict[str, Any], *, now: datetime) -> dict[str, Any]:
    """Spend `units` of the hold (absent: all). Returns `{"id", "state", "units", "balance"}`; a repeat gets the same.

    Raises:
        NotFound: the app has no such hold.
        Conflict: it was released or has expired, or was captured with other units.
        InsufficientBalance: more than the hold is wanted, and more than is available.
    """
    return _close(app, hold_id, "captured", body.get("units"), now)


def release(app: App, hold_id: str, *, now: datetime) -> dict[str, Any]:
    """Free the hold. Returns `{"id", "state", "units", "balance"}`; a repeat gets the same.

    Raises:
        NotFound: the app has no such hold.
        Conflict: it was captured or has expired.
    """
    return _close(app, hold_id, "released", None, now)


def _close(app: App, hold_id: str, state: str, units: int | None, now: datetime) -> dict[str, Any]:
    details = {"key": _key(hold_id), "id": hold_id, "state": state, "units": units}
    try:
        return database.transaction(lambda conn: _close_once(conn, app, hold_id, state, units, now))
    except ScripError as refusal:
        idempotency.log_refusal(app.slug, "HOLD", None, details, refusal, now)
        raise


def _close_once(
    conn: Connection, app: App, hold_id: str, state: str, units: int | None, now: datetime
) -> dict[str, Any]:
    customer, before, captured, expires_at, reason, meta = _find(conn, app, hold_id)
    if before == "held" and expires_at > now:
        (outcome,) = post(conn, [_closing(app, customer, hold_id, state, units, reason, meta)], now=now)
        if outcome.status == "applied":
            return _answer(conn, app, hold_id, customer, state, outcome, now)
        if outcome.refusal == "insufficient":
            raise idempotency.refused(outcome)
        customer, before, captured, *_ = _find(conn, app, hold_id)
    if before == "held":
        before = "expired"
    if before != state or (units is not None and units != captured):
        raise Conflict(f"hold {hold_id!r} is {before} already", state=before)
    answer = answers.recall(conn, app.slug, f"hold {state}", hold_id, {})
    assert answer is not None, "a hold is closed and answered in one commit"
    return answer


def _find(conn: Connection, app: App, hold_id: str) -> tuple[str, str, int, datetime, str, dict[str, Any] | None]:
    row = conn.execute(HOLD, [app.slug, _key(hold_id)]).fetchone()
    if row is None:
        raise NotFound(f"no hold {hold_id!r}")
    return row[0], row[1], row[2], row[3], row[4], row[5]


def _closing(
    app: App, customer: str, hold_id: str, state: str, units: int | None, reason: str, meta: dict[str, Any] | None
) -> Movement:
    """A capture says of the price what the hold said: its rate and quantity, and the client's metadata."""
    common: dict[str, Any] = {"app": app.slug, "customer": customer, "hold_key": _key(hold_id)}
    if state == "released":
        return Release(**common, reason="hold")
    return Capture(**common, key=f"capture:{hold_id}", units=units, reason=reason, meta=meta, actor="hold")


def _answer(
    conn: Connection, app: App, hold_id: str, customer: str, state: str, outcome: Outcome, now: datetime
) -> dict[str, Any]:
    answer = {"id": hold_id, "state": state, "units": outcome.units, "balance": outcome.balance}
    answers.remember(conn, app.slug, f"hold {state}", hold_id, customer, {}, answer, now=now)
    return answer


def release_expired(*, now: datetime, app: str | None = None, after: Any = None) -> Chunk:
    """Release one chunk of holds whose time has come."""
    return database.transaction(lambda conn: _expire_chunk(conn, now, app))


def _expire_chunk(conn: Connection, now: datetime, app: str | None) -> Chunk:
    rows = conn.execute(DUE, {"now": now, "app": app, "limit": CHUNK}).fetchall()
    movements = [
        Release(app=slug, customer=customer, hold_key=key, expired=True, reason="hold expired", actor="expiry")
        for _, slug, customer, key in rows
    ]
    outcomes = post(conn, movements, now=now)
    freed = [outcome for outcome in outcomes if outcome.status == "applied"]
    counts = {"holds": len(freed), "units": sum(outcome.units for outcome in freed)}
    return Chunk(counts, after=True if freed else None)


def _key(hold_id: str) -> str:
    return f"hold:{hold_id}"
