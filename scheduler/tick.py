"""One tick: record the periods that have begun, ring for them, and sweep the queues. And the poll, once a second.

The tick does no work itself, so it never waits for a worker to be idle; and it may run on any number of nodes at once.
"""

from __future__ import annotations

from models import clock
from models.operations import schedule
from models.outbox import messages
from models.sessions import sessions
from scheduler.schedule import SCHEDULE
from workers.wakeups import notify

QUEUES = ("webhooks", "usage", "maintenance", "sessions", "outbox")
# What somebody waits for, or what nobody rings for: each is a look at a partial index.
POLLED = {"sessions": sessions.is_due, "outbox": messages.is_due}


def tick() -> list[str]:
    """Record what is due; returns the jobs recorded."""
    recorded = schedule.record(SCHEDULE, now=clock.now())
    if recorded:
        notify("maintenance")
    return recorded


def sweep() -> None:
    """Ring every queue, whether or not anything waits: what a lost ring left behind is found here."""
    for queue in QUEUES:
        notify(queue)


def poll() -> list[str]:
    """Ring the queues whose rows have become due; returns them."""
    now = clock.now()
    due = [queue for queue, is_due in POLLED.items() if is_due(now=now)]
    for queue in due:
        notify(queue)
    return due
