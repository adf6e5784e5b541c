"""Transitions of a session, for clients and for the engine: it starts, records heartbeats and ends.

All of it runs in the caller's transaction, under the lock of the session's account. A metered session holds the price
of its app's `reserve` and pays by its length at the end; a charged one pays at the start; a free one pays nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from jobs.sessions import billing, gate
from models import times
from models.catalog.apps import App
from models.database import Connection
from models.ledger import balances
from models.outbox import messages
from models.outbox.messages import Message
from models.sessions import sessions
from models.sessions.sessions import Owner, Session


def start(conn: Connection, app: App, owner: Owner, session: Session, *, free: bool, now: datetime) -> dict[str, Any]:
    """Start the session: charge it or hold its units. Returns the response to its start.

    The gate must have found no blockers, with the account locked since.
    """
    terms = gate.of(app)
    session.state, session.free, session.started_at, session.attempts = "active", free, now, 0
    session.longest_until = session.ends_by = now + terms.max_duration
    if free:
        sessions.use_free(conn, owner.id)
        available = balances.available(app, owner.customer, now=now)
    elif terms.charge is not None:
        available = billing.charge(conn, app, owner, session, terms.charge, now)
    else:
        available = billing.hold(conn, app, owner, session, terms, now)
    session.due_at = session.ends_by
    session.start_answer = {
        "id": session.external_id,
        "state": "active",
        "available": available,
        "started_at": times.write(now),
        "ends_by": times.write(session.ends_by),
        "free": free,
    }
    _write(conn, session)
    _emit(conn, owner, session, "session.started", {**session.start_answer, "metadata": session.metadata or {}}, now)
    return session.start_answer


def record_heartbeat(app: App, session: Session, *, now: datetime) -> None:
    """Record a heartbeat. After the first one, missing heartbeats end the session."""
    session.heartbeat_at = max(now, session.heartbeat_at or now)
    session.due_at = due_at(app, session)


def due_at(app: App, session: Session) -> datetime:
    """When the engine must check the session: when its paid time ends or its heartbeat is overdue."""
    assert session.ends_by is not None
    return min(filter(None, (session.ends_by, lost_at(app, session))))


def lost_at(app: App, session: Session) -> datetime | None:
    """When the session is abandoned unless a heartbeat arrives; None before the first heartbeat."""
    if session.heartbeat_at is None or app.sessions is None:
        return None
    return session.heartbeat_at + app.sessions.heartbeat_timeout


def end(
    conn: Connection,
    app: App,
    owner: Owner,
    session: Session,
    *,
    by: str,
    ended_at: datetime,
    now: datetime,
    seconds: int | None = None,
    summary: str | None = None,
) -> dict[str, Any]:
    """End the session. Its length is `seconds`, or else from its start to `ended_at`. Returns the response to its end.

    Raises:
        Invalid: the price of the length exceeds the limit of an account.
    """
    session.state, session.ended_by, session.ended_at, session.due_at = "ended", by, ended_at, None
    session.duration_seconds = measured(session, ended_at) if seconds is None else seconds
    session.summary = summary
    balance = billing.settle(conn, app, owner, session, now)
    cooldown = app.sessions.cooldown if app.sessions else timedelta(0)
    if cooldown:
        session.cooldown_until = ended_at + cooldown
        sessions.cool_down(conn, owner.id, session.cooldown_until)
    session.end_answer = {
        "id": session.external_id,
        "state": "ended",
        "units": session.units,
        "shortfall": session.shortfall,
        "balance": balance,
        "duration_seconds": session.duration_seconds,
        "cooldown_until": times.write(session.cooldown_until) if session.cooldown_until else None,
        "ended_by": by,
    }
    _write(conn, session)
    _emit(conn, owner, session, "session.ended", session.end_answer, now)
    if by == "balance" or session.shortfall:
        _emit(conn, owner, session, "session.exhausted", session.end_answer, now)
    return session.end_answer


def measured(session: Session, until: datetime) -> int:
    """The session's length until then, in complete seconds.

    Never negative, even if the clock of this node is behind that of the node that started the session.
    """
    assert session.started_at is not None
    return max(0, int((until - session.started_at).total_seconds()))


def _write(conn: Connection, session: Session) -> None:
    if session.id:
        sessions.save(conn, session)
    else:
        sessions.insert(conn, session)


def _emit(conn: Connection, owner: Owner, session: Session, type_: str, answer: dict[str, Any], now: datetime) -> None:
    data = {"session": session.external_id, **{name: value for name, value in answer.items() if name != "id"}}
    messages.emit(conn, [Message(session.app, type_, owner.customer, data)], now=now)
