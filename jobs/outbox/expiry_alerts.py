"""`lot.expiring`: emitted once per lot, ahead of its expiry. Balance alerts are emitted with ledger entries instead."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobs.chunks import Chunk
from models import database, times
from models.catalog import catalog
from models.database import Connection
from models.outbox import endpoints, expiry_alerts, messages
from models.outbox.expiry_alerts import ExpiringLot
from models.outbox.messages import Message

CHUNK = 1000


def emit_expiring(*, now: datetime, app: str | None = None, after: tuple[Any, int] | None = None) -> Chunk:
    """Emit `lot.expiring` for one chunk of the lots that expire within their app's `expiring_within`.

    `after`: (expires_at, id) of the last lot of the previous chunk.
    """
    return database.transaction(lambda conn: _chunk(conn, now, app, after))


def _chunk(conn: Connection, now: datetime, app: str | None, after: tuple[Any, int] | None) -> Chunk:
    horizons = _horizons(conn, now, app)
    if not horizons:
        return Chunk({"lots": 0})
    lots = expiry_alerts.find(conn, horizons, after=after or (now, 0), limit=CHUNK, now=now)
    messages.emit(conn, [_message(lot) for lot in lots], now=now)
    return Chunk({"lots": len(lots)}, after=(lots[-1].expires_at, lots[-1].id) if len(lots) == CHUNK else None)


def _horizons(conn: Connection, now: datetime, app: str | None) -> dict[str, datetime]:
    """By app: the time before which a lot must expire to be reported now.

    Only apps with a subscribed endpoint: messages of the others are not stored, so their lots would be read every time.
    """
    known = catalog.current()
    return {
        slug: now + known[slug].alerts.expiring_within
        for slug in endpoints.subscribed_apps(conn, expiry_alerts.TYPE)
        if slug in known and app in (None, slug)
    }


def _message(lot: ExpiringLot) -> Message:
    data = {"lot": lot.id, "units": lot.units, "expires_at": times.write(lot.ends_at)}
    return Message(lot.app, expiry_alerts.TYPE, lot.customer, data, key=lot.key)
