"""What a provider reported of subscriptions: stored as facts, and then settled.

A fact is stored in a commit of its own, so that it stays even if its event ends dead: a corrected catalog computes
everything again.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from jobs.plans.settlement import Settled, settle
from jobs.providers.facts import Applied, CustomerKnown, PlanReported
from models.catalog.apps import App
from models.database import Connection
from models.errors import TooEarly, Unprocessable
from models.inbox.events import MEND
from models.ledger import accounts
from models.payments import provider_customers
from models.plans import stored_facts, subscriptions
from models.plans.facts import Bill, Schedule, Session, Snapshot

REPLAY = "and replay this event (POST /v1/events/{id}/replay)"


def keep(conn: Connection, app: App, facts: Iterable[PlanReported], *, now: datetime) -> None:
    """Store the facts. A new subscription gets its row with the first of them, so that a corrected catalog finds it.

    Raises:
        Unprocessable: the subscription has more facts than any real one.
    """
    for fact in facts:
        subscription = fact.subscription
        is_new = stored_facts.store(
            conn, app.slug, fact.provider, subscription, fact.fact, event_id=fact.event_id, now=now
        )
        if not is_new or subscription is None:
            continue
        count = stored_facts.count(conn, app.slug, fact.provider, subscription)
        if count > stored_facts.MOST_FACTS:
            raise Unprocessable(
                f"{subscription!r} has {stored_facts.MOST_FACTS} reports already, more than any subscription has:"
                " nothing was applied; check what sends them, and post the change manually (POST /v1/adjustments)"
            )
        if not isinstance(fact.fact, Schedule):
            subscriptions.mark(conn, app.slug, fact.provider, subscription, now=now)


def apply(conn: Connection, app: App, fact: PlanReported, *, now: datetime) -> Applied:
    """Store the fact and settle its subscription.

    Raises:
        TooEarly: it is not known yet whose the subscription is.
        Unprocessable: nothing of it could be understood.
    """
    keep(conn, app, [fact], now=now)
    subscription = fact.subscription
    if subscription is None and not isinstance(fact.fact, Snapshot | Session):
        bill = getattr(fact.fact, "bill", "")
        subscription = stored_facts.subscription_of_bill(conn, app.slug, fact.provider, [bill])
    if subscription is None:
        return Applied(None, "kept until its invoice is reported")
    if isinstance(fact.fact, Schedule) and not subscriptions.exists(conn, app.slug, fact.provider, subscription):
        return Applied(None, "kept until its subscription is reported")
    settled = settle(conn, app, fact.provider, subscription, event_id=fact.event_id, now=now)
    if settled.problem is not None and not settled.has_lots:
        if isinstance(fact.fact, Session | Schedule):
            return Applied(None, settled.problem)
        waits_for = getattr(fact.fact, "provider_customer", None) or subscription
        raise TooEarly(f"{settled.problem}, {REPLAY}", waits_for=waits_for)
    _check_understood(app, fact, settled)
    return Applied(settled.customer, "; ".join(settled.account.notes) or None)


def _check_understood(app: App, fact: PlanReported, settled: Settled) -> None:
    """Raises Unprocessable if the event is of a subscription none of whose prices is a plan's."""
    account = settled.account
    if account.owed or settled.has_lots or not isinstance(fact.fact, Snapshot | Bill):
        return
    prices = account.prices
    if isinstance(fact.fact, Bill):
        lines = [line for line in fact.fact.lines if not line.is_one_off]
        named = [line.price for line in lines]
        is_known = not lines or any(prices.plan_of(line.price, line.start) for line in lines)
        plan = fact.fact.plan or next((line.plan for line in lines if line.plan), None)
    else:
        named = [item.price for item in fact.fact.items]
        is_known = bool(prices.items(fact.fact, fact.fact.at))
        plan = fact.fact.plan
    if is_known or (plan and prices.book.latest(plan)):
        return
    some = " or ".join(repr(price) for price in named if price) or None
    known = ", ".join(app.plans) or "no plans"
    raise Unprocessable(
        f"no plan: neither price {some} nor plan {plan!r} is in the catalog of {app.slug}, which has {known}; {MEND}"
    )


def store_customer(conn: Connection, app: App, fact: CustomerKnown, *, now: datetime) -> str:
    """Store that a provider's customer stands for this one, perhaps among others. Returns the customer."""
    customer = accounts.known(fact.customer, "metadata.customer or client_reference_id")
    account_id = accounts.ensure(conn, app.slug, customer, now=now)
    provider_customers.store(conn, app.slug, fact.provider, fact.provider_customer, account_id)
    return customer
