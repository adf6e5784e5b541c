"""Dramatiq broker. Messages are wake-up notifications only; the queue is in PostgreSQL.

A lost or duplicated message is therefore harmless.
"""

from __future__ import annotations

from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, ShutdownNotifications, TimeLimit

from settings import settings
from workers.middleware import DatabaseConnections, Measure

NAMESPACE = "scrip"
TIME_LIMIT_MS = 60_000
# Prefetch by queue; other queues use Dramatiq's default. A drain of usage reports is CPU-bound, and two in one process
# would contend for the GIL: a process takes one wake-up and leaves the next to another process. A drain of the outbox
# has its own sender threads and may wait for slow receivers: it occupies one thread per process.
PREFETCH = {"sessions": 1, "usage": 1, "outbox": 1}
# Polling interval of an idle process, by queue: short where a client waits for the result. It also applies to
# Dramatiq's queues of delayed messages, which Scrip does not use.
POLL_MS = {"inbox": 20, "usage": 40}
DEFAULT_POLL_MS = 200


class Broker(RedisBroker):
    """Dramatiq's Redis broker with a prefetch and a polling interval per queue."""

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Any:
        """The consumer of a queue. A worker process calls this once per queue."""
        timeout = POLL_MS.get(queue_name, DEFAULT_POLL_MS)
        return super().consume(queue_name, PREFETCH.get(queue_name, prefetch), timeout)


# No Retries middleware: the rows are the queue, and the database stores their backoff. `url=` and not `host=`: with
# `host=`, redis-py retries scripts that are not idempotent.
broker = Broker(
    url=settings.redis_url,
    namespace=NAMESPACE,
    middleware=[
        DatabaseConnections(),
        Measure(),
        AgeLimit(),
        TimeLimit(time_limit=TIME_LIMIT_MS),
        ShutdownNotifications(),
    ],
)
dramatiq.set_broker(broker)
