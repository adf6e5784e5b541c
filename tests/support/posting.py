"""Short ways to put something into the ledger: everything goes through the kernel, as in production."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from models import database
from models.ledger import post as ledger
from models.planning.movements import Capture, Expire, Freeze, Grant, Hold, Movement, Outcome, Release, Reverse, Take

APP = "ai-services"


def post(*movements: Movement, now: datetime) -> list[Outcome]:
    """Post the movements in one transaction."""
    return database.transaction(lambda conn: ledger.post(conn, movements, now=now))


def grant(customer: str, units: int, *, key: str, now: datetime, app: str = APP, **more: Any) -> Outcome:
    """Units that an operator gives, unless `type` says otherwise."""
    named = {"type": "bonus", "source": "bonus", "reason": "welcome", **more}
    return post(Grant(app=app, customer=customer, key=key, units=units, **named), now=now)[0]


def take(customer: str, units: int, *, key: str, now: datetime, app: str = APP, **more: Any) -> Outcome:
    """Units that are spent."""
    return post(Take(app=app, customer=customer, key=key, units=units, **{"reason": "use", **more}), now=now)[0]


def hold(customer: str, units: int, *, key: str, now: datetime, expires_at: datetime, **more: Any) -> Outcome:
    """Units that are set aside."""
    return post(Hold(app=APP, customer=customer, key=key, units=units, expires_at=expires_at, **more), now=now)[0]


def capture(customer: str, hold_key: str, *, now: datetime, units: int | None = None) -> Outcome:
    """A hold that is spent."""
    key = hold_key.replace("hold:", "capture:")
    return post(Capture(app=APP, customer=customer, key=key, hold_key=hold_key, units=units), now=now)[0]


def release(customer: str, hold_key: str, *, now: datetime) -> Outcome:
    """A hold that is given up."""
    return post(Release(app=APP, customer=customer, hold_key=hold_key), now=now)[0]


def refund(customer: str, entry_id: int, *, key: str, now: datetime, units: int | None = None) -> Outcome:
    """A deduction that is given back."""
    movement = Reverse(app=APP, customer=customer, key=key, entry_id=entry_id, units=units, reason="sorry")
    return post(movement, now=now)[0]


def sweep(customer: str, *, now: datetime) -> Outcome:
    """Lapse what has expired."""
    return post(Expire(app=APP, customer=customer), now=now)[0]


def freeze(customer: str, entry_id: int, *, now: datetime) -> Outcome:
    """Freeze the lot of a grant."""
    return post(Freeze(app=APP, customer=customer, entry_ids=[entry_id], frozen=True), now=now)[0]
