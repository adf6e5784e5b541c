"""Brings the ledger to what a subscription is owed: the only job that grants for plans or claws back from them.

It runs after a new fact and when time makes something due, and computes everything from the facts. A second run posts
nothing. Locks: the payments of the subscription's bills, then its row, then the accounts by their ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from jobs.plans import bill_payments, messages, movements, projection
from jobs.plans.movements import Payments
from models.catalog.apps import App
from models.cycles import LONG_AGO
from models.database import Connection
from models.ledger.lots import set_payments
from models.ledger.post import post
from models.payments import reversals as payment_reversals
from models.planning.movements import Clawback, Freeze, Movement
from models.plans import activation, differences, owed, plan_lots, stored_facts, stored_terms, subscriptions
from models.plans.differences import Target
from models.plans.facts import Session
from models.plans.owed import Account
from models.plans.subscriptions import Subscription
from models.plans.upcoming import Upcoming


@dataclass(frozen=True, slots=True)
class Settled:
    """The result of a run. `problem`: why nothing can be granted yet. `has_lots`: something was granted before."""

    subscription: Subscription
    account: Account
    units: int = 0
    problem: str | None = None
    has_lots: bool = False

    @property
    def customer(self) -> str | None:
        """The present owner."""
        return self.account.owner.latest


def settle(
    conn: Connection, app: App, provider: str, provider_id: str, *, now: datetime, event_id: str | None = None
) -> Settled:
    """Compute what the subscription is owed, and post the difference in the caller's transaction."""
    ids = bill_payments.ids(conn, app.slug, provider, provider_id)
    if ids:
        payment_reversals.lock(conn, app.slug, provider, ids)
    row = subscriptions.lock(conn, app.slug, provider, provider_id, now=now)
    book = stored_terms.with_catalog(conn, app, now=now)
    facts = stored_facts.read(conn, app.slug, provider, provider_id, row.id)
    account = owed.account(facts, book, now)
    latest = account.timeline.latest
    row.anchor = (latest.anchor if latest else None) or row.anchor
    is_owned = account.owner.latest is not None
    payments = bill_payments.record(conn, app, row, account, now=now) if is_owned else {}
    facts = replace(facts, returned=stored_facts.returned(conn, app.slug, row.id, facts.bills))
    account = owed.account(facts, book, now) if facts.returned else account
    _keep_decision(conn, app, row, account, event_id=event_id, now=now)
    return _bring(conn, app, row, account, payments, event_id=event_id, now=now)


def _keep_decision(
    conn: Connection, app: App, row: Subscription, account: Account, *, event_id: str | None, now: datetime
) -> None:
    """Once the provider's customer alone has decided whose the subscription is, that stays, whomever it stands for
    later.
    """
    owner = account.owner
    if owner.latest is not None and LONG_AGO < owner.decided_at <= now:
        decided = Session(f"decided:{row.provider_id}", f"decided:{row.provider_id}", now, True, customer=owner.latest)
        stored_facts.store(
            conn, app.slug, row.provider, row.provider_id, decided, event_id=event_id or "schedule", now=now
        )


def _bring(
    conn: Connection, app: App, row: Subscription, account: Account, payments: Payments,
    *, event_id: str | None, now: datetime,
) -> Settled:  # fmt: skip
    references = {bill: reference for bill, (_, reference) in payments.items()}
    lots = plan_lots.of_subscription(conn, row.id)
    found = differences.between(account.owed, lots, references)
    numbers = Counter((lot.plan, lot.start) for lot in lots)
    due: list[Upcoming] = []
    later: list[Upcoming] = []
    for one in found.grants:
        grant = movements.upcoming(one, payments, numbers[one.plan, one.start], now=now)
        numbers[one.plan, one.start] += 1
        (due if one.due <= now else later).append(grant)
    units = _grant(conn, app, row, due, event_id, now)
    if due:  # what was granted may be owed in part only, or frozen
        lots = plan_lots.of_subscription(conn, row.id)
        found = differences.between(account.owed, lots, references)
    post(conn, [change for target in found.targets for change in _movements(app, row, target, event_id)], now=now)
    paid = {entry_id: payments[bill][0] for entry_id, bill in found.paid.items()}
    if paid:
        set_payments(conn, {lot.account_id for lot in lots if lot.entry_id in paid}, paid)
    before = projection.save(conn, app, row, account, later, now=now)
    activation.ensure(conn, app, row, now=now)
    messages.emit_changes(conn, app, row, account, before, now=now)
    return Settled(row, account, units=units, problem=account.owner.problem, has_lots=bool(lots))


def _grant(
    conn: Connection, app: App, row: Subscription, due: Sequence[Upcoming], event_id: str | None, now: datetime
) -> int:
    """Grant before anything is clawed back, so that units that only change their plan are there."""
    grants = [movements.grant(app, row, one, now=now, event_id=event_id) for one in movements.in_order(due)]
    outcomes = post(conn, grants, now=now)
    messages.emit_grants(conn, [(row, grant, one) for grant, one in zip(grants, outcomes, strict=True)], now=now)
    units = sum(outcome.units for outcome in outcomes if outcome.status == "applied")
    if units:
        row.granted_at = now
    return units


def _movements(app: App, row: Subscription, target: Target, event_id: str | None) -> list[Movement]:
    """Freeze or thaw the lot, and claw back or reinstate its units."""
    lot = target.lot
    common: dict[str, Any] = {
        "app": app.slug,
        "customer": lot.customer,
        "reason": f"{lot.plan}: {lot.granted - target.units} of {lot.granted} units are owed",
        "actor": row.provider if event_id else "schedule",
        "meta": {
            "subscription": row.provider_id,
            "provider": row.provider,
            **({"payment": lot.payment} if lot.payment else {}),
            **({"event": event_id} if event_id else {}),
        },
    }
    return [
        Freeze(**common, entry_ids=[lot.entry_id], frozen=target.is_frozen),
        Clawback(**common, entry_id=lot.entry_id, target_units=target.units),
    ]
