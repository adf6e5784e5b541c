"""Lots to expire. The movement that expires them is in models/planning/lots.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from models import database
from models.database import Connection

EXPIRED = """
SELECT l.id, l.expires_at, a.app, a.customer FROM lot l JOIN account a ON a.id = l.account_id
WHERE l.open AND l.expires_at <= %(now)s AND l.remaining > 0
  AND (l.expires_at, l.id) > (%(expires_at)s::timestamptz, %(lot)s) AND (%(app)s::text IS NULL OR a.app = %(app)s)
ORDER BY l.expires_at, l.id LIMIT %(limit)s
"""
EMPTY = "SELECT count(*) FROM lot WHERE id = ANY(%s) AND remaining = 0"
LOCK_ACCOUNTS = "SELECT id FROM account WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE"
SET_PAYMENTS = """
UPDATE lot SET payment_id = new.payment_id FROM unnest(%s::bigint[], %s::bigint[]) AS new(entry_id, payment_id)
WHERE lot.entry_id = new.entry_id AND lot.payment_id IS NULL AND lot.subscription_id IS NOT NULL
"""
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


def set_payments(conn: Connection, account_ids: Iterable[int], payments: Mapping[int, int]) -> None:
    """Note which payment paid for lots that were granted before it was known: `{entry: payment}`.

    The accounts are locked, since batches update lots by their address.
    """
    database.require_transaction(conn)
    conn.execute(LOCK_ACCOUNTS, [sorted(account_ids)])
    conn.execute(SET_PAYMENTS, [list(payments), list(payments.values())])


def count_empty(conn: Connection, ids: list[int]) -> int:
    """How many of the lots have no units left."""
    row = conn.execute(EMPTY, [ids]).fetchone()
    assert row is not None
    return int(row[0])
