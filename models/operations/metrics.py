"""Every metric that Scrip has, and the text that Prometheus reads (docs/metrics.md).

The processes of a node count in files that they share, so the totals at /metrics are those of all of them, workers
included. prometheus_client decides when it is first imported whether it shares: nothing else may import it before
this module.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from models.errors import Unavailable
from models.operations import metric_files, queues
from settings import settings

metric_files.share(settings.data_dir / "metrics")

from prometheus_client import CollectorRegistry, Histogram, generate_latest  # noqa: E402
from prometheus_client.core import GaugeMetricFamily  # noqa: E402
from prometheus_client.multiprocess import MultiProcessCollector  # noqa: E402

REQUEST_SECONDS = Histogram(
    "scrip_http_request_seconds",
    "Time a request spent in Scrip, without the server around it.",
    ["method", "path", "status"],
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)
ACTOR_SECONDS = Histogram(
    "scrip_actor_seconds",
    "Time an actor ran.",
    ["actor", "outcome"],
    buckets=(0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 20, 60),
)


def observe_actor(actor: str, seconds: float, *, failed: bool) -> None:
    """Count one run of an actor."""
    ACTOR_SECONDS.labels(actor, "failed" if failed else "done").observe(seconds)


def text(*, now: datetime) -> bytes:
    """All metrics in Prometheus' text format: what this node's processes counted, and how the queues stand."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=os.environ[metric_files.VARIABLE])
    registry.register(_Queues(now))
    return generate_latest(registry)


class _Queues:
    """The queues as the database has them at the moment of the scrape. Without a database only `up` is told."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def describe(self) -> list[Any]:
        """Nothing: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges."""
        try:
            standing = queues.standing(now=self.now)
        except Unavailable:
            yield GaugeMetricFamily("scrip_database_up", "Whether the database answers.", 0)
            return
        yield GaugeMetricFamily("scrip_database_up", "Whether the database answers.", 1)
        for name, told, value in GAUGES:
            gauge = GaugeMetricFamily(name, told, labels=["queue"])
            for queue in standing:
                gauge.add_metric([queue.name], value(queue))
            yield gauge


GAUGES: tuple[tuple[str, str, Callable[[queues.Queue], float]], ...] = (
    ("scrip_queue_pending_rows", "Rows that wait to be applied.", lambda queue: queue.pending),
    ("scrip_queue_dead_rows", "Rows given up on, until somebody replays them.", lambda queue: queue.dead),
    ("scrip_queue_oldest_seconds", "Age of the oldest pending row.", lambda queue: queue.oldest_seconds),
    ("scrip_queue_overdue_seconds", "How long the oldest due row has been due.", lambda queue: queue.overdue_seconds),
)
