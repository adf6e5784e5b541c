"""Disputes of several payments: each payment has a part, a row of its own, and all parts share the dispute's stage.

The events of a dispute may name different payments. A payment that was named once follows the dispute to its end, even
if later events do not name it.
"""

from __future__ import annotations

from datetime import datetime

from models import database
from models.database import Connection
from models.payments.amounts import DECIDED

# References are ordered by their bytes, in which ';' is next to ':'. Parts stored by older versions have the dispute's
# own id as their reference.
LEVEL = f"""
WITH part AS (
    SELECT reference, stage, decided_at FROM payment_return
    WHERE app = %(app)s AND provider = %(provider)s AND kind = 'dispute'
      AND (reference = %(whole)s OR (reference >= %(whole)s || ':' AND reference < %(whole)s || ';'))
), furthest AS (
    SELECT stage, decided_at FROM part
    ORDER BY stage >= {DECIDED} DESC, CASE WHEN stage >= {DECIDED} THEN decided_at END DESC NULLS LAST, stage DESC
    LIMIT 1
)
UPDATE payment_return AS r SET stage = furthest.stage, decided_at = furthest.decided_at, updated_at = %(now)s
FROM part, furthest
WHERE r.app = %(app)s AND r.provider = %(provider)s AND r.kind = 'dispute' AND r.reference = part.reference
  AND r.stage <> furthest.stage
RETURNING r.payment
"""
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 8))"


def lock(conn: Connection, app: str, provider: str, whole: str) -> None:
    """Process one event of a dispute at a time, so that each sees the parts that the others stored.

    The lock is held until the end of the transaction.
    """
    database.require_transaction(conn)
    conn.execute(LOCK, [f"{app} {provider} {whole}"], prepare=True)


def name_of(whole: str, payment: str) -> str:
    """The reference of the part of a dispute that belongs to this payment."""
    return f"{whole}:{payment}"


def level(conn: Connection, app: str, provider: str, whole: str, *, now: datetime) -> list[list[str]]:
    """Move all parts of a dispute to the most advanced stage of any; of two decisions to the later.

    Returns the payment ids of each part that moved."""
    values = {"app": app, "provider": provider, "whole": whole, "now": now}
    return sorted(payment for (payment,) in conn.execute(LEVEL, values, prepare=True))
