"""Holds as stored: one by its key, and those to expire. Movements of holds are in models/planning/holds.py."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models.database import Connection

FIND = """
SELECT a.customer, h.state, h.captured, h.expires_at, h.reason, h.meta FROM hold h JOIN account a ON a.id = h.account_id
WHERE h.app = %s AND h.key = %s
"""
EXPIRED = """
SELECT h.app, a.customer, h.key FROM hold h JOIN account a ON a.id = h.account_id
WHERE h.state = 'held' AND h.expires_at <= %(now)s AND (%(app)s::text IS NULL OR h.app = %(app)s)
ORDER BY h.expires_at LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class StoredHold:
    """A hold. `captured`: the units spent of it. `meta`: what the entry of a capture records."""

    customer: str
    state: str
    captured: int
    expires_at: datetime
    reason: str
    meta: dict[str, Any] | None


def find(conn: Connection, app: str, key: str) -> StoredHold | None:
    """The app's hold of this key, or None. Nothing is locked."""
    row = conn.execute(FIND, [app, key]).fetchone()
    return StoredHold(*row) if row else None


def expired(conn: Connection, *, now: datetime, app: str | None, limit: int) -> list[tuple[str, str, str]]:
    """(app, customer, key) of holds that are still held after their expiry, the earliest expiry first."""
    rows = conn.execute(EXPIRED, {"now": now, "app": app, "limit": limit}).fetchall()
    return [(slug, customer, key) for slug, customer, key in rows]
