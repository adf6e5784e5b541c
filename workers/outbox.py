"""The actor that sends what waits in the outbox."""

from __future__ import annotations

import contextlib

import dramatiq
from dramatiq.middleware import Shutdown

from jobs.outbox import sender
from models import clock
from workers.broker import broker
from workers.drain import drain
from workers.wakeups import drains


@drains("outbox")
@dramatiq.actor(queue_name="outbox", broker=broker, notify_shutdown=True)
def deliver() -> None:
    """Send what is due; a worker that shuts down sends no more, and the next sweep goes on."""
    with contextlib.suppress(Shutdown):
        drain("outbox", lambda: sender.deliver_due(now=clock.now()))
