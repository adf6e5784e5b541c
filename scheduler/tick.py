"""Tick, sweep and poll: record due jobs and wake up the workers.

None of them processes rows, so none waits for a busy worker. Any number of nodes can run them at the same time.
"""

from __future__ import annotations

from models import clock
from models.operations import schedule
from models.outbox import messages
from models.sessions import sessions
from scheduler.schedule import SCHEDULE
from workers.wakeups import notify

QUEUES = ("inbox", "usage", "maintenance", "sessions", "outbox")
# Queues whose rows become due by time, when no writer enqueues a wake-up. Each check reads a partial index.
POLLED = {"sessions": sessions.is_due, "outbox": messages.is_due}


def tick() -> list[str]:
    """Record the jobs whose period has begun, and wake up the maintenance worker. Returns the recorded jobs."""
    recorded = schedule.record(SCHEDULE, now=clock.now())
    if recorded:
        notify("maintenance")
    return recorded


def sweep() -> None:
    """Wake up every queue unconditionally. Recovers rows whose wake-up was lost."""
    for queue in QUEUES:
        notify(queue)


def poll() -> list[str]:
    """Wake up the queues that have due rows. Returns these queues."""
    now = clock.now()
    due = [queue for queue, is_due in POLLED.items() if is_due(now=now)]
    for queue in due:
        notify(queue)
    return due
