"""Named places where a process can be killed, for fault-injection tests.

    crashpoint("event-before-commit")

does nothing unless SCRIP_CRASH_AT names it: `event-before-commit` kills each process with SIGKILL when it first reaches
the point, `event-before-commit:3` when it reaches it for the third time. `finally` blocks, `atexit` handlers and
buffers are skipped, as in a power failure. A restarted process with the variable still set counts from one again.
"""

from __future__ import annotations

import itertools
import os
import signal

NAMES = (
    "event-before-store",
    "event-after-store",
    "event-after-prepare",
    "event-after-apply",
    "event-before-commit",
    "event-after-commit",
    "usage-before-take",
    "usage-before-post",
    "usage-after-post",
    "usage-before-commit",
    "session-before-commit",
    "session-after-commit",
    "checkout-promised",
    "checkout-opened",
    "refund-stored",
    "refund-asked",
    "outbox-after-claim",
    "outbox-before-record",
    "import-after-chunk",
)


def _read(armed: str) -> tuple[str, int]:
    """(name, number of the fatal visit). An unknown name ends the process, because a test would prove nothing."""
    name, _, count = armed.partition(":")
    if armed and (name not in NAMES or (count and not count.isdecimal())):
        known = ", ".join(NAMES)
        raise SystemExit(
            f"SCRIP_CRASH_AT is {armed!r}: it must be NAME or NAME:NUMBER, with one of the crash points {known}"
        )
    return name, int(count or "1")


_armed, _fatal_visit = _read(os.environ.get("SCRIP_CRASH_AT", ""))
_visits = itertools.count(1)


def crashpoint(name: str) -> None:
    """Kill this process if `name` is the armed point and this is its fatal visit."""
    if name == _armed and next(_visits) >= _fatal_visit:
        os.kill(os.getpid(), signal.SIGKILL)
