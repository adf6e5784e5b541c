"""Provider webhooks: stored by the receiver, translated into provider-neutral facts and applied by the inbox worker.

Each event is one transaction: its facts, their ledger entries and the event's new state are one commit. Three keys keep
a payment from counting twice: the event's id, the payment's ids at the provider, and the key of the ledger entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

import structlog

from jobs import dead_letters
from jobs.inbox import prefetch
from jobs.payments import captures, invoices, purchases, reversals
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
    """A provider's event module. A new provider is one such module and one row of `PROVIDERS`."""

    def needs_refetch(self, app: App, event: Event) -> bool:
        """Whether the event must be refetched (`prepare`) before it is applied."""
        ...

    def prepare(self, app: App, event: Event) -> Event:
        """The event with its object refetched from the provider. Called outside any transaction, in its own thread.

        Raises:
            ProviderAway: the provider did not respond; retry later.
        """
        ...

    def facts_of(self, app: App, event: Event) -> Iterable[facts.AnyFact]:
        """Translate the event into facts. Pure: no I/O.

        Raises:
            NotOurs: the event does not concern this app.
            Unprocessable: the event is malformed, or cannot be applied without an operator.
        """
        ...

    def note_of(self, app: App, event: Event) -> str | None:
        """The note for operators on an applied event: which part could not be applied; None if all was."""
        ...


PROVIDERS: dict[str, Provider] = {"stripe": stripe, "paypal": paypal}
APPLY: dict[type, Callable[..., str | None]] = {
    facts.PaymentSettled: purchases.settle,
    facts.CustomerKnown: subscriptions.know_customer,
    facts.SubscriptionChanged: subscriptions.change,
    facts.PeriodPaid: invoices.pay_period,
    facts.PaymentReversed: reversals.reverse,
    facts.PaymentKnownAs: reversals.store_alias,
    facts.PaymentCaptured: captures.capture,
    facts.PaymentParts: captures.store_parts,
    facts.CheckoutEnded: purchases.end_checkout,
}


def receive(app: str, provider: str, event_id: str, type_: str, payload: str, *, now: datetime) -> bool:
    """Store a verified event and commit. Returns False if it is stored already."""
    crashpoint("event-before-store")
    stored = events.store(app, provider, event_id, type_, payload, now=now)
    crashpoint("event-after-store")
    return stored


def replay(app: str, event_id: int, *, now: datetime) -> None:
    """Make an event pending again.

    Raises:
        NotFound: the app has no such event.
    """
    events.replay(app, event_id, now=now)


def apply_pending(*, now: datetime, limit: int = BATCH) -> int:
    """Apply the oldest due events, each in its own transaction. Returns how many were attempted."""
    dead_letters.recover_crashed_attempts("inbox", now=now)
    ids = events.due_ids(now, limit)
    if not ids:
        return 0
    attempt_id = database.transaction(lambda conn: attempts.begin(conn, "inbox", ids))
    due = events.read(ids, now=now)
    refetched = {event.id: event for event in due if _needs_refetch(event)}
    attempted = sum(_try(event, event, now) for event in due if event.id not in refetched)
    results = prefetch.prefetched(list(refetched.values()), _prepare, now=now)
    attempted += sum(_try(refetched[event_id], result, now) for event_id, result in results)
    attempts.end(attempt_id)
    return attempted + len(ids) - len(due)


def _needs_refetch(event: Event) -> bool:
    app = catalog.current().apps.get(event.app)
    return app is not None and PROVIDERS[event.provider].needs_refetch(app, event)


def _prepare(event: Event) -> Event:
    return PROVIDERS[event.provider].prepare(catalog.current()[event.app], event)


def _try(event: Event, prepared: Event | Exception, now: datetime) -> int:
    """Apply one event. If `prepared` is an error of the refetch, the attempt fails with it.

    Returns 1, or 0 if another worker has locked or attempted the event.
    """
    applied: list[int] = []
    known: set[str] = set()

    def apply(ids: Sequence[int]) -> None:
        if isinstance(prepared, Exception):
            raise prepared
        crashpoint("event-after-prepare")
        applied.append(database.transaction(lambda conn: _apply(conn, prepared, known, now)))
        crashpoint("event-after-commit")
        events.wake(event.app, event.provider, known, now=now)

    def on_failure(row_id: int, error: Exception) -> None:
        dead_letters.count_failure("inbox", row_id, error, now=now, attempts=event.attempts)

    dead_letters.apply_or_split([event.id], apply=apply, on_failure=on_failure)
    return applied[0] if applied else 1


def _apply(conn: Connection, event: Event, known: set[str], now: datetime) -> int:
    """Apply the event. Returns 1, or 0 if it cannot be claimed. The ids that it makes known are added to `known`."""
    if not events.claim(conn, event):
        return 0
    app = catalog.current()[event.app]
    try:
        event_facts = list(PROVIDERS[event.provider].facts_of(app, event))
        customers = [APPLY[type(fact)](conn, app, fact, now=now) for fact in event_facts]
    except NotOurs as reason:
        events.finish(conn, event.id, "ignored", now=now, customer=None, error=reason.detail)
        return 1
    known.update(name for fact in event_facts for name in _makes_known(fact))
    crashpoint("event-after-apply")
    customer = next((name for name in customers if name), None)
    note = PROVIDERS[event.provider].note_of(app, event) or purchases.note_of(app, event_facts)
    if note:
        log.warning("applied in part", app=event.app, event_id=event.event_id, reason=note)
    events.finish(conn, event.id, "done", now=now, customer=customer, error=note)
    crashpoint("event-before-commit")
    return 1


def _makes_known(fact: facts.AnyFact) -> Iterable[str]:
    """The provider's ids of the customer and the subscription that the fact makes known."""
    names: tuple[str | None, ...] = ()
    if isinstance(fact, facts.CustomerKnown):
        names = (fact.provider_customer,)
    elif isinstance(fact, facts.SubscriptionChanged | facts.PeriodPaid):
        names = (fact.subscription, fact.provider_customer)
    return filter(None, names)
