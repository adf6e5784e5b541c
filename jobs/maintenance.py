"""What the engine does for itself: checking its books, and forgetting what nobody will ask for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from jobs.chunks import Chunk
from models import database
from models.catalog import catalog
from models.ledger import verify as books
from models.operations.errors import log_error
from models.outbox import deliveries

KEEP_SCHEDULE_RUNS = timedelta(days=14)
KEEP_MARKERS = timedelta(hours=1)
KEEP_MESSAGES = timedelta(days=90)
MESSAGES_AT_ONCE = 5000


def check_books(*, now: datetime, app: str | None = None, **options: Any) -> list[books.Check]:
    """The eight invariants over one snapshot, for one app or all."""
    plans = {known.slug: {plan.key: plan.units for plan in known.plans.values()} for known in catalog.current()}
    database.read("SELECT 1")  # a connection that was lost while it idled is replaced before the snapshot begins
    return books.verify(database.connection(), now=now, app=app, plans=plans, **options)


def verify(*, now: datetime, app: str | None = None, after: Any = None) -> Chunk:
    """Check the books; what fails is an ERROR in the operation log of each app concerned."""
    checks = check_books(now=now, app=app)
    failed = [check for check in checks if not check.ok]
    for check in failed:
        _tell(check, app, now)
    return Chunk({"checks": len(checks), "failed": len(failed)})


def _tell(check: books.Check, app: str | None, now: datetime) -> None:
    details = {"check": check.name, "failures": check.failures}
    for slug in [app] if app else [known.slug for known in catalog.current()]:
        database.transaction(lambda conn, slug=slug: log_error(conn, slug, "VERIFY", None, details, check.name, now))  # type: ignore[misc]


def prune(*, now: datetime, app: str | None = None, after: Any = None) -> Chunk:
    """Forget finished schedule runs, and messages of the outbox, that are old.

    Events, reports and entries are never forgotten here.
    """
    gone = database.write(
        "DELETE FROM schedule_run WHERE state = 'done' AND period < %s", [now - KEEP_SCHEDULE_RUNS]
    ).rowcount
    told = database.transaction(
        lambda conn: deliveries.prune(conn, before=now - KEEP_MESSAGES, limit=MESSAGES_AT_ONCE, now=now)
    )
    return Chunk({"schedule_runs": gone, "messages": told}, after=True if told == MESSAGES_AT_ONCE else None)
