"""Lots to expire. The movement that expires them is in models/planning/lots.py."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from models.database import Connection

EXPIRED = """
SELECT l.id, l.expires_at, a.app, a.customer FROM lot l JOIN account a ON a.id = l.account_id
WHERE l.open AND l.expires_at <= %(now)s AND l.remaining > 0
  AND (l.expires_at, l.id) > (%(expires_at)s::timestamptz, %(lot)s) AND (%(app)s::text IS NULL OR a.app = %(app)s)
ORDER BY l.expires_at, l.id LIMIT %(limit)s
"""
EMPTY = "SELECT count(*) FROM lot WHERE id = ANY(%s) AND remaining = 0"
# Before every lot: (expires_at, id).
START = ("0001-01-01T00:00:00Z", 0)
Position = tuple[datetime | str, int]


@dataclass(frozen=True, slots=True)
class ExpiredLot:
    """A lot with units after its expiry."""

    id: int
    expires_at: datetime
    app: str
    customer: str

    @property
    def position(self) -> Position:
        """Where the next page of `expired` starts."""
        return self.expires_at, self.id


def expired(
    conn: Connection, *, now: datetime, app: str | None, after: Position | None, limit: int
) -> list[ExpiredLot]:
    """Expired lots that still have units, in order of (expiry, id), beyond the position `after`."""
    expires_at, lot_id = after or START
    values = {"now": now, "expires_at": expires_at, "lot": lot_id, "app": app, "limit": limit}
    return [ExpiredLot(*row) for row in conn.execute(EXPIRED, values)]


def count_empty(conn: Connection, ids: list[int]) -> int:
    """How many of the lots have no units left."""
    row = conn.execute(EMPTY, [ids]).fetchone()
    assert row is not None
    return int(row[0])
