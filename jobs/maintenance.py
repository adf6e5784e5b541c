"""Maintenance: verification of the ledger, and deletion of old rows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from jobs.chunks import Chunk
from models import database
from models.catalog import catalog
from models.inbox import transmissions
from models.ledger import verify as books
from models.operations import schedule
from models.operations.errors import log_error
from models.outbox import queue
from models.plans import audit

KEEP_SCHEDULE_RUNS = timedelta(days=14)
KEEP_MESSAGES = timedelta(days=90)
# PayPal's receiver refuses a transmission that is older than this, so its body need not be known any longer.
KEEP_TRANSMISSIONS = timedelta(days=6)
ROWS_AT_ONCE = 5000


def check_books(*, now: datetime, app: str | None = None, **options: Any) -> list[books.Check]:
    """Check the nine invariants of the ledger over one snapshot, for one app or for all.

    `options` are passed to `models.ledger.verify.verify`.

    Raises:
        Unavailable: the database cannot be reached.
    """
    return books.verify(database.live_connection(), now=now, app=app, plans=audit.failures, **options)


def verify(*, now: datetime, app: str | None = None, after: Any = None) -> Chunk:
    """Check the ledger. A failed check is logged as an ERROR in the operation log of `app`, or of every app."""
    checks = check_books(now=now, app=app)
    failed = [check for check in checks if not check.ok]
    for check in failed:
        _log(check, app, now)
    return Chunk({"checks": len(checks), "failed": len(failed)})


def _log(check: books.Check, app: str | None, now: datetime) -> None:
    details = {"check": check.name, "failures": check.failures}
    for slug in [app] if app else [known.slug for known in catalog.current()]:
        database.transaction(lambda conn, slug=slug: log_error(conn, slug, "VERIFY", None, details, check.name, now))  # type: ignore[misc]


def prune(*, now: datetime, app: str | None = None, after: Any = None) -> Chunk:
    """Delete old finished schedule runs, and one chunk of old outbox messages and of PayPal's transmissions.

    Provider events, usage reports and ledger entries are never deleted.
    """
    runs = schedule.prune(before=now - KEEP_SCHEDULE_RUNS)
    messages = database.transaction(
        lambda conn: queue.prune(conn, before=now - KEEP_MESSAGES, limit=ROWS_AT_ONCE, now=now)
    )
    bodies = transmissions.prune(before=now - KEEP_TRANSMISSIONS, limit=ROWS_AT_ONCE)
    counts = {"schedule_runs": runs, "messages": messages, "transmissions": bodies}
    return Chunk(counts, after=True if ROWS_AT_ONCE in (messages, bodies) else None)
