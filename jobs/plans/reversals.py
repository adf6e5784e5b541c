"""Grants of plans follow their payments: clawed back in proportion to reversals, frozen during an inquiry.

A month that begins after its year was partly refunded, or during an inquiry, is granted and brought to its target in
one commit.
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
    """Bring the grants of these locked subscriptions to their targets, if any of their payments was reversed."""
    returned = shares.returned(conn, [subscription.id for subscription in many])
    bring(conn, app, [subscription for subscription in many if subscription.id in returned], now=now, event_id=event_id)


def bring(
    conn: Connection, app: App, many: Sequence[Subscription], *, now: datetime, event_id: str | None = None
) -> None:
    """Bring the grants of these locked subscriptions to their targets."""
    by_id = {subscription.id: subscription for subscription in many}
    movements: list[Movement] = []
    for target in shares.off_target(conn, by_id):
        subscription = by_id[target.subscription_id]
        common = _common(app, subscription, target, event_id)
        movements.append(Freeze(**common, entry_ids=[target.entry_id], frozen=target.frozen))
        movements.append(Clawback(**common, entry_id=target.entry_id, target_units=target.units))
    post(conn, movements, now=now)


def _common(app: App, subscription: Subscription, target: Target, event_id: str | None) -> dict[str, Any]:
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
