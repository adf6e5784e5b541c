"""What a session costs: a charge at its start, or a hold that grows and is captured by the session's length.

The hold rounds up, as every hold does. With rounding = "carry" the session's end costs what its length adds to the
customer's total, which is never more. All of it runs in the caller's transaction, under the lock of the session's
account.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from jobs.ledger.pricing import MOST_UNITS
from models.catalog.apps import App, Rate, Sessions
from models.database import Connection, RunAgain
from models.errors import Invalid
from models.ledger import balances
from models.ledger.post import post
from models.planning.movements import Capture, CarriedLine, Extend, Hold, Outcome, Take
from models.sessions.sessions import Owner, Session

# A session's hold is closed by the end of the session; it never expires.
NEVER = datetime(9999, 12, 31, tzinfo=timezone.utc)


def charge(conn: Connection, app: App, owner: Owner, session: Session, units: int, now: datetime) -> int:
    """Deduct the price of a session that is paid at its start. Returns the available balance.

    Raises:
        RunAgain: another customer's session took the id meanwhile; the repeated transaction finds it.
    """
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
        raise RunAgain(f"session {session.external_id} was stored meanwhile")
    assert outcome.status == "applied", "the gate found enough, and the account is locked"
    session.units, session.entry_id = units, outcome.entry_id
    return outcome.available


def hold(conn: Connection, app: App, owner: Owner, session: Session, terms: Sessions, now: datetime) -> int:
    """Hold the price of `reserve`, or the whole balance if that is less. Returns what is held and what is available."""
    rate = app.rates[terms.rate or ""]
    session.rate = rate.key
    session.price = [rate.units, rate.per] if rate.carries else [rate.units, rate.per, rate.minimum]
    movement = Hold(
        **_common(app, owner, session),
        key=_key(session),
        units=_price(rate, terms.reserve),
        up_to=True,
        expires_at=NEVER,
        reason=rate.key,
        meta=_meta(session),
    )
    (outcome,) = post(conn, [movement], now=now)
    session.ends_by = _paid_until(session, rate, outcome.units)
    return outcome.units + outcome.available


def extend(conn: Connection, app: App, owner: Owner, session: Session, *, now: datetime) -> None:
    """Extend the hold of a metered session to cover `reserve` from now on, as far as the balance allows.

    Sets `session.ends_by`. Does nothing for free and charged sessions.
    """
    if session.free or session.rate is None or app.sessions is None:
        return
    rate = _rate_of(session)
    assert session.started_at is not None
    assert session.longest_until is not None
    until = min(now + app.sessions.reserve, session.longest_until)
    units = _price(rate, until - session.started_at)
    (outcome,) = post(conn, [Extend(**_common(app, owner, session), hold_key=_key(session), units=units)], now=now)
    session.ends_by = _paid_until(session, rate, outcome.units)


def settle(conn: Connection, app: App, owner: Owner, session: Session, now: datetime) -> int:
    """Capture the price of the session's length, if it is metered. Returns the balance.

    Raises:
        Invalid: the price, or the balance after it, exceeds the limit of an account.
    """
    if session.free or session.rate is None:
        return int(balances.current(app, owner.customer, now=now)["balance"])
    assert session.duration_seconds is not None
    outcome = _capture(conn, app, owner, session, _rate_of(session), session.duration_seconds, now)
    session.units, session.shortfall, session.entry_id = outcome.units, outcome.shortfall, outcome.entry_id
    return outcome.balance


def _capture(
    conn: Connection, app: App, owner: Owner, session: Session, rate: Rate, seconds: int, now: datetime
) -> Outcome:
    """Capture the price. A session that took place cannot be refused: `reject` works like `partial` here."""
    units = rate.price(seconds)
    if units > MOST_UNITS:
        raise Invalid([("seconds", f"cost more than {MOST_UNITS} units")])
    rounding = {"rounding": rate.rounding} if rate.carries else {}
    capture = Capture(
        **_common(app, owner, session),
        key=_key(session),
        hold_key=_key(session),
        units=0 if rate.carries else units,
        carried=[CarriedLine(rate.key, seconds * rate.units, rate.per)] if rate.carries else (),
        has_row=True,
        on_shortfall="debt" if app.on_shortfall == "debt" else "partial",
        reason=rate.key,
        meta=_meta(session, rate=rate.key, quantity=seconds, price=[rate.units, rate.per, rate.minimum], **rounding),
        occurred_at=session.ended_at,
    )
    (outcome,) = post(conn, [capture], now=now)
    if outcome.status == "refused":
        raise Invalid([("seconds", "would carry the balance beyond what an account can hold")])
    return outcome


def _common(app: App, owner: Owner, session: Session) -> dict[str, Any]:
    return {"app": app.slug, "customer": owner.customer, "actor": "session"}


def _key(session: Session) -> str:
    """The key of the session's hold and of its entry."""
    return f"session:{session.external_id}"


def _meta(session: Session, **more: Any) -> dict[str, Any]:
    metadata = {"metadata": session.metadata} if session.metadata else {}
    return {"session": session.external_id, **more, **metadata}


def _rate_of(session: Session) -> Rate:
    """The rate as it was when the session started."""
    assert session.rate is not None
    assert session.price is not None
    units, per, *minimum = session.price
    if not minimum:
        return Rate(session.rate, units, per, "second", rounding="carry")
    return Rate(session.rate, units, per, "second", minimum[0])


def _price(rate: Rate, length: timedelta) -> int:
    return min(rate.price(max(0, int(length.total_seconds()))), MOST_UNITS)


def _paid_until(session: Session, rate: Rate, units: int) -> datetime:
    """Until when the units pay for the session: the time at which one more second would cost more."""
    assert session.started_at is not None
    assert session.longest_until is not None
    longest = int((session.longest_until - session.started_at).total_seconds())
    seconds = min(units * rate.per // rate.units, longest) if units >= rate.minimum else 0
    return session.started_at + timedelta(seconds=seconds)
