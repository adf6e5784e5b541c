"""Rate limits of keys: a token bucket a key, in this process.

It needs neither Redis nor the database, so it holds when they do not. Each web process counts for itself: where the
load is spread over n processes, a key gets up to n times its limit.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Hashable

from models.errors import RateLimited

MOST_BUCKETS = 10_000


class Limiter:
    """Buckets that hold a minute's worth of requests and fill up evenly."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: dict[Hashable, tuple[float, float]] = {}

    def spend(self, key: Hashable, per_minute: int) -> None:
        """Count one request of `key`. Raises RateLimited, which says when the next may come."""
        now = time.monotonic()
        with self._lock:
            left, since = self._buckets.get(key, (float(per_minute), now))
            left = min(float(per_minute), left + (now - since) * per_minute / 60)
            if left < 1:
                wait_seconds = math.ceil((1 - left) * 60 / per_minute)
                raise RateLimited(f"the key may make {per_minute} requests a minute", retry_after=wait_seconds)
            if len(self._buckets) >= MOST_BUCKETS:
                self._buckets.clear()
            self._buckets[key] = (left - 1, now)
