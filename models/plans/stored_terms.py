"""The terms of plans as stored. A catalog that differs from the latest terms adds rows, and removes none."""

from __future__ import annotations

from datetime import datetime

from models import database
from models.catalog.apps import App
from models.cycles import LONG_AGO
from models.database import Connection
from models.plans import codec
from models.plans.terms import Terms, TermsBook, of_plan

READ = "SELECT since, content FROM plan_terms WHERE app = %s"
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 9))"
ADD = """
INSERT INTO plan_terms (app, plan, since, content) VALUES (%s, %s, %s, %s::jsonb)
ON CONFLICT (app, plan, since) DO UPDATE SET content = excluded.content
"""
# What was computed with other terms is computed again; so is what could not be computed, because a price was unknown.
STALE = """
UPDATE subscription SET next_due_at = %(now)s,
    upcoming = jsonb_build_array(jsonb_build_object('due', %(now)s::timestamptz)) || upcoming
WHERE app = %(app)s
"""


def differ(conn: Connection, app: App, *, now: datetime) -> bool:
    """Whether the app's catalog has terms that are not stored."""
    return bool(_new(stored(conn, app.slug), app, now))


def note(conn: Connection, app: App, *, now: datetime) -> None:
    """Store the terms of the app's catalog that differ from the latest stored ones, and have the schedule compute its
    subscriptions again. The first terms of a plan hold for all time before.

    In a transaction of its own: it changes all subscriptions of the app.
    """
    database.require_transaction(conn)
    conn.execute(ONE_AT_A_TIME, [app.slug])
    new = _new(stored(conn, app.slug), app, now)
    for terms in new:
        conn.execute(ADD, [app.slug, terms.plan, terms.since, codec.write(terms)])
    if new:
        conn.execute(STALE, {"app": app.slug, "now": now})


def with_catalog(conn: Connection, app: App, *, now: datetime) -> TermsBook:
    """The app's terms, with those of its present catalog, stored or not."""
    known = stored(conn, app.slug)
    return TermsBook([*known.rows, *_new(known, app, now)])


def _new(known: TermsBook, app: App, now: datetime) -> list[Terms]:
    """The terms of the catalog that differ from the latest known ones."""
    new = []
    for plan in app.plans.values():
        latest = known.latest(plan.key)
        terms = of_plan(plan, now if latest else LONG_AGO)
        if latest is None or latest.content != terms.content:
            new.append(terms)
    return new


def stored(conn: Connection, app: str) -> TermsBook:
    """The app's terms as stored."""
    rows = conn.execute(READ, [app], prepare=True)
    return TermsBook(codec.read(Terms, {**content, "since": since}) for since, content in rows)
