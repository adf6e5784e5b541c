"""Drain loop: process batches until the queue is empty or the time budget is spent, then enqueue another wake-up."""

from __future__ import annotations

import time
from collections.abc import Callable

from workers.wakeups import clear_pending, notify

SECONDS = 5.0


def drain(queue: str, run_once: Callable[[], int], seconds: float = SECONDS, *, help_from: int | None = None) -> int:
    """Run `run_once` until it returns 0 or `seconds` have passed. Returns the sum of its results.

    help_from: batch size from which a second worker is woken up to drain in parallel.
    """
    clear_pending(queue)
    deadline = time.monotonic() + seconds
    total = 0
    while count := run_once():
        total += count
        if time.monotonic() > deadline:
            notify(queue)
            break
        if help_from is not None and count >= help_from:
            notify(queue)
    return total
