"""What runs when: (job, period). A job does all that is due by now, so a period that was missed needs no making up."""

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
