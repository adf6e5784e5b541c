"""Counting requests and their time, by route and status."""

from __future__ import annotations

from typing import Any

from models.operations import metrics


class Meter:
    """The counts of one route, with its labels looked up once."""

    __slots__ = ("_by_status", "_labels")

    def __init__(self, method: str, path: str) -> None:
        self._labels = (method, path)
        self._by_status: dict[int, Any] = {}

    def count(self, status: int, seconds: float) -> None:
        """One request, answered with `status` after `seconds`."""
        counted = self._by_status.get(status)
        if counted is None:
            counted = self._by_status[status] = metrics.REQUEST_SECONDS.labels(*self._labels, str(status))
        counted.observe(seconds)
