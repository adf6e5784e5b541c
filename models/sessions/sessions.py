"""Sessions as rows: waiting, active or ended. The operations on them are in jobs/sessions/sessions.py.

A transaction that changes a session holds the row lock of its account (`lock`), so that the gate's conditions, the
credit and the session change together or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

import orjson
from psycopg.errors import SerializationFailure

from models import database
from models.database import Connection
from models.errors import NotFound
from models.ledger import accounts

# How often the engine retries a session that could not start, and for how long after a change of its account it
# retries at every pass: a transaction may commit some seconds after the time that it wrote into the row.
LOOK_AGAIN = timedelta(seconds=10)
NEWS_LASTS = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Owner:
    """The account behind a gate."""

    id: int
    customer: str
    cooldown_until: datetime | None
    free_sessions_used: int


@dataclass(slots=True)
class Session:
    """A row. `free` of a waiting session: it will be free; else it needs `needs` available units to start.

    `price`: (units, per, minimum) at the start; (units, per) at a rate with rounding = "carry".
    """

    external_id: str
    app: str
    account_id: int
    state: str
    created_at: datetime
    id: int = 0
    free: bool = False
    rate: str | None = None
    price: list[int] | None = None
    metadata: dict[str, Any] | None = None
    summary: str | None = None
    starts_at: datetime | None = None
    wait_until: datetime | None = None
    started_at: datetime | None = None
    heartbeat_at: datetime | None = None
    longest_until: datetime | None = None
    ends_by: datetime | None = None
    due_at: datetime | None = None
    tried_at: datetime | None = None
    needs: int = 0
    attempts: int = 0
    ended_at: datetime | None = None
    ended_by: str | None = None
    duration_seconds: int | None = None
    units: int = 0
    shortfall: int = 0
    entry_id: int | None = None
    cooldown_until: datetime | None = None
    start_answer: dict[str, Any] | None = None
    end_answer: dict[str, Any] | None = None


NAMES = tuple(field.name for field in fields(Session))
SELECT = f"SELECT {', '.join(f's.{name}' for name in NAMES)} FROM session s"
WRITTEN = tuple(name for name in NAMES if name != "id")
INSERT = f"""
INSERT INTO session ({", ".join(WRITTEN)}) VALUES ({", ".join(f"%({name})s" for name in WRITTEN)})
ON CONFLICT (app, external_id) DO NOTHING RETURNING id
"""
UPDATE = f"UPDATE session SET {', '.join(f'{name} = %({name})s' for name in WRITTEN)} WHERE id = %(id)s"
OWNER = "SELECT id, customer, cooldown_until, free_sessions_used FROM account WHERE app = %s AND customer = %s"
DUE = """
SELECT s.app, s.external_id FROM session s WHERE s.state = 'active' AND s.due_at <= %(now)s
  AND (%(app)s::text IS NULL OR s.app = %(app)s) ORDER BY s.due_at LIMIT %(limit)s
"""
# A session that lacks credit is not tried at every pass, and sessions that were tried before come last.
STARTABLE = """
SELECT s.app, s.external_id FROM session s JOIN account a ON a.id = s.account_id
WHERE s.state = 'waiting' AND s.starts_at <= %(now)s AND (%(app)s::text IS NULL OR s.app = %(app)s)
  AND (s.tried_at IS NULL OR s.tried_at < %(now)s)
  AND (s.wait_until <= %(now)s OR ((s.free OR a.balance - a.held >= s.needs)
       AND (s.tried_at IS NULL OR s.tried_at <= %(look_again)s OR a.updated_at >= %(news_since)s)))
ORDER BY coalesce(s.tried_at, s.starts_at) LIMIT %(limit)s
"""


def lock(conn: Connection, app: str, customer: str, *, now: datetime) -> Owner:
    """The customer's account, created if it is missing, locked until the end of the transaction."""
    database.require_transaction(conn)
    accounts.ensure(conn, app, customer, now=now)
    row = conn.execute(f"{OWNER} FOR NO KEY UPDATE", [app, customer]).fetchone()
    assert row is not None
    return Owner(*row)


def owner(conn: Connection, app: str, customer: str) -> Owner | None:
    """The customer's account, not locked; None for an unknown customer."""
    row = conn.execute(OWNER, [app, customer]).fetchone()
    return Owner(*row) if row else None


