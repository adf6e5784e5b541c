"""Disputes of several payments. Each payment has a part of it, a row of its own; the dispute is at one stage.

Which payments a dispute is of may differ from event to event: one that was named once is settled by the dispute's end
too, though that may not name it again.
"""

from __future__ import annotations

from datetime import datetime

from models import database
from models.database import Connection

# References are ordered by their bytes, in which ';' comes right after ':'. A part of older versions is named as the
# dispute itself.
LEVEL = """
WITH part AS (
    SELECT reference, stage FROM payment_return
    WHERE app = %(app)s AND provider = %(provider)s AND kind = 'dispute'
      AND (reference = %(whole)s OR (reference >= %(whole)s || ':' AND reference < %(whole)s || ';'))
)
UPDATE payment_return AS it SET stage = furthest.stage, updated_at = %(now)s
FROM part, (SELECT max(stage) AS stage FROM part) AS furthest
WHERE it.app = %(app)s AND it.provider = %(provider)s AND it.kind = 'dispute' AND it.reference = part.reference
  AND it.stage < furthest.stage
RETURNING it.payment
"""


LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 8))"


def lock(conn: Connection, app: str, provider: str, whole: str) -> None:
    """One event of a dispute at a time: each has to see the parts that the others stored."""
    database.require_transaction(conn)
    conn.execute(LOCK, [f"{app} {provider} {whole}"], prepare=True)


def name_of(whole: str, payment: str) -> str:
    """The reference of the part of a dispute that is of this payment."""
    return f"{whole}:{payment}"


def level(conn: Connection, app: str, provider: str, whole: str, *, now: datetime) -> list[list[str]]:
    """Bring all parts of a dispute to the stage of the furthest. Returns the ids of whose moved."""
    values = {"app": app, "provider": provider, "whole": whole, "now": now}
    return sorted(payment for (payment,) in conn.execute(LEVEL, values, prepare=True))
