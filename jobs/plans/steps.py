"""Rules shared by events of subscriptions and of their invoices: the customer, the plan, since when."""

from __future__ import annotations

from datetime import datetime

from jobs.providers.facts import PeriodPaid, SubscriptionChanged
from models import cycles
from models.catalog.apps import App
from models.cycles import SLACK
from models.database import Connection
from models.errors import TooEarly
from models.inbox.events import MEND
from models.ledger import accounts
from models.payments import checkouts, payments, provider_customers
from models.plans.subscription import INCOMPLETE, Period, Subscription, merged

RETURNED = "returned:"


def new(
    conn: Connection,
    app: App,
    fact: SubscriptionChanged | PeriodPaid,
    customer: str,
    plan: str,
    anchor: datetime,
    now: datetime,
) -> Subscription:
    account_id = accounts.ensure(conn, app.slug, customer, now=now)
    if fact.provider_customer:
        provider_customers.store(conn, app.slug, fact.provider, fact.provider_customer, account_id)
    return Subscription(
        0, app.slug, customer, account_id, fact.provider, fact.subscription, plan, INCOMPLETE, anchor, None, None
    )


def customer(conn: Connection, app: App, provider: str, customer: str | None, provider_customer: str | None) -> str:
    """Raises TooEarly: only a checkout, which comes with another event, can name the provider's customer."""
    found = customer or provider_customers.customer_of(conn, app.slug, provider, provider_customer)
    if not found and provider_customer:
        raise TooEarly(
            f"no customer: metadata.customer of the subscription is empty, and no checkout that came so far names"
            f" {provider_customer!r}; put metadata.customer on the subscription, and replay this"
            " (POST /v1/events/{id}/replay)",
            waits_for=provider_customer,
        )
    return accounts.known(found, "metadata.customer of the subscription")


def plan_named(app: App, plan: str | None, price_id: str | None) -> str | None:
    by_price = app.plan_by_stripe_price(price_id) if price_id else None
    if by_price is not None:
        return by_price.key
    return plan if plan in app.plans else None


def unknown_plan(app: App, plan: str | None, price_id: str | None) -> str:
    known = ", ".join(app.plans) or "no plans"
    return f"neither price {price_id!r} nor plan {plan!r} is in the catalog of {app.slug}, which has {known}; {MEND}"


def promise(conn: Connection, app: App, fact: SubscriptionChanged | PeriodPaid, subscription: Subscription) -> None:
    """Copy the terms that Scrip's checkout promised this customer for the first month of this plan."""
    sold = checkouts.find_for_payment(conn, app.slug, fact.provider, fact.checkout, ()) if fact.checkout else None
    if sold is not None and sold.plan is not None and sold.customer == subscription.customer:
        subscription.promised_plan, subscription.promised_units, subscription.promised_cycle = (
            sold.plan,
            sold.units,
            subscription.next_cycle,
        )


def hold(subscription: Subscription, plan: str | None, at: datetime) -> None:
    """Set the plan that the subscription has since `at`; a report about an earlier time does not change its plan."""
    if plan is not None and at >= subscription.plan_at:
        subscription.plan, subscription.plan_at = plan, at


def count_anew(subscription: Subscription, anchor: datetime) -> None:
    """Restart the count of months at a new anchor. Its next month is the first that begins after the old count's last.

    So an anchor that moves by seconds, or lies in the past, grants no month again.
    """
    after = subscription.start_of(subscription.next_cycle - 1) + SLACK
    months = max(0, cycles.cycle_at(anchor, after) + 1)
    subscription.anchor, subscription.cycle_base = anchor, subscription.next_cycle - months


def recount(conn: Connection, subscription: Subscription) -> None:
    """Recompute which months are paid, and which were paid by a payment that is fully reversed.

    A payment for a change of the plan pays its share of the later months even if their own payment is reversed: they
    are owed, and the target of the reversed payment claws back its share of them.
    """
    known = payments.periods(conn, subscription.id, subscription.anchor)
    whole = [paid for paid in known if paid.change_cycle is None]
    subscription.withheld = {
        why: period for why, period in subscription.withheld.items() if not why.startswith(RETURNED)
    }
    for paid in whole:
        if paid.was_reversed:
            subscription.withhold(RETURNED + paid.reference, Period.paid(paid.start, paid.end))
    gone = [Period.paid(paid.start, paid.end) for paid in whole if paid.was_reversed]
    stands = [(paid.start, paid.end) for paid in whole if not paid.was_reversed]
    for paid in known:
        if paid.change_cycle is not None and not paid.was_reversed:
            start = subscription.start_of(paid.change_cycle)
            stands += [(start, paid.end)] if any(period.has(start) for period in gone) else []
    subscription.paid = merged(Period.paid(start, end) for start, end in stands)
    subscription.paid_until = max((end for _, end in stands), default=None)
