"""The loop of every drain: apply until nothing is left or the time is up, then ring for the rest."""

from __future__ import annotations

import time
from collections.abc import Callable

from workers.wakeups import heard, ring

SECONDS = 5.0


def drain(queue: str, run_once: Callable[[], int], seconds: float = SECONDS, *, help_from: int | None = None) -> int:
    """Run `run_once` until it returns 0. Rings again when it did not get that far. Returns the sum.

    help_from: a batch of that size says that more waits than one drain should take; a ring calls another one to help.
    """
    heard(queue)
    deadline = time.monotonic() + seconds
    total = 0
    while count := run_once():
        total += count
        if time.monotonic() > deadline:
            ring(queue)
            break
        if help_from is not None and count >= help_from:
            ring(queue)
    return total
