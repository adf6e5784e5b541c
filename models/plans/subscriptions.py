"""Subscriptions as stored: their names, and what was computed last from their facts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from psycopg.rows import dict_row

from models import arrays, database
from models.database import Connection
from models.plans import upcoming
from models.plans.upcoming import Series

COLUMNS = """s.id, s.app, s.provider, s.provider_id, s.account_id, s.plan, s.status, s.owed_until, s.snapshot,
s.upcoming, s.granted_at, s.anchor"""
CREATE = """
INSERT INTO subscription (app, provider, provider_id, status, created_at, updated_at)
VALUES (%(app)s, %(provider)s, %(id)s, 'incomplete', %(now)s, %(now)s) ON CONFLICT DO NOTHING
"""
LOCK = f"SELECT {COLUMNS} FROM subscription s WHERE s.app = %s AND s.provider = %s AND s.provider_id = %s FOR UPDATE"
LOCK_DUE = f"""
SELECT {COLUMNS} FROM subscription s WHERE s.next_due_at <= %s AND s.app = ANY(%s)
ORDER BY s.next_due_at, s.id LIMIT %s FOR UPDATE SKIP LOCKED
"""
OF_ACCOUNT = f"""
SELECT {COLUMNS} FROM subscription s JOIN account a ON a.id = s.account_id
WHERE a.app = %s AND a.customer = %s ORDER BY s.id FOR UPDATE OF s
"""
SAVE = """
UPDATE subscription SET account_id = %(account_id)s, plan = %(plan)s, status = %(status)s, anchor = %(anchor)s,
    cycle_start = %(cycle_start)s, cycle_end = %(cycle_end)s, owed_until = %(owed_until)s, trial_end = %(trial_end)s,
    cancel_at = %(cancel_at)s, ended_at = %(ended_at)s, items = %(items)s::jsonb, snapshot = %(snapshot)s,
    notes = %(notes)s, pending_change = %(pending_change)s::jsonb, paused_until = %(paused_until)s,
    open_invoice_url = %(open_invoice_url)s, updated_at = %(now)s
WHERE id = %(id)s
"""
SAVE_UPCOMING = """
UPDATE subscription s SET upcoming = new.upcoming, next_due_at = new.next_due_at, granted_at = new.granted_at,
    plan = new.plan, owed_until = new.owed_until
