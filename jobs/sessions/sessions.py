"""Session requests of clients: start, heartbeat, end, cancel.

All are idempotent: the session's row stores the responses. The gate is checked and the units are taken in one
transaction under the lock of the account, so two concurrent starts are serialized.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from jobs import idempotency
from jobs.sessions import billing, gate, lifecycle
from jobs.sessions.gate import Eligibility
from models import database, times
from models.access import idempotency as responses
from models.catalog.apps import App
from models.database import Connection
from models.errors import Conflict, ScripError
from models.sessions import sessions
from models.sessions.sessions import Owner, Session

Answer = dict[str, Any]


def start(app: App, body: dict[str, Any], *, now: datetime) -> tuple[Answer, int]:
    """Start a session, or let it wait. Returns the response and its HTTP status.

    201: the session started. 200: the stored response, for an id that has started before. 202: the session waits for
    the cooldown or for units (`"wait": true`), or another session of the customer already waits.

    Raises:
        TierRequired, ActiveSession, CoolingDown, InsufficientBalance: the first reason of the gate.
        Conflict: the id is another customer's session, or one that was cancelled or refused.
        Invalid: the app has no sessions.
    """
    gate.of(app)
    session_id = body.get("id") or uuid.uuid4().hex
    try:
        return database.transaction(lambda conn: _start(conn, app, session_id, body, now))
    except ScripError as refusal:
        details = {"key": f"session:{session_id}", "id": session_id, "wait": body.get("wait", False)}
        idempotency.log_refusal(app.slug, "SESSION", body["customer"], details, refusal, now)
        raise


def _start(conn: Connection, app: App, session_id: str, body: dict[str, Any], now: datetime) -> tuple[Answer, int]:
    customer = body["customer"]
    owner = sessions.lock(conn, app.slug, customer, now=now)
    stored = responses.recall(conn, app.slug, "session", session_id, {"customer": customer})
    if stored is not None:
        return stored, 200
    known = sessions.find(conn, app.slug, session_id)
    if known is not None and known.state != "waiting":
        return _recall(known, owner), 200
    if known is not None and known.account_id != owner.id:
        raise _conflict(session_id)
    eligibility = gate.check(conn, app, customer, owner, now=now)
    waiting = known or _waiting(conn, owner)
    if not eligibility.reasons:
        session = waiting or _new(app, owner, session_id, body, now)
        answer = lifecycle.start(conn, app, owner, session, free=eligibility.free, now=now)
        if session.external_id != session_id:
            # The session that waited has another id: store the response for the requested id too.
            content = {"customer": customer}
            responses.remember(conn, app.slug, "session", session_id, customer, content, answer, now=now)
        return answer, 201
    if waiting is None:
        if not (body.get("wait") and eligibility.may_wait):
            raise eligibility.refusal(now)
        waiting = _new(app, owner, session_id, body, now)
        _wait(conn, app, waiting, eligibility, now)
    return _waiting_response(waiting, eligibility), 202


def _recall(known: Session, owner: Owner) -> Answer:
    if known.account_id != owner.id:
        raise _conflict(known.external_id)
    if known.start_answer is None:
        raise Conflict(f"session {known.external_id!r} is {known.state}", state=known.state)
    return known.start_answer


def _conflict(session_id: str) -> Conflict:
    return Conflict(f"session {session_id!r} is stored with other content", id=session_id)


def _waiting(conn: Connection, owner: Owner) -> Session | None:
    return next((session for session in sessions.open_of(conn, owner.id) if session.state == "waiting"), None)


def _new(app: App, owner: Owner, session_id: str, body: dict[str, Any], now: datetime) -> Session:
    return Session(session_id, app.slug, owner.id, "waiting", now, metadata=body.get("metadata"))


def _wait(conn: Connection, app: App, session: Session, eligibility: Eligibility, now: datetime) -> None:
    session.free, session.needs = eligibility.free, eligibility.required
    session.starts_at = eligibility.cooldown_until or now
    session.wait_until = now + gate.of(app).wait_timeout
    sessions.insert(conn, session)


def _waiting_response(session: Session, eligibility: Eligibility) -> Answer:
    """The response while the session waits. `starts_at` is known if the cooldown is the only reason."""
    starts_at = eligibility.cooldown_until if eligibility.reasons == ["cooldown"] else None
    return {
        "id": session.external_id,
        "state": "waiting",
        "starts_at": times.write(starts_at) if starts_at else None,
        "reasons": eligibility.reasons,
    }


def heartbeat(app: App, session_id: str, *, now: datetime) -> Answer:
    """Record a heartbeat and extend the session's hold. Returns `{"id", "remaining_seconds", "ends_by"}`.

    Raises:
        NotFound: the app has no such session.
        Conflict: the session is not active.
    """
    return _logged(app, session_id, {}, lambda conn: _heartbeat(conn, app, session_id, now), now)


def _heartbeat(conn: Connection, app: App, session_id: str, now: datetime) -> Answer:
    session, owner = sessions.lock_with_owner(conn, app.slug, session_id, now=now)
    if session.state != "active":
        raise _closed(session)
    billing.extend(conn, app, owner, session, now=now)
    lifecycle.record_heartbeat(app, session, now=now)
    sessions.save(conn, session)
    assert session.ends_by is not None
    remaining = max(0, int((session.ends_by - now).total_seconds()))
    return {"id": session_id, "remaining_seconds": remaining, "ends_by": times.write(session.ends_by)}


def end(app: App, session_id: str, body: dict[str, Any], *, now: datetime) -> Answer:
    """End the session, with a length of `seconds` or, without them, by the server's clock.

    Idempotent: a repeated call returns the first response.

    Raises:
        NotFound: the app has no such session.
        Conflict: the session never started.
        Invalid: the price of the seconds exceeds the limit.
    """
    return _logged(app, session_id, body, lambda conn: _end(conn, app, session_id, body, now), now)


def _end(conn: Connection, app: App, session_id: str, body: dict[str, Any], now: datetime) -> Answer:
    session, owner = sessions.lock_with_owner(conn, app.slug, session_id, now=now)
    if session.end_answer is not None:
        return session.end_answer
    if session.state != "active":
        raise _closed(session)
    assert session.longest_until is not None
    seconds = body.get("seconds")
    if seconds is None:
        seconds = lifecycle.measured(session, min(now, session.longest_until))
    return lifecycle.end(
        conn, app, owner, session, by="client", ended_at=now, now=now, seconds=seconds, summary=body.get("summary")
    )


def cancel(app: App, session_id: str, *, now: datetime) -> Answer:
    """Cancel a waiting session. Returns `{"id", "state": "cancelled"}`. Idempotent.

    Raises:
        NotFound: the app has no such session.
        Conflict: the session has started or was refused.
    """
    return _logged(app, session_id, {}, lambda conn: _cancel(conn, app, session_id, now), now)


def _cancel(conn: Connection, app: App, session_id: str, now: datetime) -> Answer:
    session, _ = sessions.lock_with_owner(conn, app.slug, session_id, now=now)
    if session.state == "waiting":
        session.state, session.ended_at = "cancelled", now
        sessions.save(conn, session)
    if session.state != "cancelled":
        raise _closed(session)
    return {"id": session_id, "state": "cancelled"}


def _logged(
    app: App, session_id: str, body: dict[str, Any], work: Callable[[Connection], Answer], now: datetime
) -> Answer:
    """Run the work in a transaction. A refusal is logged in the operation log."""
    try:
        return database.transaction(work)
    except ScripError as refusal:
        details = {"key": f"session:{session_id}", "id": session_id, **body}
        idempotency.log_refusal(app.slug, "SESSION", None, details, refusal, now)
        raise


def _closed(session: Session) -> Conflict:
    return Conflict(f"session {session.external_id!r} is {session.state}", state=session.state)
