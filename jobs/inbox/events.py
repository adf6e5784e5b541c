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
from jobs.payments import captures, purchases, reversals
from jobs.plans import grants, reports
from jobs.providers import facts
from jobs.providers.facts import AnyFact, Applied, PlanReported
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


PROVIDERS: dict[str, Provider] = {"stripe": stripe, "paypal": paypal}
# Returns the customer, or also a note.
APPLY: dict[type, Callable[..., Applied | str | None]] = {
    facts.PaymentSettled: purchases.settle,
    facts.CustomerKnown: reports.store_customer,
    facts.PlanReported: reports.apply,
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
        found = _translate(prepared)
        _keep(prepared, found, now)
        applied.append(database.transaction(lambda conn: _apply(conn, prepared, found, known, now)))
        crashpoint("event-after-commit")
        events.wake(event.app, event.provider, known, now=now)

    def on_failure(row_id: int, error: Exception) -> None:
        dead_letters.count_failure("inbox", row_id, error, now=now, attempts=event.attempts)

    dead_letters.apply_or_split([event.id], apply=apply, on_failure=on_failure)
    return applied[0] if applied else 1


def _translate(event: Event) -> list[AnyFact] | NotOurs:
    """The facts of the event, or why it does not concern this app."""
    try:
        return list(PROVIDERS[event.provider].facts_of(catalog.current()[event.app], event))
    except NotOurs as reason:
        return reason


def _keep(event: Event, found: list[AnyFact] | NotOurs, now: datetime) -> None:
    """Store the facts of plans in a commit of their own: they stay, even if the event cannot be applied."""
    of_plans = [fact for fact in found if isinstance(fact, PlanReported)] if isinstance(found, list) else []
    if of_plans:
        grants.note_terms(catalog.current()[event.app], now=now)
        database.transaction(lambda conn: reports.keep(conn, catalog.current()[event.app], of_plans, now=now))


def _apply(conn: Connection, event: Event, found: list[AnyFact] | NotOurs, known: set[str], now: datetime) -> int:
    """Apply the event. Returns 1, or 0 if it cannot be claimed. The ids that it makes known are added to `known`."""
    if not events.claim(conn, event):
        return 0
    app = catalog.current()[event.app]
    try:
        if isinstance(found, NotOurs):
            raise found
        applied = [_applied(APPLY[type(fact)](conn, app, fact, now=now)) for fact in found]
    except NotOurs as reason:
        events.finish(conn, event.id, "ignored", now=now, customer=None, error=reason.detail)
        return 1
    known.update(name for fact in found for name in _makes_known(fact))
    crashpoint("event-after-apply")
    customer = next((one.customer for one in applied if one.customer), None)
    notes = [*(one.note for one in applied if one.note), purchases.note_of(app, found)]
    note = "; ".join(dict.fromkeys(filter(None, notes))) or None
    if note:
        log.warning("applied in part", app=event.app, event_id=event.event_id, reason=note)
    events.finish(conn, event.id, "done", now=now, customer=customer, error=note)
    crashpoint("event-before-commit")
    return 1


def _applied(result: Applied | str | None) -> Applied:
    return result if isinstance(result, Applied) else Applied(result)


def _makes_known(fact: facts.AnyFact) -> Iterable[str]:
    """The provider's ids of the customer and the subscription that the fact makes known."""
    names: tuple[str | None, ...] = ()
    if isinstance(fact, facts.CustomerKnown):
        names = (fact.provider_customer,)
    elif isinstance(fact, PlanReported):
        names = (fact.subscription, getattr(fact.fact, "provider_customer", None))
    return filter(None, names)