def lock_with_owner(conn: Connection, app: str, session_id: str, *, now: datetime) -> tuple[Session, Owner]:
    """A session and its account, the account locked before the session is read.

    Raises:
        NotFound: the app has no such session.
    """
    database.require_transaction(conn)
    found = find(conn, app, session_id)
    if found is None:
        raise NotFound(f"no session {session_id!r}")
    account = lock(conn, app, accounts.customer_of(conn, found.account_id), now=now)
    current = find(conn, app, session_id)
    assert current is not None, "a session is never deleted"
    return current, account


def try_lock_with_owner(conn: Connection, app: str, session_id: str) -> tuple[Session, Owner] | None:
    """A session and its account, or None if another transaction has locked the account: the engine does not wait."""
    database.require_transaction(conn)
    row = conn.execute(
        """SELECT id, customer, cooldown_until, free_sessions_used FROM account
        WHERE id = (SELECT account_id FROM session WHERE app = %s AND external_id = %s)
        FOR NO KEY UPDATE SKIP LOCKED""",
        [app, session_id],
    ).fetchone()
    current = find(conn, app, session_id) if row else None
    return (current, Owner(*row)) if row and current else None


def find(conn: Connection, app: str, session_id: str) -> Session | None:
    """The app's session with this id."""
    row = conn.execute(f"{SELECT} WHERE s.app = %s AND s.external_id = %s", [app, session_id]).fetchone()
    return Session(*row) if row else None


def open_of(conn: Connection, account_id: int) -> list[Session]:
    """The account's waiting and active sessions, oldest first."""
    of_account = f"{SELECT} WHERE s.account_id = %s AND s.state IN ('waiting', 'active') ORDER BY s.id"
    rows = conn.execute(of_account, [account_id])
    return [Session(*row) for row in rows]


def insert(conn: Connection, session: Session) -> None:
    """Store a new session and set its `id`.

    Raises:
        SerializationFailure: a session of another customer was stored with this id meanwhile; a retry finds it.
    """
    row = conn.execute(INSERT, _values(session)).fetchone()
    if row is None:
        raise SerializationFailure(f"session {session.external_id} was stored by a concurrent transaction")
    session.id = row[0]


def save(conn: Connection, session: Session) -> None:
    """Store all columns of a session."""
    conn.execute(UPDATE, _values(session))


def use_free(conn: Connection, account_id: int) -> None:
    """Count one of the account's free sessions as used."""
    conn.execute("UPDATE account SET free_sessions_used = free_sessions_used + 1 WHERE id = %s", [account_id])


def cool_down(conn: Connection, account_id: int, until: datetime) -> None:
    """Allow no session before `until`, or before a later cooldown that is set already."""
    conn.execute("UPDATE account SET cooldown_until = greatest(cooldown_until, %s) WHERE id = %s", [until, account_id])


def put_off(app: str, session_id: str, *, now: datetime, wait: Callable[[int], timedelta]) -> int:
    """Retry a session that failed after `wait(attempts)`. Returns the attempts so far.

    Takes no lock: concurrent changes of the session are kept, and only times that are still due are moved.
    """
    rows = database.read("SELECT attempts FROM session WHERE app = %s AND external_id = %s", [app, session_id])
    attempts = rows[0][0] + 1
    until = now + wait(attempts)
    database.write(
        """UPDATE session SET attempts = %(attempts)s,
        due_at = CASE WHEN state = 'active' AND due_at <= %(now)s THEN %(until)s ELSE due_at END,
        starts_at = CASE WHEN state = 'waiting' AND starts_at <= %(now)s THEN %(until)s ELSE starts_at END
        WHERE app = %(app)s AND external_id = %(id)s""",
        {"attempts": attempts, "now": now, "until": until, "app": app, "id": session_id},
    )
    return int(attempts)


def due(*, now: datetime, app: str | None = None, limit: int = 100) -> list[tuple[str, str]]:
    """(app, id) of active sessions that may have reached their limit or missed a heartbeat."""
    return database.read(DUE, {"now": now, "app": app, "limit": limit})


def startable(*, now: datetime, app: str | None = None, limit: int = 100) -> list[tuple[str, str]]:
    """(app, id) of waiting sessions that may start now, or whose waiting time is over."""
    values = {"now": now, "app": app, "limit": limit, "look_again": now - LOOK_AGAIN, "news_since": now - NEWS_LASTS}
    return database.read(STARTABLE, values)


def is_due(*, now: datetime) -> bool:
    """Whether any session is due or startable."""
    return bool(due(now=now, limit=1) or startable(now=now, limit=1))


def _values(session: Session) -> dict[str, Any]:
    values = {name: getattr(session, name) for name in NAMES}
    for name in ("metadata", "start_answer", "end_answer"):
        values[name] = None if values[name] is None else orjson.dumps(values[name]).decode()
    return values
