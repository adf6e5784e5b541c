"""Invoices of subscriptions: the periods that were paid for, and those that were not.

An invoice that arrives before its subscription creates it. A paid one grants its month in the same commit.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobs.payments import reversals
from jobs.payments.purchases import emit_payment_settled
from jobs.plans import grants, steps
from jobs.plans import reversals as plan_reversals
from jobs.providers.facts import PeriodPaid, PlanLine
from models.catalog.apps import App
from models.cycles import SLACK
from models.database import Connection
from models.errors import TooEarly, Unprocessable
from models.payments import payments
from models.payments import reversals as payment_reversals
from models.payments.payments import Payment
from models.plans import activation, subscriptions
from models.plans.subscription import INCOMPLETE, PAYING, Period, Subscription


def pay_period(conn: Connection, app: App, fact: PeriodPaid, *, now: datetime) -> str:
    """Record an invoice as paid or unpaid; a paid one grants its cycle. Returns the customer."""
    # The payment is locked before the subscription, as a reversal does.
    ids = payment_reversals.lock(conn, app.slug, fact.provider, (fact.invoice, *fact.aliases)) if fact.paid else []
    known = subscriptions.lock(conn, app.slug, fact.provider, fact.subscription)
    subscription = known or _begin_with(conn, app, fact, now)
    if not fact.paid:
        _note_unpaid(conn, app, fact, subscription, now)
        return subscription.customer
    plan, cycle = _take_over(app, subscription, fact.line, fact), _paid_cycle(subscription, fact, now)
    payment = _record(conn, app, fact, subscription, plan, cycle, ids, now)
    subscription.release(fact.invoice)
    steps.recount(conn, subscription)
    subscriptions.save(conn, subscription, now=now)
    activation.ensure(conn, app, subscription, now=now)
    if payment.is_new:
        paid_for = {"plan": plan, "subscription": subscription.provider_id}
        emit_payment_settled(conn, app, subscription.customer, fact, payment, paid_for, now=now)
    _grant(conn, app, subscription, cycle, plan, fact, payment, now)
    grants.grant_due(conn, app, [subscription], now=now, event_id=fact.event_id)
    reversals.settle(conn, app, fact.provider, ids, event_id=fact.event_id, now=now)
    plan_reversals.follow(conn, app, [subscription], now=now, event_id=fact.event_id)
    return subscription.customer


def _take_over(app: App, subscription: Subscription, line: PlanLine | None, fact: PeriodPaid) -> str | None:
    """Apply the line's plan and anchor to the subscription. Returns the plan that was paid for."""
    if line is None:
        return subscription.plan
    if fact.changes and not line.is_prorated and _is_a_new_count(subscription, line):
        steps.count_anew(subscription, line.start)
    plan = steps.plan_named(app, line.plan, line.price_id)
    steps.hold(subscription, plan, line.start)
    return plan or subscription.plan


def _paid_cycle(subscription: Subscription, fact: PeriodPaid, now: datetime) -> int | None:
    """The cycle that the invoice pays for.

    A trial's invoice of zero, and one for the days before a fixed billing day, pay for the cycle before the first. A
    change of the plan pays for the rest of the month in which it was made.
    """
    if fact.renews and fact.line:
        before, nearest = subscription.cycle_base - 1, subscription.nearest_cycle(fact.line.start)
        if _is_trial(subscription, fact):
            return before
        return min(before, nearest) if _ends_by_anchor(subscription, fact.line) else nearest
    return subscription.cycle_at(fact.line.start if fact.line else now) if fact.changes else None


def _is_trial(subscription: Subscription, fact: PeriodPaid) -> bool:
    return fact.line is not None and fact.amount_minor == 0 and _ends_by_anchor(subscription, fact.line)


def _ends_by_anchor(subscription: Subscription, line: PlanLine) -> bool:
    return line.end <= subscription.anchor + SLACK


