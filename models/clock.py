"""The time. In a sandbox it can be moved; everywhere else it is the wall clock.

The sandbox's offset lies in a file of the data directory, so that every process of the node follows at once and a
restart keeps it. Jobs read no clock: they are given `now`.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

from settings import settings


def now() -> datetime:
    """The current time, aware, in UTC; in a sandbox with its offset."""
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
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(str((offset() + by).total_seconds()))
    fresh.replace(path)
    return now()


def _path() -> Path:
    return settings.data_dir / "clock"
