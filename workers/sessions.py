"""The actor that starts and settles due sessions."""

from __future__ import annotations

import dramatiq

from jobs.sessions import engine
from models import clock
from workers.broker import broker
from workers.drain import drain
from workers.wakeups import drains


@drains("sessions")
@dramatiq.actor(queue_name="sessions", broker=broker)
def run_sessions() -> None:
    """Start and settle the due sessions."""
    drain("sessions", lambda: engine.run_due(now=clock.now()))
