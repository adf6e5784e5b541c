"""The Dramatiq broker. Redis is a doorbell: every message may be lost or doubled without harm."""

from __future__ import annotations

import os

# Read by dramatiq when its modules load. A prefetch of one starves the threads; an idle consumer sleeps up to the
# timeout.
os.environ.setdefault("dramatiq_queue_prefetch", "16")
os.environ.setdefault("dramatiq_worker_timeout", "20")

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, ShutdownNotifications, TimeLimit

from settings import settings
from workers.middleware import DatabaseConnections, Measure

NAMESPACE = "scrip"
TIME_LIMIT_MS = 60_000

# No Retries middleware: the rows are the queue, and their backoff is the database's. `url=` and not `host=`: with the
# latter redis-py repeats scripts that are not idempotent.
broker = RedisBroker(
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
