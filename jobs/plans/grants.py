"""Monthly grants of plans: each cycle of a subscription once, in order, however late.

A cycle's units are granted under the key (subscription, cycle); a plan that grows within a cycle grants the
difference under (subscription, cycle, plan). So an invoice, the schedule, a login and a manual run cannot grant the
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
    """One chunk of the schedule: the cycles due to the subscriptions that have been due longest."""
    return database.transaction(lambda conn: _chunk(conn, now, app))


def _chunk(conn: Connection, now: datetime, app: str | None) -> Chunk:
    due = subscriptions.lock_due(conn, now, apps=[app] if app else list(catalog.current().apps), limit=CHUNK)
    units = 0
    for slug in sorted({subscription.app for subscription in due}):
        mine = [subscription for subscription in due if subscription.app == slug]
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
    before = subscriptions.granted(conn, [subscription.id for subscription in many])
    movements: list[Grant] = []
    for subscription in many:
        if subscription.plan not in app.plans:
            continue
        for cycle in _due_cycles(subscription, now):
            if (subscription.id, cycle) not in before:
                movements += _movement(app, subscription, subscription.plan, cycle, NOTHING, None, event_id)
            subscription.next_cycle = cycle + 1
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
    """Grant the units that the cycle still lacks of `plan` (absent: the subscription's), even if it starts later.

    Returns the units. `only_more`: a cycle that was granted nothing gets nothing.
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
    """Grant the started months that a payment from `start` to `end` pays for and that the schedule has passed over.

    `plan`: the plan that was paid. Returns the units.
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
    """Grant the difference to a larger plan in those of these months that were granted anything."""
    for cycle in months:
        grant_cycle(
            conn, app, subscription, cycle, plan=plan, only_more=True, now=now, payment_id=payment_id, event_id=event_id
        )


def _due_cycles(subscription: Subscription, now: datetime) -> list[int]:
    """The due cycles, oldest first. A withheld month does not delay later months that are paid."""
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
    ids = {grant.subscription_id for grant, _ in applied}
    granted = [subscription for subscription in many if subscription.id in ids]
    for subscription in granted:
        subscription.granted_at = now
    apps = catalog.current()
    parked = {subscription.id for subscription in many if subscription.plan not in apps[subscription.app].plans}
    subscriptions.save_cycles(conn, many, parked=parked)
    messages.emit(conn, [_message(grant, outcome) for grant, outcome in applied], now=now)
    reversals.follow(conn, app, granted, now=now, event_id=event_id)
    return sum(outcome.units for _, outcome in applied)


def _message(grant: Grant, outcome: Outcome) -> Message:
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
            meta=_meta(subscription, plan.key, cycle, units, event_id),
            actor="schedule" if event_id is None else subscription.provider,
        )
    ]


def _meta(subscription: Subscription, plan: str, cycle: int, units: int, event_id: str | None) -> dict[str, Any]:
    return {
        "plan": plan,
        "units": units,
        "cycle": cycle,
        "cycle_start": subscription.start_of(cycle).isoformat(),
        "subscription": subscription.provider_id,
        **({"event": event_id} if event_id else {}),
    }
