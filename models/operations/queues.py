"""How the queues stand: what /readyz judges and /metrics shows. Read by the indexes over what is not done yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from models import database

# A row that waits for its next attempt is in nobody's way: only what is due can be overdue.
OVERDUE = {
    "usage": """
        SELECT next_attempt_at FROM usage_queue
        WHERE NOT dead AND next_attempt_at <= %s ORDER BY report_id LIMIT 1""",
    "webhooks": """
        SELECT next_attempt_at FROM inbox_event
        WHERE state = 'pending' AND next_attempt_at <= %s ORDER BY id LIMIT 1""",
    "outbox": """
        SELECT next_attempt_at FROM outbox_delivery
        WHERE state = 'pending' AND next_attempt_at <= %s ORDER BY next_attempt_at LIMIT 1""",
}
# How fast others take what Scrip tells them does not say whether Scrip is ready.
JUDGED = ("usage", "webhooks")
PENDING = {
    "usage": "SELECT count(*), min(received_at) FROM usage_queue WHERE NOT dead",
    "webhooks": "SELECT count(*), min(received_at) FROM inbox_event WHERE state = 'pending'",
    "outbox": "SELECT count(*), min(created_at) FROM outbox_delivery WHERE state = 'pending'",
}
DEAD = {
    "usage": "SELECT count(*) FROM usage_queue WHERE dead",
    "webhooks": "SELECT count(*) FROM inbox_event WHERE state = 'dead'",
    # What an endpoint left behind that was deleted cannot be replayed.
    "outbox": """
        SELECT count(*) FROM outbox_delivery d JOIN endpoint e ON e.id = d.endpoint_id
        WHERE d.state = 'failed' AND e.state <> 'deleted'""",
}


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue: rows that wait and that are dead, the age of the oldest that waits, and how long it has been due."""

    name: str
    pending: int
    dead: int
    oldest_seconds: float
    overdue_seconds: float


def overdue_seconds(*, now: datetime) -> dict[str, float]:
    """For how long the oldest due row of each judged queue has been due; 0 when nothing is. Quick, however long it is.

    Raises:
        Unavailable: the database is away.
    """
    return {name: _overdue(name, now) for name in JUDGED}


def standing(*, now: datetime) -> list[Queue]:
    """The queues with their depths, which takes time in step with the backlog.

    Raises:
        Unavailable: the database is away.
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
    then = rows[0][0] if rows else None
    return max(0.0, (now - then).total_seconds()) if then else 0.0
