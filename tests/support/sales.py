"""Payments as the tests make them: bought at a provider, and given back there."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from models import database
from models.planning.movements import Clawback
from tests.support.cast import deliver, post
from tests.support.providers.stripe_events import event, paid_session


def buy(customer: str, pack: str, number: str, *, now: datetime, slug: str = "songs", **more: Any) -> None:
    """The customer buys a pack; the payment's reference is `pi_<number>`."""
    session = paid_session(slug, customer, pack, number=number, **more)
    deliver(slug, event("checkout.session.completed", session, created=now), now=now)


def payment_id(number: str) -> int:
    """The row of the payment `pi_<number>`."""
    return int(database.read("SELECT id FROM payment WHERE reference = %s", [f"pi_{number}"])[0][0])


def returned(number: str, *, state: str, **minor: int) -> None:
    """Money of the payment went back: `refunded_minor`, `disputed_minor`."""
    for column, amount in minor.items():
        database.write(f"UPDATE payment SET {column} = %s WHERE reference = %s", [amount, f"pi_{number}"])
    database.write("UPDATE payment SET state = %s WHERE reference = %s", [state, f"pi_{number}"])


def claw(customer: str, number: str, units: int, *, now: datetime, slug: str = "songs") -> None:
    """Bring what was clawed back of the payment to `units`."""
    ((entry_id,),) = database.read("SELECT entry_id FROM payment WHERE reference = %s", [f"pi_{number}"])
    movement = Clawback(app=slug, customer=customer, entry_id=entry_id, target_units=units, reason="refunded")
    assert post(movement, now=now)[0].status == "applied"
