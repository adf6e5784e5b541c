"""Lots that are about to lapse: told ahead of time, each once. Alerts of balances come with the entries themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobs.chunks import Chunk
from models import database, times
from models.catalog import catalog
from models.database import Connection
from models.outbox import messages
from models.outbox.messages import Message

CHUNK = 1000
TYPE = "lot.expiring"
# Only apps that somebody listens for: of the others nothing would be stored, and all their lots looked at each time.
LISTENING = """
SELECT DISTINCT app FROM endpoint
WHERE state = 'enabled' AND (cardinality(events) = 0 OR %s = ANY(events)) ORDER BY app
"""
EXPIRING = f"""
SELECT l.expires_at, l.id, l.remaining, a.app, a.customer FROM lot l JOIN account a ON a.id = l.account_id
JOIN unnest(%(apps)s::text[], %(horizons)s::timestamptz[]) AS wanted(app, horizon) ON wanted.app = a.app
WHERE l.open AND l.remaining > 0 AND l.expires_at > %(now)s AND l.expires_at <= %(furthest)s
  AND l.expires_at <= wanted.horizon AND (l.expires_at, l.id) > (%(expires_at)s::timestamptz, %(lot)s)
  AND NOT EXISTS (SELECT 1 FROM outbox_message m WHERE m.app = a.app AND m.key = '{TYPE}:' || l.id)
ORDER BY l.expires_at, l.id LIMIT %(limit)s
"""


def emit_expiring(*, now: datetime, app: str | None = None, after: tuple[Any, int] | None = None) -> Chunk:
    """Tell of one chunk of lots that expire within their app's `expiring_within`, beyond the lot `after`.

    The key of the message makes it unique for as long as the lot exists (models/outbox/deliveries.py).
    """
    return database.transaction(lambda conn: _chunk(conn, now, app, after))


def _chunk(conn: Connection, now: datetime, app: str | None, after: tuple[Any, int] | None) -> Chunk:
    horizons = _horizons(conn, now, app)
    if not horizons:
        return Chunk({"lots": 0})
    expires_at, lot = after or (now, 0)
    values = {
        "now": now,
        "apps": list(horizons),
        "horizons": list(horizons.values()),
        "furthest": max(horizons.values()),
        "expires_at": expires_at,
        "lot": lot,
        "limit": CHUNK,
    }
    rows = conn.execute(EXPIRING, values).fetchall()
    messages.emit(conn, [_message(*row) for row in rows], now=now)
    return Chunk({"lots": len(rows)}, after=rows[-1][:2] if len(rows) == CHUNK else None)


def _horizons(conn: Connection, now: datetime, app: str | None) -> dict[str, datetime]:
    """Until when a lot has to expire to be told of now, by app."""
    listening = [slug for (slug,) in conn.execute(LISTENING, [TYPE])]
    known = catalog.current()
    return {
        slug: now + known[slug].alerts.expiring_within for slug in listening if slug in known and app in (None, slug)
    }


def _message(expires_at: datetime, lot: int, units: int, app: str, customer: str) -> Message:
    data = {"lot": lot, "units": units, "expires_at": times.write(expires_at)}
    return Message(app, TYPE, customer, data, key=f"{TYPE}:{lot}")
