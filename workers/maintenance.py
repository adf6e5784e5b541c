"""The actor that runs the jobs that the scheduler recorded."""

from __future__ import annotations

import dramatiq

from jobs import schedule
from models import clock
from workers.broker import broker
from workers.drain import drain
from workers.wakeups import drains


@drains("maintenance")
@dramatiq.actor(queue_name="maintenance", broker=broker)
def run_schedule() -> None:
    """Run the recorded jobs."""
    drain("maintenance", lambda: schedule.run_due(now=clock.now()))
