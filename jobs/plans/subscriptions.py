"""Subscriptions: their state as the provider reports it.

The order of arrival does not matter: an older event does not undo a newer one, and an ended subscription stays ended.
Cycles that are owed after an event are granted in the same commit.
"""

from __future__ import annotations

from datetime import datetime

from jobs.plans import grants, steps
from jobs.providers.facts import CustomerKnown, SubscriptionChanged
from models.catalog.apps import App
from models.database import Connection
from models.errors import Unprocessable
from models.ledger import accounts
from models.payments import payments, provider_customers
from models.plans import activation, subscriptions
from models.plans.subscription import ENDED, PAUSED, PAYING, Period, Subscription


def know_customer(conn: Connection, app: App, fact: CustomerKnown, *, now: datetime) -> str:
    """Store which customer a provider's customer id stands for. Returns the customer."""
    customer = accounts.known(fact.customer, "metadata.customer or client_reference_id")
    account_id = accounts.ensure(conn, app.slug, customer, now=now)
    provider_customers.store(conn, app.slug, fact.provider, fact.provider_customer, account_id)
    return customer


def change(conn: Connection, app: App, fact: SubscriptionChanged, *, now: datetime) -> str:
    """Store the reported state of a subscription, unless a newer one is stored, and grant what is owed."""
    known = subscriptions.lock(conn, app.slug, fact.provider, fact.subscription)
    subscription, is_new = known or _begin(conn, app, fact, now), known is None
    is_older = fact.changed_at < subscription.changed_at
    is_older = is_older or (fact.is_first and fact.changed_at == subscription.changed_at)
    if is_new or not (is_older or subscription.status in ENDED):
        _take_over(conn, app, fact, subscription, now)
    _grant_change(conn, app, fact, subscription, now)
    grants.grant_due(conn, app, [subscription], now=now, event_id=fact.event_id)
    return subscription.customer


def _take_over(
    conn: Connection, app: App, fact: SubscriptionChanged, subscription: Subscription, now: datetime
) -> None:
    if fact.anchor != subscription.anchor:
        steps.count_anew(subscription, fact.anchor)
        steps.recount(conn, subscription)
    steps.hold(subscription, steps.plan_named(app, fact.plan, fact.price_id), fact.changed_at)
    subscription.status, subscription.changed_at = fact.status, fact.changed_at
    subscription.current_period_end = fact.period_end or subscription.current_period_end
    _note_pause(subscription, fact.changed_at)
    _note_bill(conn, app, fact, subscription)
    subscriptions.save(conn, subscription, now=now)
    activation.ensure(conn, app, subscription, now=now)


def _grant_change(
    conn: Connection, app: App, fact: SubscriptionChanged, subscription: Subscription, now: datetime
) -> None:
    """Grant the month of the change up to its plan, even if the event is late, and later ones if the plan is current.

    A fetched object describes the present, whatever the event's time.
    """
    plan = steps.plan_named(app, fact.plan, fact.price_id)
    if plan is None or fact.status not in PAYING:
        return
    first = subscription.cycle_at(now if fact.is_current else min(fact.changed_at, now))
    after = (
        subscription.next_cycle if subscription.plan_at <= fact.changed_at else min(first + 1, subscription.next_cycle)
    )
    for cycle in range(first, after):
        if subscription.is_due(cycle, now):
            grants.grant_more(
                conn, app, subscription, range(cycle, cycle + 1), plan=plan, now=now, event_id=fact.event_id
            )


def _note_bill(conn: Connection, app: App, fact: SubscriptionChanged, subscription: Subscription) -> None:
    """Withhold the months of an unpaid invoice, if the subscription's paid invoices are reported to Scrip.

    A period begins before its invoice is paid, and Stripe reports the subscription as active meanwhile.
    """
    if not fact.latest_invoice or not fact.period_start or not fact.period_end:
        return
    if payments.has_any(conn, subscription.id) and not payments.is_known(
        conn, app.slug, fact.provider, fact.latest_invoice
    ):
        subscription.withhold(fact.latest_invoice, Period.paid(fact.period_start, fact.period_end))


def _note_pause(subscription: Subscription, at: datetime) -> None:
    """Withhold the months that begin in a pause, unless they are paid for."""
    pause = subscription.withheld.get(PAUSED)
    if subscription.status == PAUSED and pause is None:
        subscription.withhold(PAUSED, Period(at, None))
    elif subscription.status != PAUSED and pause is not None:
        subscription.release(PAUSED)
        if pause.start < at:
            subscription.withhold(f"{PAUSED}:{pause.start.isoformat()}", Period(pause.start, at))


def _begin(conn: Connection, app: App, fact: SubscriptionChanged, now: datetime) -> Subscription:
    """A subscription seen for the first time: cycles before the current one are not Scrip's to grant."""
    customer = steps.customer(conn, app, fact.provider, fact.customer, fact.provider_customer)
    plan = steps.plan_named(app, fact.plan, fact.price_id)
    if plan is None:
        raise Unprocessable(f"no plan: {steps.unknown_plan(app, fact.plan, fact.price_id)}")
    subscription = steps.new(conn, app, fact, customer, plan, fact.anchor, now)
    subscription.status, subscription.changed_at, subscription.plan_at = fact.status, fact.changed_at, fact.changed_at
    running = min(fact.changed_at, now)
    subscription.next_cycle = subscription.cycle_at(max(fact.period_start or running, running))
    steps.promise(conn, app, fact, subscription)
    return subscriptions.insert(conn, subscription, now=now)
