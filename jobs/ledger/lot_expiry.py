"""The expiry of lots, in chunks. Expired lots are never spent, so this only posts what already holds."""

from __future__ import annotations

from datetime import datetime

from jobs.chunks import Chunk
from models import database
from models.database import Connection
from models.ledger import lots
from models.ledger.lots import Position
from models.ledger.post import post
from models.planning.movements import Expire

CHUNK = 1000


def expire(*, now: datetime, app: str | None = None, after: Position | None = None) -> Chunk:
    """Post the expiry of one chunk of lots, in the order of their expiry, beyond the lot `after` (expires_at, id).

    A lot is skipped while a report that was received before its expiry, and may be paid from it, is not settled.
    """
    return database.transaction(lambda conn: _chunk(conn, now, app, after))


def _chunk(conn: Connection, now: datetime, app: str | None, after: Position | None) -> Chunk:
    expired = lots.expired(conn, now=now, app=app, after=after, limit=CHUNK)
    customers = sorted({(lot.app, lot.customer) for lot in expired})
    outcomes = post(conn, [Expire(app=slug, customer=customer) for slug, customer in customers], now=now)
    units = sum(outcome.units for outcome in outcomes)
    lots_expired = lots.count_empty(conn, [lot.id for lot in expired])
    return Chunk({"lots": lots_expired, "units": units}, after=expired[-1].position if expired else None)
