"""What a plan granted follows the money of whoever paid for it: clawed back by its share, frozen while one asks.

A month that begins after its year was refunded in part, or is asked about, is granted and brought to its target in one
commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from models.catalog.apps import App
from models.database import Connection
from models.ledger.post import post
from models.planning.movements import Clawback, Freeze, Movement
from models.plans import shares
from models.plans.shares import Target
from models.plans.subscription import Subscription


def follow(
    conn: Connection, app: App, many: Sequence[Subscription], *, now: datetime, event_id: str | None = None
) -> None:
    """Bring the grants of these locked subscriptions to their targets, where any payment of theirs went back."""
    returned = shares.returned(conn, [it.id for it in many])
    bring(conn, app, [it for it in many if it.id in returned], now=now, event_id=event_id)


def bring(
    conn: Connection, app: App, many: Sequence[Subscription], *, now: datetime, event_id: str | None = None
) -> None:
    """Bring the grants of these locked subscriptions to their targets."""
    by_id = {it.id: it for it in many}
    movements: list[Movement] = []
    for target in shares.off_target(conn, by_id):
        it = by_id[target.subscription_id]
        told = _told(app, it, target, event_id)
        movements.append(Freeze(**told, entry_ids=[target.entry_id], frozen=target.frozen))
        movements.append(Clawback(**told, entry_id=target.entry_id, target_units=target.units))
    post(conn, movements, now=now)


def _told(app: App, subscription: Subscription, target: Target, event_id: str | None) -> dict[str, Any]:
    paid = zip(target.states, target.payments, strict=True)
    return {
        "app": app.slug,
        "customer": subscription.customer,
        "reason": "; ".join(f"{state.replace('_', ' ')}: {reference}" for state, reference in paid),
        "actor": subscription.provider if event_id else "schedule",
        "meta": {
            "payment": ", ".join(target.payments),
            "provider": subscription.provider,
            "subscription": subscription.provider_id,
            **({"event": event_id} if event_id else {}),
        },
    }
