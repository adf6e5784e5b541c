"""The Dramatiq broker. Redis is a doorbell: every message may be lost or doubled without harm."""

from __future__ import annotations

from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, ShutdownNotifications, TimeLimit

from settings import settings
from workers.middleware import DatabaseConnections, Measure

NAMESPACE = "scrip"
TIME_LIMIT_MS = 60_000
# A drain of reports works until nothing is left, and two in one process would wait for each other's Python: a process
# takes one ring at a time and leaves the next one to another process. A round of the outbox has senders of its own, and
# may wait for slow receivers: it takes up one thread of a process and no more. Of other messages it takes any number.
MESSAGES_AT_ONCE = {"sessions": 1, "usage": 1, "outbox": 1}
# How long an idle process waits before it looks for a message again: what somebody waits for is found at once, what
# nobody does costs next to nothing. Dramatiq's second queue for each, of delayed messages, is never used here.
LOOK_EVERY_MS = {"webhooks": 20, "usage": 40}
LOOK_EVERY_MS_OTHERWISE = 200


class Broker(RedisBroker):
    """Dramatiq's broker, with limits for each queue: how many messages in hand, how long between two looks."""

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Any:
        """A worker process calls this once for each of its queues."""
        timeout = LOOK_EVERY_MS.get(queue_name, LOOK_EVERY_MS_OTHERWISE)
        return super().consume(queue_name, MESSAGES_AT_ONCE.get(queue_name, prefetch), timeout)


# No Retries middleware: the rows are the queue, and their backoff is the database's. `url=` and not `host=`: with the
# latter redis-py repeats scripts that are not idempotent.
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
