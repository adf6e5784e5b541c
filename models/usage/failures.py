"""Failed attempts to settle a usage report: the count, the backoff and the dead letter.

All functions run in the caller's transaction. Backoff and the number of attempts are in jobs/dead_letters.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from models import database
from models.database import Connection

ISOLATE = "UPDATE usage_queue SET solo = true WHERE report_id = ANY(%s)"
LOCK = """
SELECT q.attempts, r.app, r.customer, r.external_id
FROM usage_queue q JOIN usage_report r ON r.id = q.report_id
WHERE q.report_id = %s AND NOT q.dead AND q.next_attempt_at <= %s FOR UPDATE OF q
"""
COUNT = """
UPDATE usage_queue SET attempts = attempts + 1, error = %s, dead = %s, solo = true, next_attempt_at = %s
WHERE report_id = %s
"""
DIE = "UPDATE usage_report SET state = 'dead', settled_at = %s WHERE id = %s"


@dataclass(frozen=True, slots=True)
class FailedReport:
    """A due report, locked to count a failure."""

    attempts: int
    app: str
    customer: str
    external_id: str


def isolate(conn: Connection, ids: list[int]) -> None:
    """Have the next drain process each of the reports on its own."""
    conn.execute(ISOLATE, [ids])


def lock(conn: Connection, report_id: int, *, now: datetime) -> FailedReport | None:
    """Lock the report's row of the queue. None if it is not due: another drain settled it or counted the failure."""
    database.require_transaction(conn)
    row = conn.execute(LOCK, [report_id, now]).fetchone()
    return FailedReport(*row) if row else None


def count(
    conn: Connection, report_id: int, error: str, *, dead: bool, next_attempt_at: datetime, now: datetime
) -> None:
    """Count a failure of the locked report; a dead one also gets the state `dead`."""
    conn.execute(COUNT, [error, dead, next_attempt_at, report_id])
    if dead:
        conn.execute(DIE, [now, report_id])
