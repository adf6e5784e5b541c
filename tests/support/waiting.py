"""Waiting for a condition, the only kind of waiting in these tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.01, 0.05


def wait_until(condition: Callable[[], T], seconds: float = 30.0) -> T:
    """What `condition` returns as soon as it is true; fails after `seconds`."""
    began = time.monotonic()
    while not (found := condition()):
        waited = time.monotonic() - began
        assert waited < seconds, "the condition did not come true in time"
        # Each check takes CPU time from what is being waited for, so a long wait checks less often.
        time.sleep(min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS + waited / 20))
    return found
