"""Grants that time makes due: by the schedule, at a login, or on request."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from jobs import dead_letters
from jobs.chunks import Chunk
from jobs.plans import messages, movements
from jobs.plans.settlement import settle
from models import database
from models.catalog import catalog
from models.catalog.apps import App
from models.database import Connection
from models.ledger.post import post
from models.plans import stored_terms, subscriptions, upcoming
from models.plans.subscriptions import Subscription
from models.plans.upcoming import Upcoming, time_of

log = structlog.get_logger()
CHUNK = 500
RETRY_AFTER = timedelta(minutes=10)


def grant_monthly(*, now: datetime, app: str | None = None, after: Any = None) -> Chunk:
    """One chunk of the schedule: what time has made due, of the subscriptions that have been due longest.

    A run begins with the terms of the catalog: a changed one makes all subscriptions of its app due.
    """
    if after is None:
        for each in catalog.current():
            if app in (None, each.slug):
                note_terms(each, now=now)
    counts, again = database.transaction(lambda conn: _chunk(conn, now, app))
    for slug, provider, provider_id, row_id in again:
        counts["units"] += _settle_alone(catalog.current()[slug], provider, provider_id, row_id, now)
    return Chunk(counts, after=True if counts["subscriptions"] else None)


def note_terms(app: App, *, now: datetime) -> None:
    """Store the terms of the app's catalog, in a commit of its own, if it was changed since they were stored."""
    if stored_terms.differ(database.live_connection(), app, now=now):
        database.transaction(lambda conn: stored_terms.note(conn, app, now=now))


def grant_owed(app: App, customer: str, *, now: datetime) -> int:
    """Grant what plans owe this customer now, as on login. Returns the units."""

    def work(conn: Connection) -> int:
        rows = subscriptions.lock_of_account(conn, app.slug, customer)
        return sum(settle(conn, app, row.provider, row.provider_id, now=now).units for row in rows)

    return database.transaction(work)


Again = tuple[str, str, str, int]


def _chunk(conn: Connection, now: datetime, app: str | None) -> tuple[dict[str, int], list[Again]]:
    """Grant what was computed to fall due by now. Returns the counts, and the subscriptions to compute again."""
    due = subscriptions.lock_due(conn, now, apps=[app] if app else list(catalog.current().apps), limit=CHUNK)
    granting, again = [], []
    for row in due:
        ready, rest = upcoming.take(row.upcoming, now)
        if all("units" in one for one in ready):
            row.upcoming = rest
            granting.append((row, ready))
        else:
            again.append((row.app, row.provider, row.provider_id, row.id))
    units = _grant(conn, granting, now)
    for row_id in (one[3] for one in again):
        subscriptions.delay(conn, row_id, now + RETRY_AFTER)  # unless computing it stores another time
    return {"subscriptions": len(due), "units": units}, again


def _grant(conn: Connection, granting: Sequence[tuple[Subscription, list[Upcoming]]], now: datetime) -> int:
    apps = catalog.current()
    made = [
        (row, movements.grant(apps[row.app], row, one, now=now))
        for row, ready in granting
        for one in movements.in_order(ready)
    ]
    outcomes = post(conn, [grant for _, grant in made], now=now)
    for row, ready in granting:
        row.granted_at = now
        _note_period(row, ready)
    subscriptions.save_upcoming(conn, [row for row, _ in granting])
    granted = [(row, grant, outcome) for (row, grant), outcome in zip(made, outcomes, strict=True)]
    messages.emit_grants(conn, granted, now=now)
    return sum(outcome.units for outcome in outcomes if outcome.status == "applied")


def _note_period(row: Subscription, ready: Sequence[Upcoming]) -> None:
    """The plan that is owed now, and until when."""
    for one in ready:
        if row.owed_until is None or time_of(one["end"]) > row.owed_until:
            row.plan, row.owed_until = one["plan"], time_of(one["end"])


def _settle_alone(app: App, provider: str, provider_id: str, row_id: int, now: datetime) -> int:
    """Compute one subscription in a transaction of its own, so that a defect does not stop the others."""
    try:
        return database.transaction(lambda conn: settle(conn, app, provider, provider_id, now=now)).units
    except Exception as error:
        dead_letters.log_defect(error, app=app.slug, subscription=provider_id)
        return 0
