"""All metrics of Scrip, and their text for Prometheus (docs/metrics.md).

The processes of a node count in shared files, so the totals at /metrics include all of them, also the workers.
prometheus_client reads the directory of the files when it is first imported: no module may import it before this one.
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
    "Time of a request in Scrip, without the web server.",
    ["method", "path", "status"],
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)
ACTOR_SECONDS = Histogram(
    "scrip_actor_seconds",
    "Run time of an actor.",
    ["actor", "outcome"],
    buckets=(0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 20, 60),
)


def observe_actor(actor: str, seconds: float, *, failed: bool) -> None:
    """Count one run of an actor."""
    ACTOR_SECONDS.labels(actor, "failed" if failed else "done").observe(seconds)


def text(*, now: datetime) -> bytes:
    """Return all metrics as Prometheus text: the counts of this node's processes, and the state of the queues."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=os.environ[metric_files.VARIABLE])
    registry.register(_Queues(now))
    return generate_latest(registry)


class _Queues:
    """The state of the queues at the time of the scrape. Without a database, only `scrip_database_up` is reported."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def describe(self) -> list[Any]:
        """Return no metrics: registration must not query the database."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges."""
        try:
            states = queues.states(now=self.now)
        except Unavailable:
            yield GaugeMetricFamily("scrip_database_up", "Whether the database responds.", 0)
            return
        yield GaugeMetricFamily("scrip_database_up", "Whether the database responds.", 1)
        for name, description, value in GAUGES:
            gauge = GaugeMetricFamily(name, description, labels=["queue"])
            for queue in states:
                gauge.add_metric([queue.name], value(queue))
            yield gauge


GAUGES: tuple[tuple[str, str, Callable[[queues.Queue], float]], ...] = (
    ("scrip_queue_pending_rows", "Rows waiting to be applied or sent.", lambda queue: queue.pending),
    ("scrip_queue_dead_rows", "Dead letters: rows that need a replay.", lambda queue: queue.dead),
    ("scrip_queue_oldest_seconds", "Age of the oldest pending row.", lambda queue: queue.oldest_seconds),
    ("scrip_queue_overdue_seconds", "How long the oldest due row has been due.", lambda queue: queue.overdue_seconds),
)
