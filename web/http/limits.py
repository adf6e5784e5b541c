"""Rate limits of keys: one token bucket per key, in process memory.

It needs neither Redis nor the database, so it works during their outages. Each web process counts separately: with n
processes a key gets up to n times its limit.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Hashable

from models.errors import RateLimited

MOST_BUCKETS = 10_000


class Limiter:
    """Token buckets that hold the requests of one minute and refill evenly."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: dict[Hashable, tuple[float, float]] = {}

    def spend(self, key: Hashable, per_minute: int) -> None:
        """Count one request of `key`. Raises RateLimited with `retry_after`, in seconds."""
        now = time.monotonic()
        with self._lock:
            left, since = self._buckets.get(key, (float(per_minute), now))
            left = min(float(per_minute), left + (now - since) * per_minute / 60)
            if left < 1:
                wait_seconds = math.ceil((1 - left) * 60 / per_minute)
                raise RateLimited(f"the key is limited to {per_minute} requests per minute", retry_after=wait_seconds)
            if len(self._buckets) >= MOST_BUCKETS:
                self._buckets.clear()
            self._buckets[key] = (left - 1, now)
