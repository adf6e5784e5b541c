"""Subscriptions: their state as the provider tells it.

Order of arrival does not matter: an older event does not undo a newer one, and an ended subscription stays ended. What
is owed after each event is granted in the same commit.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg

from jobs import grants
from jobs import subscription_steps as steps
from jobs.facts import CustomerKnown, SubscriptionChanged
from models import accounts, activation
from models import subscriptions as stored
from models.apps import App
from models.cycles import SLACK
from models.errors import Unprocessable
from models.subscription_state import ENDED, PAUSED, PAYING, Period, Subscription

Connection = psycopg.Connection[tuple[Any, ...]]


def know_customer(conn: Connection, app: App, fact: CustomerKnown, *, now: datetime) -> str:
    """Remember which customer a provider's customer id stands for."""
    customer = accounts.known(fact.customer, "metadata.customer or client_reference_id")
    account_id = accounts.ensure(conn, app.slug, customer, now=now)
    stored.know_customer(conn, app.slug, fact.provider, fact.provider_customer, account_id)
    return customer


def change(conn: Connection, app: App, fact: SubscriptionChanged, *, now: datetime) -> str:
    """Take over the state of a subscription, unless a newer one is known, and grant what is owed."""
    known = stored.lock(conn, app.slug, fact.provider, fact.subscription)
    it, is_new = known or _begin(conn, app, fact, now), known is None
    if it.status in ENDED:
        return it.customer
    is_older = fact.changed_at < it.changed_at or (fact.is_first and fact.changed_at == it.changed_at)
    if is_new or not is_older:
        _take_over(conn, app, fact, it, now)
    _grant_change(conn, app, fact, it, now)
    grants.grant_due(conn, app, [it], now=now, event_id=fact.event_id)
    return it.customer


def _take_over(conn: Connection, app: App, fact: SubscriptionChanged, it: Subscription, now: datetime) -> None:
    if fact.anchor != it.anchor:
        steps.count_anew(it, fact.anchor)
    steps.hold(it, steps.plan_named(app, fact.plan, fact.price_id), fact.changed_at)
    it.status, it.changed_at = fact.status, fact.changed_at
    it.current_period_end = fact.period_end or it.current_period_end
    _note_pause(it, fact.changed_at)
    stored.save(conn, it, now=now)
    activation.ensure(conn, app, it, now=now)


def _grant_change(conn: Connection, app: App, fact: SubscriptionChanged, it: Subscription, now: datetime) -> None:
    """Grant what the month of the change is still owed by the plan that it had then, though we hear of it late.

    The event is no older than the period that it tells of; its object may have been fetched anew since.
    """
    plan = steps.plan_named(app, fact.plan, fact.price_id)
    period_start = fact.period_start + SLACK if fact.period_start else fact.changed_at
    cycle = it.cycle_at(min(max(fact.changed_at, period_start), now))
    if plan and fact.status in PAYING and cycle < it.next_cycle and it.is_due(cycle, now):
        grants.grant_cycle(conn, app, it, cycle, plan=plan, only_more=True, now=now, event_id=fact.event_id)


def _note_pause(it: Subscription, at: datetime) -> None:
    """Months that begin in a pause are owed by nobody, unless they are paid for."""
    going_on = it.withheld.get(PAUSED)
    if it.status == PAUSED and going_on is None:
        it.withhold(PAUSED, Period(max(at, it.paid_until or at), None))
    elif it.status != PAUSED and going_on is not None:
        it.release(why=PAUSED)
        if going_on.start < at:
            it.withhold(f"{PAUSED}:{going_on.start.isoformat()}", Period(going_on.start, at))


def _begin(conn: Connection, app: App, fact: SubscriptionChanged, now: datetime) -> Subscription:
    """A subscription seen for the first time: cycles before the one that runs now were someone else's to grant."""
    customer = steps.customer(conn, app, fact.provider, fact.customer, fact.provider_customer)
    plan = steps.plan_named(app, fact.plan, fact.price_id)
    if plan is None:
        raise Unprocessable(f"no plan: {steps.unknown_plan(app, fact.plan, fact.price_id)}")
    it = steps.new(conn, app, fact, customer, plan, fact.anchor, now)
    it.status, it.changed_at, it.plan_at = fact.status, fact.changed_at, fact.changed_at
    running = min(fact.changed_at, now)
    it.next_cycle = it.cycle_at(max(fact.period_start or running, running))
    steps.promise(conn, app, fact, it)
    return stored.insert(conn, it, now=now)
