"""Providers' events: stored at the door, turned into facts and applied by a drain.

One event is one transaction: its facts, their credit and the mark on the event are one commit. Three layers keep a
payment from counting twice: the event's id, the economic key of the payment, and the key of the ledger entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import psycopg

from crashpoints import crashpoint
from jobs import facts, poison, purchases, subscriptions
from jobs.providers import stripe
from models import catalog, database, events
from models.apps import App
from models.errors import NotOurs
from models.events import Event

BATCH = 50
Connection = psycopg.Connection[tuple[Any, ...]]

PROVIDERS: dict[str, Callable[[App, Event], Iterable[facts.AnyFact]]] = {"stripe": stripe.facts_of}
APPLY: dict[type, Callable[..., str | None]] = {
    facts.PaymentSettled: purchases.settle,
    facts.CustomerKnown: subscriptions.know_customer,
    facts.SubscriptionChanged: subscriptions.change,
    facts.PeriodPaid: subscriptions.pay_period,
}


def receive(app: str, provider: str, event_id: str, type_: str, payload: str, *, now: datetime) -> bool:
    """Store a verified event; False if it is known. Committed when this returns."""
    crashpoint("event-before-store")
    stored = events.store(app, provider, event_id, type_, payload, now=now)
    crashpoint("event-after-store")
    return stored


def replay(app: str, event_id: int, *, now: datetime) -> None:
    """Make an event pending again; NotFound if the app has none such."""
    events.replay(app, event_id, now=now)


def apply_pending(*, now: datetime, limit: int = BATCH) -> int:
    """Apply the oldest pending events, each in its own transaction. Returns how many were tried."""
    poison.try_survivors_alone("webhooks", now=now)
    ids = events.due_ids(now, limit)
    if not ids:
        return 0
    marker = database.transact(lambda conn: poison.mark(conn, "webhooks", ids))
    applied = sum(_try(event_id, now) for event_id in ids)
    poison.unmark(marker)
    return applied


def _try(event_id: int, now: datetime) -> int:
    done: list[int] = []

    def apply(ids: Sequence[int]) -> None:
        done.append(database.transact(lambda conn: _apply(conn, ids[0], now)))

    poison.apply_or_split(
        [event_id], apply=apply, bury=lambda row, error: poison.count_failure("webhooks", row, error, now=now)
    )
    return done[0] if done else 1


def _apply(conn: Connection, event_id: int, now: datetime) -> int:
    event = events.claim(conn, event_id)
    if event is None:
        return 0
    app = catalog.current()[event.app]
    try:
        told = list(PROVIDERS[event.provider](app, event))
    except NotOurs as reason:
        events.finish(conn, event.id, "ignored", now=now, customer=None, error=reason.detail)
        return 1
    customers = [APPLY[type(fact)](conn, app, fact, now=now) for fact in told]
    crashpoint("event-after-apply")
    customer = next((name for name in customers if name), None)
    events.finish(conn, event.id, "done", now=now, customer=customer, error=None)
    crashpoint("event-before-commit")
    return 1
