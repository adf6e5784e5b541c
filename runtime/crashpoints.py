"""Named places where a process can be told to die, for the tests that inject faults.

    crashpoint("event-before-commit")

does nothing unless SCRIP_CRASH_AT names it: `event-before-commit` kills each process with SIGKILL the first time that
it gets there, `event-before-commit:3` the third time. No `finally`, no `atexit`, no flush: as when the power goes. A
process that is started anew with the variable still set counts from one, and dies there again.
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
    """(name, which visit of it is fatal). An unknown name ends the process: a test would prove nothing."""
    name, _, count = armed.partition(":")
    if armed and (name not in NAMES or (count and not count.isdecimal())):
        known = ", ".join(NAMES)
        raise SystemExit(
            f'SCRIP_CRASH_AT: "{armed}" is no crash point, or one and a number (NAME:3); there are {known}'
        )
    return name, int(count or "1")


_armed, _fatal_visit = _read(os.environ.get("SCRIP_CRASH_AT", ""))
_visits = itertools.count(1)


def crashpoint(name: str) -> None:
    """Kills this process if `name` is the armed point and has now been reached often enough."""
    if name == _armed and next(_visits) >= _fatal_visit:
        os.kill(os.getpid(), signal.SIGKILL)
