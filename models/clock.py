"""The clock: the wall clock, or in a sandbox the wall clock plus an offset that can be advanced.

The offset is stored in a file of the data directory, so that all processes of the node follow at once and a restart
keeps it (docs/decisions/0004-the-sandbox-clock-is-a-file.md). Jobs read no clock: they receive `now`.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

from settings import settings


def now() -> datetime:
    """The current time, aware, in UTC. In a sandbox it includes the offset."""
    wall = datetime.now(timezone.utc)
    return wall + offset() if settings.sandbox else wall


def offset() -> timedelta:
    """How far the sandbox's clock is ahead of the wall clock."""
    try:
        return timedelta(seconds=float(_path().read_text()))
    except FileNotFoundError:
        return timedelta(0)


def advance(by: timedelta) -> datetime:
    """Move the sandbox's clock forward and return the new time."""
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(str((offset() + by).total_seconds()))
    temporary.replace(path)
    return now()


def _path() -> Path:
    return settings.data_dir / "clock"
