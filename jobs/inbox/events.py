"""Providers' events: stored at the door, turned into facts and applied by a drain.

One event is one transaction: its facts, their credit and the mark on the event are one commit. Three layers keep a
payment from counting twice: the event's id, the economic key of the payment, and the key of the ledger entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

import structlog

from jobs import dead_letters
from jobs.inbox import prefetch
from jobs.payments import invoices, purchases, reversals
from jobs.plans import subscriptions
from jobs.providers import facts
from jobs.providers.paypal import events as paypal
from jobs.providers.stripe import events as stripe
from models import database
from models.catalog import catalog
from models.catalog.apps import App
from models.database import Connection
from models.errors import NotOurs
from models.inbox import attempts, events
from models.inbox.events import Event
from runtime.crashpoints import crashpoint

log = structlog.get_logger()
BATCH = 50


class Provider(Protocol):
    """What a provider's module has. A new provider is one such module, and one row below."""

    def needs_refetch(self, app: App, event: Event) -> bool:
        """Whether the event needs `prepare`."""
        ...

    def prepare(self, app: App, event: Event) -> Event:
        """The event to be applied, with a fresh object. Outside of any transaction, and in a thread of its own.

        Raises:
            ProviderAway: ask again later.
        """
        ...

    def facts_of(self, app: App, event: Event) -> Iterable[facts.AnyFact]:
        """What the event tells, in our words. Nobody is asked.

        Raises:
            NotOurs: nothing that concerns this app. Unprocessable: nothing that can be understood.
        """
        ...

    def note_of(self, app: App, event: Event) -> str | None:
        """What an operator should know of an event that was applied: how much of it could not be; else None."""
        ...


PROVIDERS: dict[str, Provider] = {"stripe": stripe, "paypal": paypal}
APPLY: dict[type, Callable[..., str | None]] = {
    facts.PaymentSettled: purchases.settle,
    facts.CustomerKnown: subscriptions.know_customer,
    facts.SubscriptionChanged: subscriptions.change,
    facts.PeriodPaid: invoices.pay_period,
    facts.PaymentReversed: reversals.reverse,
    facts.PaymentKnownAs: reversals.store_alias,
    facts.CheckoutEnded: purchases.end_checkout,
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
    dead_letters.recover_crashed_attempts("inbox", now=now)
    ids = events.due_ids(now, limit)
    if not ids:
        return 0
    attempt_id = database.transaction(lambda conn: attempts.begin(conn, "inbox", ids))
    waiting = events.read(ids, now=now)
    asked = {event.id: event for event in waiting if _asks(event)}
    applied = sum(_try(event, event, now) for event in waiting if event.id not in asked)
    answers = prefetch.prefetched(list(asked.values()), _prepare, now=now)
    applied += sum(_try(asked[event_id], answer, now) for event_id, answer in answers)
    attempts.end(attempt_id)
    return applied + len(ids) - len(waiting)


def _asks(event: Event) -> bool:
    app = catalog.current().apps.get(event.app)
    return app is not None and PROVIDERS[event.provider].needs_refetch(app, event)


def _prepare(event: Event) -> Event:
    return PROVIDERS[event.provider].prepare(catalog.current()[event.app], event)


def _try(event: Event, prepared: Event | Exception, now: datetime) -> int:
    """Apply one event; what its provider's answer was, if that was an error, is what it fails with."""
    done: list[int] = []
    known: set[str] = set()

    def apply(ids: Sequence[int]) -> None:
        if isinstance(prepared, Exception):
            raise prepared
        crashpoint("event-after-prepare")
        done.append(database.transaction(lambda conn: _apply(conn, prepared, known, now)))
        crashpoint("event-after-commit")
        events.wake(event.app, event.provider, known, now=now)

    def on_failure(row_id: int, error: Exception) -> None:
        dead_letters.count_failure("inbox", row_id, error, now=now, attempts=event.attempts)

    dead_letters.apply_or_split([event.id], apply=apply, on_failure=on_failure)
    return done[0] if done else 1


def _apply(conn: Connection, event: Event, known: set[str], now: datetime) -> int:
    """Apply the event; how many that were. What it made `known` is added, for those that wait for it."""
    if not events.claim(conn, event):
        return 0
    app = catalog.current()[event.app]
    try:
        told = list(PROVIDERS[event.provider].facts_of(app, event))
        customers = [APPLY[type(fact)](conn, app, fact, now=now) for fact in told]
    except NotOurs as reason:
        events.finish(conn, event.id, "ignored", now=now, customer=None, error=reason.detail)
        return 1
    known.update(name for fact in told for name in _makes_known(fact))
    crashpoint("event-after-apply")
    customer = next((name for name in customers if name), None)
    note = PROVIDERS[event.provider].note_of(app, event)
    if note:
        log.warning("applied in part", app=event.app, event_id=event.event_id, reason=note)
    events.finish(conn, event.id, "done", now=now, customer=customer, error=note)
    crashpoint("event-before-commit")
    return 1


def _makes_known(fact: facts.AnyFact) -> Iterable[str]:
    """The provider's ids of the customer and the subscription that are known once the fact is applied."""
    names: tuple[str | None, ...] = ()
    if isinstance(fact, facts.CustomerKnown):
        names = (fact.provider_customer,)
    elif isinstance(fact, facts.SubscriptionChanged | facts.PeriodPaid):
        names = (fact.subscription, fact.provider_customer)
    return filter(None, names)
