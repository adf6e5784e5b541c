"""Holds: units reserved before an operation, captured or released after it, and released when the hold expires."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from jobs import idempotency
from jobs.chunks import Chunk
from jobs.ledger import pricing
from models import database, times
from models.access import idempotency as responses
from models.catalog.apps import App
from models.database import Connection
from models.errors import Conflict, NotFound, ScripError
from models.ledger import holds
from models.ledger.holds import StoredHold
from models.ledger.post import post
from models.planning.movements import Capture, Hold, Movement, Outcome, Release

DEFAULT_EXPIRY_SECONDS = 3600
CHUNK = 500


def create(app: App, body: dict[str, Any], *, now: datetime) -> tuple[dict[str, Any], bool]:
    """Hold `units`, or the price of a rate or of lines, each rounded up: the most that the usage can cost.

    Returns (`{"id", "units", "state", "expires_at", "available"}`, whether it is new).

    Raises:
        InsufficientBalance: fewer units are available. Nothing is held.
        Invalid: a rate is unknown, or the price exceeds the limit.
        Conflict: the id is stored with other content.
    """
    price = pricing.rounded_up(app, body)
    expires_at = now + timedelta(seconds=body.get("expires_in") or DEFAULT_EXPIRY_SECONDS)

    def work(conn: Connection, request_id: str) -> dict[str, Any]:
        movement = Hold(
            app=app.slug,
            customer=body["customer"],
            key=_key(request_id),
            units=price.units,
            expires_at=expires_at,
            reason=body.get("reason") or price.reason or "hold",
            meta=price.meta,
        )
        (outcome,) = post(conn, [movement], now=now)
        if outcome.status == "refused":
            raise idempotency.refused(outcome)
        return {
            "id": request_id,
            "units": price.units,
            "state": "held",
            "expires_at": times.write(expires_at),
            "available": outcome.available,
        }

    return idempotency.once(app, "hold", "HOLD", body, work, now=now)


def capture(app: App, hold_id: str, body: dict[str, Any], *, now: datetime) -> dict[str, Any]:
    """Spend `units` of the hold (absent: all of them), and more if they are available.

    Returns `{"id", "state", "units", "balance"}`. Idempotent: a repeated call returns the first response.

    Raises:
        NotFound: the app has no such hold.
        Conflict: the hold was released, has expired, or was captured with other units.
        InsufficientBalance: `units` is more than the hold and the available balance together.
    """
    return _close(app, hold_id, "captured", body.get("units"), now)


def release(app: App, hold_id: str, *, now: datetime) -> dict[str, Any]:
    """Release the hold's units. Returns `{"id", "state", "units", "balance"}`.

    Idempotent: a repeated call returns the first response.

    Raises:
        NotFound: the app has no such hold.
        Conflict: the hold was captured or has expired.
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
    hold = _find(conn, app, hold_id)
    if hold.state == "held" and hold.expires_at > now:
        (outcome,) = post(conn, [_closing(app, hold, hold_id, state, units)], now=now)
        if outcome.status == "applied":
            return _respond(conn, app, hold_id, hold.customer, state, outcome, now)
        if outcome.refusal == "insufficient":
            raise idempotency.refused(outcome)
        hold = _find(conn, app, hold_id)
    current = "expired" if hold.state == "held" else hold.state
    if current != state or (units is not None and units != hold.captured):
        raise Conflict(f"hold {hold_id!r} is already {current}", state=current)
    response = responses.recall(conn, app.slug, f"hold {state}", hold_id, {})
    assert response is not None, "a hold is closed and its response stored in one commit"
    return response


def _find(conn: Connection, app: App, hold_id: str) -> StoredHold:
    hold = holds.find(conn, app.slug, _key(hold_id))
    if hold is None:
        raise NotFound(f"no hold {hold_id!r}")
    return hold


def _closing(app: App, hold: StoredHold, hold_id: str, state: str, units: int | None) -> Movement:
    """The movement that closes the hold. A capture records the hold's rate or lines, and its metadata, on its entry."""
    common: dict[str, Any] = {"app": app.slug, "customer": hold.customer, "hold_key": _key(hold_id)}
    if state == "released":
        return Release(**common, reason="hold")
    return Capture(**common, key=f"capture:{hold_id}", units=units, reason=hold.reason, meta=hold.meta, actor="hold")


def _respond(
    conn: Connection, app: App, hold_id: str, customer: str, state: str, outcome: Outcome, now: datetime
) -> dict[str, Any]:
    response = {"id": hold_id, "state": state, "units": outcome.units, "balance": outcome.balance}
    responses.remember(conn, app.slug, f"hold {state}", hold_id, customer, {}, response, now=now)
    return response


def release_expired(*, now: datetime, app: str | None = None, after: Any = None) -> Chunk:
    """Release one chunk of expired holds."""
    return database.transaction(lambda conn: _release_chunk(conn, now, app))


def _release_chunk(conn: Connection, now: datetime, app: str | None) -> Chunk:
    movements = [
        Release(app=slug, customer=customer, hold_key=key, expired=True, reason="hold expired", actor="expiry")
        for slug, customer, key in holds.expired(conn, now=now, app=app, limit=CHUNK)
    ]
    outcomes = post(conn, movements, now=now)
    released = [outcome for outcome in outcomes if outcome.status == "applied"]
    counts = {"holds": len(released), "units": sum(outcome.units for outcome in released)}
    return Chunk(counts, after=True if released else None)


def _key(hold_id: str) -> str:
    return f"hold:{hold_id}"
