"""Computes all subscriptions again, and posts or lists what differs from their lots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from jobs import dead_letters
from jobs.plans.settlement import settle
from models import database
from models.catalog import catalog
from models.database import Connection
from models.plans import audit, stored_terms, subscriptions

ROWS_AT_ONCE = 200
Row = tuple[int, str, str, str]


@dataclass(frozen=True, slots=True)
class Result:
    """One subscription. `differences`: a text for each period that differed. `error`: why it was not computed."""

    subscription: int
    app: str
    provider_id: str
    differences: list[str]
    error: str | None = None


def count(app: str | None) -> int:
    """How many subscriptions there are to compute."""
    return subscriptions.count(database.live_connection(), app)


def results(*, now: datetime, app: str | None = None, dry_run: bool = False) -> Iterator[Result]:
    """Each subscription in a transaction of its own. `dry_run` stores nothing."""
    after = 0
    while rows := subscriptions.names(database.live_connection(), app, after=after, limit=ROWS_AT_ONCE):
        for row in rows:
            yield _one(row, dry_run, now)
        after = rows[-1][0]


def _one(row: Row, dry_run: bool, now: datetime) -> Result:
    number, slug, _, provider_id = row
    if slug not in catalog.current().apps:
        return Result(number, slug, provider_id, [], f"the app {slug!r} is not in the catalog; restore its file")
    try:
        found = database.transaction(lambda conn: _differences(conn, row, dry_run, now))
    except Exception as error:
        dead_letters.log_defect(error, app=slug, subscription=provider_id)
        return Result(number, slug, provider_id, [], f"{type(error).__name__}: {error}")
    return Result(number, slug, provider_id, found)


def _differences(conn: Connection, row: Row, dry_run: bool, now: datetime) -> list[str]:
    _, slug, provider, provider_id = row
    app = catalog.current()[slug]
    book = stored_terms.with_catalog(conn, app, now=now)
    found = list(audit.of_subscription(conn, book, row, now=now, overdue=now))
    if not dry_run:
        settle(conn, app, provider, provider_id, now=now)
    return found
