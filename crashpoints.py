"""Named places where a process can be told to die, for the tests that inject faults.

    crashpoint("after-apply")

does nothing unless SCRIP_CRASH_AT names it: `after-apply` kills this process with SIGKILL the first time it
gets there, `after-apply:3` the third time. No `finally`, no `atexit`, no flush: as when the power goes.
"""

from __future__ import annotations

import itertools
import os
import signal

_armed, _, _count = os.environ.get("SCRIP_CRASH_AT", "").partition(":")
_fatal_visit = int(_count or "1")
_visits = itertools.count(1)


def crashpoint(name: str) -> None:
    """Kills this process if `name` is the armed point and has now been reached often enough."""
    if name == _armed and next(_visits) >= _fatal_visit:
        os.kill(os.getpid(), signal.SIGKILL)
