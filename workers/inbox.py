"""The actor that applies payment providers' events."""

from __future__ import annotations

import dramatiq

from jobs.inbox import events
from models import clock
from workers.broker import broker
from workers.drain import drain
from workers.wakeups import drains


@drains("inbox")
@dramatiq.actor(queue_name="inbox", broker=broker)
def apply_events() -> None:
    """Apply the pending events."""
    drain("inbox", lambda: events.apply_pending(now=clock.now()))
