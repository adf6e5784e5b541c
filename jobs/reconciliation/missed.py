"""Provider to Scrip: events and objects that Scrip missed are stored as events and applied.

An object is stored as the event that would have reported it, so it is applied like any webhook: once, even if its own
webhook arrives later or reconciliation runs again. What cannot be applied is reported: dead events and unknown prices.
"""

from __future__ import annotations

from datetime import datetime

import orjson

from jobs.inbox import events
from jobs.providers.facts import AnyFact, PlanReported
from jobs.providers.fetched import Fetched, Window
from jobs.reconciliation import facts
from jobs.reconciliation.findings import Finding, Page
from jobs.reconciliation.sources import Scope
from models import database
from models.payments import reconciliation

MOST_BATCHES = 200
DEAD_AT_ONCE = 100


def apply_missed(page: Page, scope: Scope, part: str, cursor: str | None, window: Window) -> str | None:
    """Read one page of the list `part` and apply what Scrip missed. Returns the cursor of the next page, or None.

    Raises:
        ProviderAway, ProviderRefused: the provider did not return the page.
    """
    app, source = scope.app, scope.source
    database.release()  # the request may take long
    fetched, next_cursor = source.PARTS[part](app, window, cursor)
    page.counts["looked_at"] += len(fetched)
    missed = _missed(scope, fetched)
    for event in missed:
        payload = orjson.dumps(source.completed(app, event).payload).decode()
        if events.receive(*scope.key, event.event_id, event.type, payload, now=scope.now):
            page.counts["missed_objects" if event.is_object else "missed_events"] += 1
    if missed:
        _apply_pending(scope.now)
    if window.is_whole:
        _report_unknown_prices(page, scope, fetched)
    elif missed:
        page.add_dead(*scope.key, reconciliation.dead_events(*scope.key, [event.event_id for event in missed]))
    return next_cursor


def _missed(scope: Scope, fetched: list[Fetched]) -> list[Fetched]:
    """The events to store, oldest first. Payments that the provider shows as paid are marked as confirmed."""
    known = reconciliation.known_events(*scope.key, [event.event_id for event in fetched])
    is_shared = scope.is_shared()
    missed = []
    paid: set[str] = set()
    for event in reversed(fetched):
        event_facts = scope.facts_of(event)
        if event_facts:
            paid |= facts.paid_ids(event_facts)
        if event.event_id not in known and _is_for(scope, event, event_facts, is_shared):
            missed.append(event)
    reconciliation.confirm(*scope.key, paid, now=scope.now)
    return missed


def _is_for(scope: Scope, event: Fetched, event_facts: list[AnyFact] | None, is_shared: bool) -> bool:
    """Whether the event concerns this app and, if it is an object, whether it is news.

    On an account that several apps share, an event that names no app belongs to an app only if stored data say so.
    """
    app = scope.app
    named = scope.source.named_app(event)
    is_named = named == app.slug
    if event.needs_refetch:
        return is_named or (named is None and not is_shared)
    if event.is_object:
        return any(
            facts.is_understood(app, fact)
            and (is_named or not is_shared or facts.concerns(app, fact))
            and (not event.is_old or facts.is_known(app, fact))
            and facts.is_news(fact)
            for fact in event_facts or []
        )
    if is_named or not is_shared:
        return event_facts is None or bool(event_facts)
    return any(facts.concerns(app, fact) for fact in event_facts or [])


def _apply_pending(now: datetime) -> None:
    for _ in range(MOST_BATCHES):
        if not events.apply_pending(now=now):
            break


def check_dead_events(page: Page, scope: Scope, cursor: str | None) -> str | None:
    """Report a page of the dead events of the period, of webhooks too. Returns the cursor of the next page, or None."""
    rows = reconciliation.dead_since(*scope.key, since=scope.since, after=int(cursor or 0), limit=DEAD_AT_ONCE)
    page.add_dead(*scope.key, [(event_id, error) for _, event_id, error in rows])
    return str(rows[-1][0]) if len(rows) == DEAD_AT_ONCE else None


def _report_unknown_prices(page: Page, scope: Scope, fetched: list[Fetched]) -> None:
    """Report objects that name this app and have a price that no plan of the app has.

    Objects that name no app are skipped: an account may sell other things too. So are those that a dead event reports.
    """
    for event in fetched:
        if not event.is_object or event.is_old or scope.source.named_app(event) != scope.app.slug:
            continue
        for fact in scope.facts_of(event) or []:
            reference, detail = facts.of_no_plan(scope.app, fact) or ("", "")
            if reference and not reconciliation.has_dead_event_about(*scope.key, reference, since=scope.since):
                customer = getattr(fact.fact if isinstance(fact, PlanReported) else fact, "customer", None)
                page.found.append(Finding(*scope.key, "unknown_price", reference, detail, customer=customer))