def _grant(
    conn: Connection,
    app: App,
    subscription: Subscription,
    cycle: int | None,
    plan: str | None,
    fact: PeriodPaid,
    payment: Payment,
    now: datetime,
) -> None:
    """Grant what was paid for: a change raises its months to the new plan, a period grants all of its months."""
    if cycle is None or fact.line is None:
        return
    on: dict[str, Any] = {"now": now, "event_id": fact.event_id}
    if fact.line.is_prorated:
        months = subscription.months(cycle, fact.line.end)
        grants.grant_more(conn, app, subscription, months, plan=plan, payment_id=payment.id, **on)
        grants.grant_paid(conn, app, subscription, subscription.start_of(cycle), fact.line.end, plan=plan, **on)
        return
    grants.grant_cycle(conn, app, subscription, cycle, plan=plan, payment_id=payment.id, **on)
    if (
        subscription.cycle_at(subscription.plan_at) == cycle
        and subscription.status in PAYING
        and not subscription.has_unknown_bill
    ):
        grants.grant_more(conn, app, subscription, range(cycle, cycle + 1), plan=subscription.plan, **on)
    if steps.RETURNED + payment.reference not in subscription.withheld and not _is_trial(subscription, fact):
        grants.grant_paid(conn, app, subscription, fact.line.start, fact.line.end, plan=plan, **on)


def _is_a_new_count(subscription: Subscription, line: PlanLine) -> bool:
    """Whether a changed plan restarts its months with this line: it starts where no month of the old count does."""
    nearest = subscription.start_of(subscription.nearest_cycle(line.start))
    return abs(line.start - nearest) > SLACK and line.start > subscription.start_of(subscription.next_cycle - 1) + SLACK


def _begin_with(conn: Connection, app: App, fact: PeriodPaid, now: datetime) -> Subscription:
    """A subscription whose invoice arrives first: it is anchored at the period that was paid."""
    line = fact.line
    if line is None or line.is_prorated:
        raise TooEarly(
            f"invoice of an unknown subscription {fact.subscription!r}: it has no line for a plan's whole period, so it"
            " cannot begin one; replay it (POST /v1/events/{id}/replay) once the subscription is known",
            waits_for=fact.subscription,
        )
    plan = steps.plan_named(app, line.plan, line.price_id)
    if plan is None:
        named = steps.unknown_plan(app, line.plan, line.price_id)
        raise Unprocessable(f"invoice of an unknown subscription {fact.subscription!r}: {named}")
    customer = steps.customer(conn, app, fact.provider, fact.customer, fact.provider_customer)
    subscription = steps.new(conn, app, fact, customer, plan, line.start, now)
    subscription.status, subscription.plan_at = "active" if fact.paid else INCOMPLETE, line.start
    steps.promise(conn, app, fact, subscription)
    return subscriptions.insert(conn, subscription, now=now)


def _record(
    conn: Connection,
    app: App,
    fact: PeriodPaid,
    subscription: Subscription,
    plan_key: str | None,
    cycle: int | None,
    ids: list[str],
    now: datetime,
) -> Payment:
    line, plan = fact.line, app.plans.get(plan_key or "")
    return payments.record(
        conn,
        app=app.slug,
        account_id=subscription.account_id,
        provider=fact.provider,
        reference=payments.reference_of(conn, app.slug, fact.provider, ids) or fact.invoice,
        aliases=ids,
        plan=plan_key,
        amount_minor=fact.amount_minor,
        currency=fact.currency,
        state="settled",
        subscription_id=subscription.id,
        period_start=line.start if line else None,
        period_end=line.end if line else None,
        monthly_units=subscription.units_of(cycle or 0, plan.key, plan.units) if plan else None,
        change_cycle=cycle if line and line.is_prorated else None,
        now=now,
    )


def _note_unpaid(conn: Connection, app: App, fact: PeriodPaid, subscription: Subscription, now: datetime) -> None:
    if payments.is_known(conn, app.slug, fact.provider, fact.invoice):
        return
    period = _whole_period(fact.line)
    if fact.is_given_up and period is None:
        subscription.release(fact.invoice)  # the change will not be paid, and the invoice does not cover the month
    else:
        subscription.withhold(fact.invoice, period)
    subscriptions.save(conn, subscription, now=now)
    grants.grant_due(conn, app, [subscription], now=now)


def _whole_period(line: PlanLine | None) -> Period | None:
    return Period.paid(line.start, line.end) if line and not line.is_prorated else None
