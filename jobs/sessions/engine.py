"""The session engine: starts waiting sessions and ends abandoned, exhausted and overlong ones, without a client.

Each session is a transaction of its own under its account's lock, where its state is read again: it may have changed
since the poll. If the account is locked, the session is left for the next second, so that no session delays another.
A session that raises is postponed with backoff and logged in the operation log; the others proceed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from jobs import dead_letters
from jobs.chunks import Chunk
from jobs.sessions import billing, gate, lifecycle
from models import database
from models.catalog import catalog
from models.catalog.apps import App
from models.database import Connection
from models.errors import Unavailable
from models.operations.errors import log_error
from models.sessions import sessions
from models.sessions.sessions import Owner, Session
from runtime.crashpoints import crashpoint

CHUNK = 100
Work = Callable[[Connection, App, Session, Owner, datetime], str | None]


def run_due(*, now: datetime) -> int:
    """Process all sessions that are due. Returns how many changed."""
    return sum(_to_the_end(start_waiting, now)) + sum(_to_the_end(settle, now))


def _to_the_end(job: Callable[..., Chunk], now: datetime) -> Iterator[int]:
    after: Any = True
    while after is not None:
        chunk = job(now=now)
        yield sum(chunk.counts.values())
        after = chunk.after


def start_waiting(*, now: datetime, app: str | None = None, after: Any = None) -> Chunk:
    """Start waiting sessions whose blockers are gone; refuse those that have waited too long."""
    candidates = sessions.startable(now=now, app=app, limit=CHUNK)
    # None of a full chunk may be able to start, and one after it may.
    return _each(candidates, _start, now, has_more=len(candidates) == CHUNK)


def settle(*, now: datetime, app: str | None = None, after: Any = None) -> Chunk:
    """End active sessions whose heartbeat is overdue, whose balance is used up or whose longest duration is over."""
    candidates = sessions.due(now=now, app=app, limit=CHUNK)
    chunk = _each(candidates, _settle, now, has_more=len(candidates) == CHUNK)
    return chunk if chunk.counts["ended"] else Chunk(chunk.counts)


def _each(candidates: list[tuple[str, str]], work: Work, now: datetime, *, has_more: bool) -> Chunk:
    counts = {"started": 0, "refused": 0} if work is _start else {"ended": 0}
    for app, session_id in candidates:
        result = _try(app, session_id, work, now)
        if result in counts:
            counts[result] += 1
    return Chunk(counts, after=True if has_more else None)


def _try(app: str, session_id: str, work: Work, now: datetime) -> str | None:
    def attempt(conn: Connection) -> str | None:
        locked = sessions.try_lock_with_owner(conn, app, session_id)
        result = work(conn, catalog.current()[app], *locked, now) if locked else None
        crashpoint("session-before-commit")
        return result

    try:
        result = database.transaction(attempt)
        crashpoint("session-after-commit")
        return result
    except Unavailable:
        raise
    except Exception as error:
        _postpone(app, session_id, error, now)
        return None


def _postpone(app: str, session_id: str, error: Exception, now: datetime) -> None:
    dead_letters.log_defect(error, app=app, session=session_id)
    text = dead_letters.operator_message(error, "It is retried automatically.")
    attempts = sessions.put_off(app, session_id, now=now, wait=dead_letters.backoff)
    details = {"id": session_id, "attempts": attempts}
    database.transaction(lambda conn: log_error(conn, app, "SESSION", None, details, text, now))


def _start(conn: Connection, app: App, session: Session, owner: Owner, now: datetime) -> str | None:
    if session.state != "waiting":
        return None
    eligibility = gate.check(conn, app, owner.customer, owner, now=now)
    if not eligibility.reasons:
        lifecycle.start(conn, app, owner, session, free=eligibility.free, now=now)
        return "started"
    assert session.wait_until is not None
    if "cooldown" not in eligibility.reasons and session.wait_until <= now:
        session.state, session.ended_at = "refused", max(session.wait_until, session.starts_at or session.wait_until)
    # If another session of the customer ended meanwhile, a new cooldown has started.
    session.starts_at, session.tried_at = eligibility.cooldown_until or session.starts_at, now
    sessions.save(conn, session)
    return "refused" if session.state == "refused" else None


def _settle(conn: Connection, app: App, session: Session, owner: Owner, now: datetime) -> str | None:
    """End the session as of the time at which it was due, however late the engine runs."""
    if session.state != "active":
        return None
    session.due_at = lifecycle.due_at(app, session)
    while session.state == "active" and session.due_at is not None and session.due_at <= now:
        if not _extended(conn, app, session, owner, now):
            by, ended_at = _end_of(app, session)
            lifecycle.end(conn, app, owner, session, by=by, ended_at=ended_at, now=now)
            return "ended"
    sessions.save(conn, session)
    return None


def _extended(conn: Connection, app: App, session: Session, owner: Owner, now: datetime) -> bool:
    """Extend the hold if it is used up. Returns whether the balance allowed that; the session is due later then."""
    assert session.ends_by is not None
    before, lost_at = session.ends_by, lifecycle.lost_at(app, session)
    if before == session.longest_until or (lost_at is not None and lost_at <= before):
        return False
    billing.extend(conn, app, owner, session, now=now)
    session.due_at = lifecycle.due_at(app, session)
    return session.ends_by > before


def _end_of(app: App, session: Session) -> tuple[str, datetime]:
    """(reason, time) of the end. An abandoned session ended with its last heartbeat."""
    assert session.ends_by is not None
    lost_at = lifecycle.lost_at(app, session)
    if lost_at is not None and lost_at <= session.ends_by:
        assert session.heartbeat_at is not None
        return "heartbeat", session.heartbeat_at
    return ("limit" if session.ends_by == session.longest_until else "balance"), session.ends_by
