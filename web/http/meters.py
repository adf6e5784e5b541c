"""HTTP request metrics: count and duration by route and status."""

from __future__ import annotations

from typing import Any

from models.operations import metrics


class Meter:
    """The metrics of one route, with its labels looked up once."""

    __slots__ = ("_by_status", "_labels")

    def __init__(self, method: str, path: str) -> None:
        self._labels = (method, path)
        self._by_status: dict[int, Any] = {}

    def count(self, status: int, seconds: float) -> None:
        """Record one request that returned `status` after `seconds`."""
        metric = self._by_status.get(status)
        if metric is None:
            metric = self._by_status[status] = metrics.REQUEST_SECONDS.labels(*self._labels, str(status))
        metric.observe(seconds)
