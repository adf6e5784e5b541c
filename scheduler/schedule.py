"""The schedule: (job, period). A job processes everything that is due, so missed periods are not repeated."""

from __future__ import annotations

from datetime import timedelta

SCHEDULE: tuple[tuple[str, timedelta], ...] = (
    ("expire", timedelta(minutes=1)),
    ("grant-monthly", timedelta(minutes=1)),
    ("release-holds", timedelta(seconds=30)),
    ("tell-expiring", timedelta(minutes=5)),
    ("reconcile-recent", timedelta(minutes=5)),
    ("reconcile", timedelta(days=1)),
    ("verify", timedelta(days=1)),
    ("prune", timedelta(days=1)),
)