FROM unnest(%s::bigint[], %s::jsonb[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::timestamptz[])
  AS new(id, upcoming, next_due_at, granted_at, plan, owed_until)
WHERE s.id = new.id
"""
MARK = """
INSERT INTO subscription (app, provider, provider_id, status, upcoming, next_due_at, created_at, updated_at)
VALUES (%(app)s, %(provider)s, %(id)s, 'incomplete', jsonb_build_array(jsonb_build_object('due', %(now)s::timestamptz)),
        %(now)s, %(now)s, %(now)s)
ON CONFLICT (app, provider, provider_id) DO UPDATE SET
    upcoming = subscription.upcoming || excluded.upcoming,
    next_due_at = least(subscription.next_due_at, excluded.next_due_at)
"""
FIND = """
SELECT s.id, s.app, s.provider, s.provider_id, s.status, s.plan, a.customer, s.items, s.anchor, s.cycle_start,
       s.cycle_end, s.trial_end, s.cancel_at, s.ended_at, s.owed_until, s.upcoming, s.next_due_at, s.notes
FROM subscription s LEFT JOIN account a ON a.id = s.account_id
WHERE (%(app)s::text IS NULL OR s.app = %(app)s) AND (s.provider_id = %(name)s OR s.id::text = %(name)s) ORDER BY s.id
"""
NAMES = """
SELECT id, app, provider, provider_id FROM subscription
WHERE id > %(after)s AND (%(app)s::text IS NULL OR app = %(app)s) ORDER BY id LIMIT %(limit)s
"""
COUNT = "SELECT count(*) FROM subscription WHERE %(app)s::text IS NULL OR app = %(app)s"
LISTED = """
SELECT s.id, s.provider_id FROM subscription s
WHERE s.app = %(app)s AND s.provider = %(provider)s AND s.id > %(after)s
  AND (s.ended_at IS NULL OR s.ended_at >= %(since)s)
  AND (s.status <> 'incomplete' OR s.updated_at >= %(since)s)
  AND (%(all)s OR s.created_at >= %(since)s
       OR s.cycle_end BETWEEN %(since)s - interval '3 days' AND %(until)s + interval '1 day')
ORDER BY s.id LIMIT %(limit)s
"""
DELAY = "UPDATE subscription SET next_due_at = %s WHERE id = %s"


@dataclass(slots=True)
class Subscription:
    """The row of a subscription while it is locked. `upcoming`: see models/plans/upcoming.py."""

    id: int
    app: str
    provider: str
    provider_id: str
    account_id: int | None
    plan: str | None
    status: str
    owed_until: datetime | None
    snapshot: str | None
    upcoming: list[Series] = field(default_factory=list)
    granted_at: datetime | None = None
    anchor: datetime | None = None


def lock(conn: Connection, app: str, provider: str, provider_id: str, *, now: datetime) -> Subscription:
    """The subscription, created if it is new, locked until the end of the transaction."""
    database.require_transaction(conn)
    row = conn.execute(LOCK, [app, provider, provider_id], prepare=True).fetchone()
    if row is None:
        create(conn, app, provider, provider_id, now=now)
        row = conn.execute(LOCK, [app, provider, provider_id], prepare=True).fetchone()
    assert row is not None
    return Subscription(*row)


def create(conn: Connection, app: str, provider: str, provider_id: str, *, now: datetime) -> None:
    """Store the names of a subscription of which nothing was computed yet, unless it is stored."""
    conn.execute(CREATE, {"app": app, "provider": provider, "id": provider_id, "now": now}, prepare=True)


def lock_due(conn: Connection, now: datetime, *, apps: Sequence[str], limit: int) -> list[Subscription]:
    """Subscriptions with something due, locked. Rows that another transaction has locked are skipped."""
    database.require_transaction(conn)
    return [Subscription(*row) for row in conn.execute(LOCK_DUE, [now, list(apps), limit], prepare=True)]


def lock_of_account(conn: Connection, app: str, customer: str) -> list[Subscription]:
    """The customer's subscriptions, locked in the order of their ids."""
    database.require_transaction(conn)
    return [Subscription(*row) for row in conn.execute(OF_ACCOUNT, [app, customer])]


def mark(conn: Connection, app: str, provider: str, provider_id: str, *, now: datetime) -> None:
    """Have the schedule compute the subscription, unless that is done before: it has a new fact."""
    conn.execute(MARK, {"app": app, "provider": provider, "id": provider_id, "now": now}, prepare=True)


def exists(conn: Connection, app: str, provider: str, provider_id: str) -> bool:
    """Whether the subscription has a row."""
    sql = "SELECT 1 FROM subscription WHERE app = %s AND provider = %s AND provider_id = %s"
    return conn.execute(sql, [app, provider, provider_id]).fetchone() is not None


def provider_id_of(conn: Connection, subscription_id: int) -> str:
    """The provider's id of a subscription."""
    row = conn.execute("SELECT provider_id FROM subscription WHERE id = %s", [subscription_id]).fetchone()
    assert row is not None, "the subscription of a payment is never deleted"
    return str(row[0])


def save(conn: Connection, subscription_id: int, computed: dict[str, Any], *, now: datetime) -> None:
    """Store what was computed: the columns of `SAVE` by name."""
    waiting = computed["pending_change"]
    written = {
        "items": orjson.dumps(computed["items"]).decode(),
        "pending_change": orjson.dumps(waiting).decode() if waiting else None,
    }
    conn.execute(SAVE, {**computed, **written, "id": subscription_id, "now": now}, prepare=True)


def save_upcoming(conn: Connection, many: Iterable[Subscription]) -> None:
    """Store what falls due later, and since when which plan is owed."""
    rows = list(many)
    conn.execute(
        SAVE_UPCOMING,
        [
            arrays.ints([row.id for row in rows]),
            arrays.jsons([row.upcoming for row in rows]),
            arrays.times([upcoming.next_due_at(row.upcoming) for row in rows]),
            arrays.times([row.granted_at for row in rows]),
            arrays.texts([row.plan for row in rows]),
            arrays.times([row.owed_until for row in rows]),
        ],
        prepare=True,
    )


def delay(conn: Connection, subscription_id: int, until: datetime) -> None:
    """Do not try the subscription again before then: computing it failed."""
    conn.execute(DELAY, [until, subscription_id])


def find(conn: Connection, name: str, app: str | None) -> list[dict[str, Any]]:
    """The rows of the subscriptions with this number or id at a provider, by the names of their columns."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(FIND, {"name": name, "app": app}).fetchall()


def names(conn: Connection, app: str | None, *, after: int, limit: int) -> list[tuple[int, str, str, str]]:
    """(Number, app, provider, id there) of the subscriptions whose number is above `after`, in order."""
    rows = conn.execute(NAMES, {"app": app, "after": after, "limit": limit})
    return [(id_, slug, provider, provider_id) for id_, slug, provider, provider_id in rows]


def count(conn: Connection, app: str | None) -> int:
    """How many subscriptions there are."""
    row = conn.execute(COUNT, {"app": app}).fetchone()
    return int(row[0]) if row else 0


def listed(
    app: str, provider: str, since: datetime, until: datetime, *, include_all: bool, after: int, limit: int
) -> list[tuple[int, str]]:
    """(Row, the provider's id) of the subscriptions that run or ended since then, after the row `after`.

    Without `include_all` only those that began since then, or whose next payment is due about that time.
    """
    values = {"app": app, "provider": provider, "since": since, "until": until, "all": include_all}
    return list(database.read(LISTED, {**values, "after": after, "limit": limit}))
