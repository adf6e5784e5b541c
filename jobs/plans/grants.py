"""What plans grant each month: a cycle of a subscription, once, in order, however late.

A cycle's units are granted under the key (subscription, cycle); a plan that grows within a cycle grants the
difference under (subscription, cycle, plan). So an invoice, the schedule, a login and a run by hand cannot grant the
same cycle twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from jobs.chunks import Chunk
from jobs.plans import reversals
from models import database
from models.catalog import catalog
from models.catalog.apps import App
from models.cycles import SLACK
from models.database import Connection
from models.ledger.post import post
from models.outbox import messages
from models.outbox.messages import Message
from models.planning.movements import Grant, Outcome
from models.plans import subscriptions
from models.plans.subscription import Subscription

CHUNK = 500
MOST_CYCLES_A_PASS = 24
CYCLE_GRACE = timedelta(days=3)
NOTHING: tuple[int, list[str]] = (0, [])


def grant_monthly(*, now: datetime, app: str | None = None, after: Any = None) -> Chunk:
    """One chunk of the schedule: what is due to the subscriptions that have waited longest."""
    return database.transaction(lambda conn: _chunk(conn, now, app))


def _chunk(conn: Connection, now: datetime, app: str | None) -> Chunk:
    due = subscriptions.lock_due(conn, now, apps=[app] if app else list(catalog.current().apps), limit=CHUNK)
    units = 0
    for slug in sorted({it.app for it in due}):
        mine = [it for it in due if it.app == slug]
        units += grant_due(conn, catalog.current()[slug], mine, now=now)
    return Chunk({"subscriptions": len(due), "units": units}, after=True if due else None)


def grant_owed(app: App, customer: str, *, now: datetime) -> int:
    """Grant what plans owe this customer now, as on login. Returns the units."""
    return database.transaction(
        lambda conn: grant_due(conn, app, subscriptions.lock_of_account(conn, app.slug, customer), now=now)
    )


def grant_due(
    conn: Connection, app: App, many: Sequence[Subscription], *, now: datetime, event_id: str | None = None
) -> int:
    """Grant every due cycle of these locked subscriptions, oldest first. Returns the units granted."""
    if not many:
        return 0
    before = subscriptions.granted(conn, [it.id for it in many])
    movements: list[Grant] = []
    for it in many:
        if it.plan not in app.plans:
            continue
        for cycle in _due_cycles(it, now):
            if (it.id, cycle) not in before:
                movements += _movement(app, it, it.plan, cycle, NOTHING, None, event_id)
            it.next_cycle = cycle + 1
    return _post(conn, app, many, movements, now, event_id)


def grant_cycle(
    conn: Connection,
    app: App,
    subscription: Subscription,
    cycle: int,
    *,
    now: datetime,
    plan: str | None = None,
    payment_id: int | None = None,
    event_id: str | None = None,
    only_more: bool = False,
) -> int:
    """Grant what this cycle is still owed by a plan that was held in it (absent: the subscription's own), even if it
    starts later. Returns the units. `only_more`: a month of which nothing was granted was passed over: it is owed none.
    """
    already = subscriptions.granted(conn, [subscription.id]).get((subscription.id, cycle), NOTHING)
    if only_more and already == NOTHING:
        return 0
    movements = _movement(app, subscription, plan or subscription.plan, cycle, already, payment_id, event_id)
    if subscription.next_cycle == cycle:
        subscription.next_cycle = cycle + 1
    return _post(conn, app, [subscription], movements, now, event_id)


def grant_paid(
    conn: Connection,
    app: App,
    subscription: Subscription,
    start: datetime,
    end: datetime,
    *,
    plan: str | None,
    now: datetime,
    event_id: str | None = None,
) -> int:
    """Grant the months that a payment from `start` to `end` pays for, that have begun and were passed over so far: the
    schedule does not come back to them. `plan` is what was paid for. Returns the units.
    """
    before = subscriptions.granted(conn, [subscription.id])
    movements: list[Grant] = []
    cycle = subscription.nearest_cycle(start)
    while (
        cycle < subscription.next_cycle
        and subscription.start_of(cycle) <= now
        and subscription.start_of(cycle) < end - SLACK
    ):
        if (subscription.id, cycle) not in before and subscription.is_owed(cycle):
            held = subscription.plan if subscription.plan_at < subscription.start_of(cycle + 1) else plan
            movements += _movement(app, subscription, held or plan, cycle, NOTHING, None, event_id)
        cycle += 1
    return _post(conn, app, [subscription], movements, now, event_id)


def grant_more(
    conn: Connection,
    app: App,
    subscription: Subscription,
    months: range,
    *,
    plan: str | None,
    now: datetime,
    payment_id: int | None = None,
    event_id: str | None = None,
) -> None:
    """Bring these months up to a larger plan, as far as anything was granted of them: a change owes no more."""
    for cycle in months:
        grant_cycle(
            conn, app, subscription, cycle, plan=plan, only_more=True, now=now, payment_id=payment_id, event_id=event_id
        )


def _due_cycles(subscription: Subscription, now: datetime) -> list[int]:
    """What is due, oldest first. A month that is withheld holds up none that was paid for."""
    cycle = subscription.next_cycle
    due: list[int] = []
    while (
        subscription.start_of(cycle) <= now
        and subscription.start_of(cycle) < subscription.paid_to
        and len(due) < MOST_CYCLES_A_PASS
    ):
        due += [cycle] if subscription.is_due(cycle, now) else []
        cycle += 1
    return due


def _post(
    conn: Connection,
    app: App,
    many: Sequence[Subscription],
    movements: Sequence[Grant],
    now: datetime,
    event_id: str | None,
) -> int:
    outcomes = post(conn, movements, now=now)
    applied = [
        (grant, outcome) for grant, outcome in zip(movements, outcomes, strict=True) if outcome.status == "applied"
    ]
    granted = {grant.subscription_id for grant, _ in applied}
    for it in many:
        if it.id in granted:
            it.granted_at = now
    subscriptions.save_cycles(
        conn, many, parked={it.id for it in many if it.plan not in catalog.current()[it.app].plans}
    )
    messages.emit(conn, [_told(grant, outcome) for grant, outcome in applied], now=now)
    reversals.follow(conn, app, [it for it in many if it.id in granted], now=now, event_id=event_id)
    return sum(outcome.units for _, outcome in applied)


def _told(grant: Grant, outcome: Outcome) -> Message:
    noted = grant.meta or {}
    data = {
        "plan": noted["plan"],
        "cycle": grant.cycle,
        "units": outcome.units,
        "subscription": noted["subscription"],
        "entry": outcome.entry_id,
    }
    return Message(grant.app, "grant.monthly", grant.customer, data)


def _movement(
    app: App,
    subscription: Subscription,
    plan_key: str | None,
    cycle: int,
    before: tuple[int, list[str]],
    payment_id: int | None,
    event_id: str | None,
) -> list[Grant]:
    plan = app.plans.get(plan_key or "")
    units = subscription.units_of(cycle, plan.key, plan.units) if plan else 0
    already, sources = before
    if plan is None or units <= already or f"plan:{plan.key}" in sources:
        return []
    expires = plan.expires_after == "period"
    return [
        Grant(
            app=app.slug,
            customer=subscription.customer,
            key=f"grant:{subscription.provider_id}:{cycle}" + (f":{plan.key}" if already else ""),
            units=units - already,
            type="subscription_grant",
            source=f"plan:{plan.key}",
            reason=f"{plan.key}, cycle {cycle}",
            expires_after=None if isinstance(plan.expires_after, str) else plan.expires_after,
            expires_at=subscription.start_of(cycle + 1) + CYCLE_GRACE if expires else None,
            price_minor=plan.price_minor,
            currency=plan.currency,
            payment_id=payment_id,
            subscription_id=subscription.id,
            cycle=cycle,
            per_period=expires,
            meta={
                "plan": plan.key,
                "units": units,
                "cycle": cycle,
                "cycle_start": subscription.start_of(cycle).isoformat(),
                "subscription": subscription.provider_id,
                **({"event": event_id} if event_id else {}),
            },
            actor="schedule" if event_id is None else subscription.provider,
        )
    ]
