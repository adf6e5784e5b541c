"""Expired lots: swept in chunks. What has expired pays nothing already; the sweep only posts it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobs.chunks import Chunk
from models import database
from models.database import Connection
from models.ledger.post import post
from models.planning.movements import Expire

CHUNK = 1000
EXPIRED = """
SELECT l.expires_at, l.id, a.app, a.customer FROM lot l JOIN account a ON a.id = l.account_id
WHERE l.open AND l.expires_at <= %(now)s AND l.remaining > 0
  AND (l.expires_at, l.id) > (%(expires_at)s::timestamptz, %(lot)s) AND (%(app)s::text IS NULL OR a.app = %(app)s)
ORDER BY l.expires_at, l.id LIMIT %(limit)s
"""
LAPSED = "SELECT count(*) FROM lot WHERE id = ANY(%s) AND remaining = 0"
LONG_AGO = ("0001-01-01T00:00:00Z", 0)


def expire(*, now: datetime, app: str | None = None, after: tuple[Any, int] | None = None) -> Chunk:
    """Post the expiry of one chunk of lots, in the order they expired, beyond the lot `after`.

    A lot that a report received in time may still be paid from is passed over until that report is settled.
    """
    return database.transaction(lambda conn: _chunk(conn, now, app, after or LONG_AGO))


def _chunk(conn: Connection, now: datetime, app: str | None, after: tuple[Any, int]) -> Chunk:
    values = {"now": now, "expires_at": after[0], "lot": after[1], "app": app, "limit": CHUNK}
    rows = conn.execute(EXPIRED, values).fetchall()
    customers = sorted({(slug, customer) for _, _, slug, customer in rows})
    outcomes = post(conn, [Expire(app=slug, customer=customer) for slug, customer in customers], now=now)
    units = sum(outcome.units for outcome in outcomes)
    lots = conn.execute(LAPSED, [[row[1] for row in rows]]).fetchone()
    return Chunk({"lots": lots[0] if lots else 0, "units": units}, after=rows[-1][:2] if rows else None)
