"""What the engine does for sessions with no client asking: it starts those that waited and settles those left behind.

Each session is a transaction of its own under its account's lock, judged afresh there: what the poll saw may be over.
One whose account somebody else has is left for the next second, so that nobody waits for a slow neighbour.
A session that makes trouble is put off and told of in the operation log; it does not hold up the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from jobs import dead_letters
from jobs.chunks import Chunk
from jobs.sessions import gate, lifecycle
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
    """All that is due. Returns how many sessions changed."""
    return sum(_to_the_end(start_waiting, now)) + sum(_to_the_end(settle, now))


def _to_the_end(job: Callable[..., Chunk], now: datetime) -> Iterator[int]:
    after: Any = True
    while after is not None:
        step = job(now=now)
        yield sum(step.counts.values())
        after = step.after


def start_waiting(*, now: datetime, app: str | None = None, after: Any = None) -> Chunk:
    """Start waiting sessions whose cooldown is over and whose credit is there; refuse those that waited too long."""
    named = sessions.startable(now=now, app=app, limit=CHUNK)
    # A full chunk may have been one of those who wait in vain, with one behind them who does not.
    return _each(named, _start, now, goes_on=len(named) == CHUNK)


def settle(*, now: datetime, app: str | None = None, after: Any = None) -> Chunk:
    """End active sessions whose heartbeat is lost, whose balance is used up or whose time is up."""
    named = sessions.due(now=now, app=app, limit=CHUNK)
    step = _each(named, _settle, now, goes_on=len(named) == CHUNK)
    return step if step.counts["ended"] else Chunk(step.counts)


def _each(named: list[tuple[str, str]], work: Work, now: datetime, *, goes_on: bool) -> Chunk:
    counts = {"started": 0, "refused": 0} if work is _start else {"ended": 0}
    for app, session_id in named:
        done = _try(app, session_id, work, now)
        if done in counts:
            counts[done] += 1
    return Chunk(counts, after=True if goes_on else None)


def _try(app: str, session_id: str, work: Work, now: datetime) -> str | None:
    def attempt(conn: Connection) -> str | None:
        held = sessions.try_lock_with_owner(conn, app, session_id)
        done = work(conn, catalog.current()[app], *held, now) if held else None
        crashpoint("session-before-commit")
        return done

    try:
        done = database.transaction(attempt)
        crashpoint("session-after-commit")
        return done
    except Unavailable:
        raise
    except Exception as error:
        _put_off(app, session_id, error, now)
        return None


def _put_off(app: str, session_id: str, error: Exception, now: datetime) -> None:
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
    # Another session may have ended meanwhile, and the cooldown has begun anew.
    session.starts_at, session.tried_at = eligibility.cooldown_until or session.starts_at, now
    sessions.save(conn, session)
    return "refused" if session.state == "refused" else None


def _settle(conn: Connection, app: App, session: Session, owner: Owner, now: datetime) -> str | None:
    """As of the moment at which it was due, however late the engine comes."""
    if session.state != "active":
        return None
    session.due_at = lifecycle.due_at(app, session)
    while session.state == "active" and session.due_at is not None and session.due_at <= now:
        if not _goes_on(conn, app, session, owner, now):
            by, ended_at = _end_of(app, session)
            lifecycle.end(conn, app, owner, session, by=by, ended_at=ended_at, now=now)
            return "ended"
    sessions.save(conn, session)
    return None


def _goes_on(conn: Connection, app: App, session: Session, owner: Owner, now: datetime) -> bool:
    """Whether what it holds is used up and there is more: the hold grows, and the session is due later."""
    assert session.ends_by is not None
    before, lost_at = session.ends_by, lifecycle.lost_at(app, session)
    if before == session.longest_until or (lost_at is not None and lost_at <= before):
        return False
    lifecycle.extend(conn, app, owner, session, now=now)
    session.due_at = lifecycle.due_at(app, session)
    return session.ends_by > before


def _end_of(app: App, session: Session) -> tuple[str, datetime]:
    """(why, when) it ended. A session that was left ended with its last sign of life."""
    assert session.ends_by is not None
    lost_at = lifecycle.lost_at(app, session)
    if lost_at is not None and lost_at <= session.ends_by:
        assert session.heartbeat_at is not None
        return "heartbeat", session.heartbeat_at
    return ("limit" if session.ends_by == session.longest_until else "balance"), session.ends_by
