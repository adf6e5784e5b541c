"""The actor that sends the deliveries of the outbox."""

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
    """Send the due deliveries. A worker that shuts down stops sending; the next sweep wakes up another one."""
    with contextlib.suppress(Shutdown):
        drain("outbox", lambda: sender.deliver_due(now=clock.now()))
