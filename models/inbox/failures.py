"""Failed attempts of inbox events: the count, the backoff and the dead letter.

All functions run in the caller's transaction. Backoff and the number of attempts are in jobs/dead_letters.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from models import database
from models.database import Connection

ISOLATE = "UPDATE inbox_event SET solo = true WHERE id = ANY(%s) AND state = 'pending'"
LOCK = """
SELECT attempts, excused, app, customer, event_id, provider, type FROM inbox_event
WHERE id = %s AND state = 'pending' AND attempts = coalesce(%s, attempts) FOR UPDATE
"""
COUNT = """
UPDATE inbox_event SET attempts = attempts + 1, excused = excused + %s, error = %s, state = %s,
    solo = true, waits_for = %s, next_attempt_at = %s, processed_at = %s WHERE id = %s
"""


@dataclass(frozen=True, slots=True)
class FailedEvent:
    """A pending event, locked to count a failure. `outage_attempts`: those of its `attempts` that were outages."""

    attempts: int
    outage_attempts: int
    app: str
    customer: str | None
    event_id: str
    provider: str
    type: str


def isolate(conn: Connection, ids: list[int]) -> None:
    """Have the next drain process each of the pending events on its own."""
    conn.execute(ISOLATE, [ids])


def lock(conn: Connection, row_id: int, *, attempts: int | None) -> FailedEvent | None:
    """Lock the event. None if it is not pending, or `attempts` is given and another attempt was counted meanwhile."""
    database.require_transaction(conn)
    row = conn.execute(LOCK, [row_id, attempts]).fetchone()
    return FailedEvent(*row) if row else None


def count(
    conn: Connection,
    row_id: int,
    error: str,
    *,
    dead: bool,
    is_outage: bool,
    waits_for: str | None,
    next_attempt_at: datetime,
    now: datetime,
) -> None:
    """Count a failure of the locked event. `waits_for`: the provider's id without which it cannot be applied."""
    state, processed_at = ("dead", now) if dead else ("pending", None)
    conn.execute(COUNT, [int(is_outage), error, state, waits_for, next_attempt_at, processed_at, row_id])
