"""One tick: record the periods that have begun, ring for them, and sweep the queues.

The tick does no work itself, so it never waits for a worker to be idle; and it may run on any number of nodes at once.
"""

from __future__ import annotations

from models import clock, schedule
from scheduler.schedule import SCHEDULE
from workers.rings import ring

QUEUES = ("webhooks", "usage", "maintenance")


def tick() -> list[str]:
    """Record what is due; returns the jobs recorded."""
    recorded = schedule.record(SCHEDULE, now=clock.now())
    if recorded:
        ring("maintenance")
    return recorded


def sweep() -> None:
    """Ring every queue, whether or not anything waits: what a lost ring left behind is found here."""
    for queue in QUEUES:
        ring(queue)
