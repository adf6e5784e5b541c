"""What happens to a session, whoever asked for it: it starts, its hold grows, it ends.

All of it under the lock of the session's account and in the caller's transaction. A metered session holds what its
app's `reserve` costs and pays by its length at the end; a charged one pays at the start; a free one pays nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from jobs.ledger.pricing import MOST_UNITS
from jobs.sessions import gate
from models import times
from models.catalog.apps import App, Rate, Sessions
from models.database import Connection, RunAgain
from models.errors import Invalid
from models.ledger import balances
from models.ledger.post import post
from models.outbox import messages
from models.outbox.messages import Message
from models.planning.movements import Capture, Extend, Hold, Outcome, Take
from models.sessions import sessions
from models.sessions.sessions import Owner, Session

# A session's hold ends with the session, never by itself.
NEVER = datetime(9999, 12, 31, tzinfo=timezone.utc)


def start(conn: Connection, app: App, owner: Owner, session: Session, *, free: bool, now: datetime) -> dict[str, Any]:
    """Start it: what it costs at the start is taken, or held. Returns the answer to its start.

    The gate has found nothing in the way, and the account has been locked since.
    """
    terms = gate.of(app)
    session.state, session.free, session.started_at, session.attempts = "active", free, now, 0
    session.longest_until = session.ends_by = now + terms.max_duration
    if free:
        sessions.use_free(conn, owner.id)
        available = balances.available(app, owner.customer, now=now)
    elif terms.charge is not None:
        available = _charge(conn, app, owner, session, terms.charge, now)
    else:
        available = _set_aside(conn, app, owner, session, terms, now)
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
    _tell(conn, owner, session, "session.started", {**session.start_answer, "metadata": session.metadata or {}}, now)
    return session.start_answer


def _charge(conn: Connection, app: App, owner: Owner, session: Session, units: int, now: datetime) -> int:
    take = Take(
        **_common(app, owner, session),
        key=_key(session),
        units=units,
        on_shortfall="reject",
        reason="session",
        meta=_meta(session),
    )
    (outcome,) = post(conn, [take], now=now)
    if outcome.status == "already":
        # Another customer's session took the id at this moment; the next run finds it and says so.
        raise RunAgain(f"session {session.external_id} was stored meanwhile")
    assert outcome.status == "applied", "the gate found enough, and the account is locked"
    session.units, session.entry_id = units, outcome.entry_id
    return outcome.available


def _set_aside(conn: Connection, app: App, owner: Owner, session: Session, terms: Sessions, now: datetime) -> int:
    """Hold what `reserve` costs, or all there is. Returns what is held and what is still free."""
    rate = app.rates[terms.rate or ""]
    session.rate, session.price = rate.key, [rate.units, rate.per, rate.minimum]
    place = Hold(
        **_common(app, owner, session),
        key=_key(session),
        units=_price(rate, terms.reserve),
        up_to=True,
        expires_at=NEVER,
        reason=rate.key,
        meta=_meta(session),
    )
    (outcome,) = post(conn, [place], now=now)
    session.ends_by = _paid_until(session, rate, outcome.units)
    return outcome.units + outcome.available


def extend(conn: Connection, app: App, owner: Owner, session: Session, *, now: datetime) -> None:
    """Let the hold of a metered session reach `reserve` from now on, as far as there is balance; `ends_by` follows."""
    if session.free or session.rate is None or app.sessions is None:
        return
    rate = _rate_of(session)
    assert session.started_at is not None
    assert session.longest_until is not None
    until = min(now + app.sessions.reserve, session.longest_until)
    units = _price(rate, until - session.started_at)
    (outcome,) = post(conn, [Extend(**_common(app, owner, session), hold_key=_key(session), units=units)], now=now)
    session.ends_by = _paid_until(session, rate, outcome.units)


def record_heartbeat(app: App, session: Session, *, now: datetime) -> None:
    """Note a heartbeat. From the first one on the engine misses them."""
    session.heartbeat_at = max(now, session.heartbeat_at or now)
    session.due_at = due_at(app, session)


def due_at(app: App, session: Session) -> datetime:
    """When the engine has to look at the session."""
    assert session.ends_by is not None
    return min(filter(None, (session.ends_by, lost_at(app, session))))


def lost_at(app: App, session: Session) -> datetime | None:
    """When the session counts as left, unless a heartbeat comes; None if none ever came."""
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
    """End it. Without `seconds` it lasted from its start to `ended_at`. Returns the answer to its end.

    Raises:
        Invalid: the seconds come to more units than an account can hold.
    """
    session.state, session.ended_by, session.ended_at, session.due_at = "ended", by, ended_at, None
    session.duration_seconds = measured(session, ended_at) if seconds is None else seconds
    session.summary = summary
    balance = _pay(conn, app, owner, session, now)
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
    _tell(conn, owner, session, "session.ended", session.end_answer, now)
    if by == "balance" or session.shortfall:
        _tell(conn, owner, session, "session.exhausted", session.end_answer, now)
    return session.end_answer


def _pay(conn: Connection, app: App, owner: Owner, session: Session, now: datetime) -> int:
    """Take what the length costs, where it is paid for by length. Returns the balance."""
    if session.free or session.rate is None:
        return int(balances.current(app, owner.customer, now=now)["balance"])
    assert session.duration_seconds is not None
    units = _rate_of(session).price(session.duration_seconds)
    outcome = _capture(conn, app, owner, session, units, now)
    session.units, session.shortfall, session.entry_id = outcome.units, outcome.shortfall, outcome.entry_id
    return outcome.balance


def _capture(conn: Connection, app: App, owner: Owner, session: Session, units: int, now: datetime) -> Outcome:
    """What was talked about cannot be refused: an app whose rule is `reject` gets what is there, as with `partial`."""
    if units > MOST_UNITS:
        raise Invalid([("seconds", f"comes to more than {MOST_UNITS} units")])
    capture = Capture(
        **_common(app, owner, session),
        key=_key(session),
        hold_key=_key(session),
        units=units,
        on_shortfall="debt" if app.on_shortfall == "debt" else "partial",
        reason=session.rate or "session",
        meta=_meta(session, rate=session.rate, quantity=session.duration_seconds, price=session.price),
        occurred_at=session.ended_at,
    )
    (outcome,) = post(conn, [capture], now=now)
    if outcome.status == "refused":
        raise Invalid([("seconds", "would carry the balance beyond what an account can hold")])
    return outcome


def _write(conn: Connection, session: Session) -> None:
    if session.id:
        sessions.save(conn, session)
    else:
        sessions.insert(conn, session)


def _tell(conn: Connection, owner: Owner, session: Session, type_: str, answer: dict[str, Any], now: datetime) -> None:
    data = {"session": session.external_id, **{name: value for name, value in answer.items() if name != "id"}}
    messages.emit(conn, [Message(session.app, type_, owner.customer, data)], now=now)


def _common(app: App, owner: Owner, session: Session) -> dict[str, Any]:
    return {"app": app.slug, "customer": owner.customer, "actor": "session"}


def _key(session: Session) -> str:
    """Of its hold, and of the one entry that it becomes."""
    return f"session:{session.external_id}"


def _meta(session: Session, **more: Any) -> dict[str, Any]:
    metadata = {"metadata": session.metadata} if session.metadata else {}
    return {"session": session.external_id, **more, **metadata}


def _rate_of(session: Session) -> Rate:
    """The rate as it was when the session started."""
    assert session.rate is not None
    assert session.price is not None
    units, per, minimum = session.price
    return Rate(session.rate, units, per, "second", minimum)


def _price(rate: Rate, length: timedelta) -> int:
    return min(rate.price(max(0, int(length.total_seconds()))), MOST_UNITS)


def _paid_until(session: Session, rate: Rate, units: int) -> datetime:
    """How long the units last: the time at which one more second would cost more."""
    assert session.started_at is not None
    assert session.longest_until is not None
    longest = int((session.longest_until - session.started_at).total_seconds())
    seconds = min(units * rate.per // rate.units, longest) if units >= rate.minimum else 0
    return session.started_at + timedelta(seconds=seconds)


def measured(session: Session, until: datetime) -> int:
    """Its length until then, in whole seconds, the last one only if it is complete.

    A node whose clock is behind that of the one that started it makes no length negative.
    """
    assert session.started_at is not None
    return max(0, int((until - session.started_at).total_seconds()))
