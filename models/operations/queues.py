"""The state of the queues, for /readyz and /metrics. The queries use the partial indexes over unfinished rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from models import database

# Only due rows can be overdue: a row that waits for its next attempt does not delay others.
OVERDUE = {
    "usage": """
        SELECT next_attempt_at FROM usage_queue
        WHERE NOT dead AND next_attempt_at <= %s ORDER BY report_id LIMIT 1""",
    "inbox": """
        SELECT next_attempt_at FROM inbox_event
        WHERE state = 'pending' AND next_attempt_at <= %s ORDER BY id LIMIT 1""",
    "outbox": """
        SELECT next_attempt_at FROM outbox_delivery
        WHERE state = 'pending' AND next_attempt_at <= %s ORDER BY next_attempt_at LIMIT 1""",
}
# Not the outbox: slow receivers of webhooks do not make Scrip unready.
FOR_READINESS = ("usage", "inbox")
PENDING = {
    "usage": "SELECT count(*), min(received_at) FROM usage_queue WHERE NOT dead",
    "inbox": "SELECT count(*), min(received_at) FROM inbox_event WHERE state = 'pending'",
    "outbox": "SELECT count(*), min(created_at) FROM outbox_delivery WHERE state = 'pending'",
}
DEAD = {
    "usage": "SELECT count(*) FROM usage_queue WHERE dead",
    "inbox": "SELECT count(*) FROM inbox_event WHERE state = 'dead'",
    # Deliveries of a deleted endpoint cannot be replayed.
    "outbox": """
        SELECT count(*) FROM outbox_delivery d JOIN endpoint e ON e.id = d.endpoint_id
        WHERE d.state = 'failed' AND e.state <> 'deleted'""",
}


@dataclass(frozen=True, slots=True)
class Queue:
    """The state of one queue: the number of pending and dead rows, and two ages.

    `oldest_seconds`: the age of the oldest pending row. `overdue_seconds`: how long the oldest due row has been due.
    """

    name: str
    pending: int
    dead: int
    oldest_seconds: float
    overdue_seconds: float


def overdue_seconds(*, now: datetime) -> dict[str, float]:
    """Return how long the oldest due row of each queue `FOR_READINESS` has been due; 0 if none is due.

    The time of the queries does not depend on the length of the queues.

    Raises:
        Unavailable: the database cannot be reached.
    """
    return {name: _overdue(name, now) for name in FOR_READINESS}


def states(*, now: datetime) -> list[Queue]:
    """Return the state of all queues. Counting takes time in proportion to the number of unfinished rows.

    Raises:
        Unavailable: the database cannot be reached.
    """
    return [_queue(name, now) for name in OVERDUE]


def _overdue(name: str, now: datetime) -> float:
    return _age(now, database.read(OVERDUE[name], [now]))


def _queue(name: str, now: datetime) -> Queue:
    ((pending, oldest),) = database.read(PENDING[name])
    ((dead,),) = database.read(DEAD[name])
    return Queue(name, pending, dead, _age(now, [(oldest,)]), _overdue(name, now))


def _age(now: datetime, rows: list[tuple[datetime | None, ...]]) -> float:
    """Seconds since the time in the first row; 0 if there is none."""
    since = rows[0][0] if rows else None
    return max(0.0, (now - since).total_seconds()) if since else 0.0
