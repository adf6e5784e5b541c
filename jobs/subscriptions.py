"""Subscriptions: their state as the provider tells it, and the periods that were paid.

Order of arrival does not matter: an older event does not undo a newer one, an ended subscription stays ended, and an
invoice that comes before its subscription makes it. What is owed after each event is granted in the same commit.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg

from jobs import grants, plan_returns, reversals
from jobs.facts import CustomerKnown, PeriodPaid, PlanLine, SubscriptionChanged
from jobs.purchases import tell_settled
from models import accounts, activation, checkouts, cycles, payments, returns
from models import subscriptions as stored
from models.apps import App
from models.cycles import SLACK
from models.errors import TooEarly, Unprocessable
from models.events import MEND
from models.payments import Payment
from models.subscriptions import ENDED, PAUSED, PAYING, Period, Subscription

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
        _count_anew(it, fact.anchor)
    _hold(it, _plan(app, fact.plan, fact.price_id), fact.changed_at)
    it.status, it.changed_at = fact.status, fact.changed_at
    it.current_period_end = fact.period_end or it.current_period_end
    _note_pause(it, fact.changed_at)
    stored.save(conn, it, now=now)
    activation.ensure(conn, app, it, now=now)


def _hold(it: Subscription, plan: str | None, at: datetime) -> None:
    """The subscription had this plan then; what is told of an earlier time does not change the plan that it has."""
    if plan is not None and at >= it.plan_at:
        it.plan, it.plan_at = plan, at


def _grant_change(conn: Connection, app: App, fact: SubscriptionChanged, it: Subscription, now: datetime) -> None:
    """Grant what the month of the change is still owed by the plan that it had then, though we hear of it late.

    The event is no older than the period that it tells of; its object may have been fetched anew since.
    """
    plan = _plan(app, fact.plan, fact.price_id)
    period_start = fact.period_start + SLACK if fact.period_start else fact.changed_at
    cycle = it.cycle_at(min(max(fact.changed_at, period_start), now))
    if plan and fact.status in PAYING and cycle < it.next_cycle and it.is_due(cycle, now):
        grants.grant_cycle(conn, app, it, cycle, plan=plan, only_more=True, now=now, event_id=fact.event_id)


def _count_anew(it: Subscription, anchor: datetime) -> None:
    """A new anchor starts a new count of months. The next one is its first that begins after the last one of the old
    count: an anchor that is moved by seconds, or turns out to lie in the past, grants no month again.
    """
    after = it.start_of(it.next_cycle - 1) + SLACK
    months = max(0, cycles.cycle_at(anchor, after) + 1)
    it.anchor, it.cycle_base = anchor, it.next_cycle - months


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
    customer = _customer(conn, app, fact.provider, fact.customer, fact.provider_customer)
    plan = _plan(app, fact.plan, fact.price_id)
    if plan is None:
        raise Unprocessable(f"no plan: {_unknown_plan(app, fact.plan, fact.price_id)}")
    it = _new(conn, app, fact, customer, plan, fact.anchor, now)
    it.status, it.changed_at, it.plan_at = fact.status, fact.changed_at, fact.changed_at
    running = min(fact.changed_at, now)
    it.next_cycle = it.cycle_at(max(fact.period_start or running, running))
    _promise(conn, app, fact, it)
    return stored.insert(conn, it, now=now)


def pay_period(conn: Connection, app: App, fact: PeriodPaid, *, now: datetime) -> str:
    """Note an invoice as paid or unpaid; one that was paid grants its cycle at once."""
    # Before the subscription, as whoever tells of a refund does.
    ids = returns.lock(conn, app.slug, fact.provider, (fact.invoice, *fact.aliases)) if fact.paid else []
    it = stored.lock(conn, app.slug, fact.provider, fact.subscription) or _begin_with(conn, app, fact, now)
    if not fact.paid:
        _note_unpaid(conn, app, fact, it, now)
        return it.customer
    it.release(why=fact.invoice, paid=_whole_period(fact.line))
    plan = _plan(app, fact.line.plan, fact.line.price_id) if fact.line else None
    if fact.line:
        if fact.changes and not fact.line.is_prorated and _is_a_new_count(it, fact.line):
            _count_anew(it, fact.line.start)
        _hold(it, plan, fact.line.start)
    plan, cycle = plan or it.plan, _paid_cycle(it, fact, now)
    payment = _record(conn, app, fact, it, plan, cycle, ids, now)
    it.paid_until = payments.paid_until(conn, it.id)
    stored.save(conn, it, now=now)
    activation.ensure(conn, app, it, now=now)
    if payment.is_new:
        paid_for = {"plan": plan, "subscription": it.provider_id}
        tell_settled(conn, app, it.customer, fact, payment, paid_for, now=now)
    if cycle is not None and (fact.renews or it.is_due(cycle, now)):
        for held in _plans_held(it, cycle, plan):
            grants.grant_cycle(
                conn, app, it, cycle, plan=held, only_more=bool(fact.line and fact.line.is_prorated), now=now,
                payment_id=payment.id, event_id=fact.event_id,
            )  # fmt: skip
    grants.grant_due(conn, app, [it], now=now, event_id=fact.event_id)
    reversals.settle(conn, app, fact.provider, ids, event_id=fact.event_id, now=now)
    plan_returns.follow(conn, app, [it], now=now, event_id=fact.event_id)
    return it.customer


def _paid_cycle(it: Subscription, fact: PeriodPaid, now: datetime) -> int | None:
    """The cycle that the invoice pays for. A trial's own, of nothing, is the one before all others; a change of the
    plan pays for what the month in which it was made still owes.
    """
    if fact.renews and fact.line:
        is_trial = fact.amount_minor == 0 and fact.line.end <= it.anchor + SLACK
        return it.cycle_base - 1 if is_trial else it.nearest_cycle(fact.line.start)
    return it.cycle_at(fact.line.start if fact.line else now) if fact.changes else None


def _plans_held(it: Subscription, cycle: int, paid: str | None) -> list[str | None]:
    """The plan that was paid for, and the one that it was changed to within the same month."""
    changed_within = it.plan != paid and it.cycle_at(it.plan_at) == cycle
    return [paid, it.plan] if changed_within else [paid]


def _is_a_new_count(it: Subscription, line: PlanLine) -> bool:
    """Whether a changed plan begins its months anew with this line: it starts where no month of the old count does."""
    nearest = it.start_of(it.nearest_cycle(line.start))
    return abs(line.start - nearest) > SLACK and line.start > it.start_of(it.next_cycle - 1) + SLACK


def _begin_with(conn: Connection, app: App, fact: PeriodPaid, now: datetime) -> Subscription:
    """An invoice came before its subscription: it is anchored at the period that was paid."""
    line = fact.line
    if line is None or line.is_prorated:
        raise TooEarly(
            f"invoice of an unknown subscription {fact.subscription!r}: it has no line for a plan's whole period, so it"
            " cannot begin one; replay it (POST /v1/events/{id}/replay) once the subscription is known"
        )
    plan = _plan(app, line.plan, line.price_id)
    if plan is None:
        named = _unknown_plan(app, line.plan, line.price_id)
        raise Unprocessable(f"invoice of an unknown subscription {fact.subscription!r}: {named}")
    customer = _customer(conn, app, fact.provider, fact.customer, fact.provider_customer)
    it = _new(conn, app, fact, customer, plan, line.start, now)
    it.status, it.plan_at = "active" if fact.paid else "incomplete", line.start
    _promise(conn, app, fact, it)
    return stored.insert(conn, it, now=now)


def _new(
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
        stored.know_customer(conn, app.slug, fact.provider, fact.provider_customer, account_id)
    return Subscription(
        0, app.slug, customer, account_id, fact.provider, fact.subscription, plan, "incomplete", anchor, None, None
    )


def _promise(conn: Connection, app: App, fact: SubscriptionChanged | PeriodPaid, it: Subscription) -> None:
    """What our checkout promised this customer for the first month of this plan."""
    sold = checkouts.promised(conn, app.slug, fact.provider, fact.checkout, ()) if fact.checkout else None
    if sold is not None and sold.plan is not None and sold.customer == it.customer:
        it.promised_plan, it.promised_units, it.promised_cycle = sold.plan, sold.units, it.next_cycle


def _record(
    conn: Connection,
    app: App,
    fact: PeriodPaid,
    it: Subscription,
    plan_key: str | None,
    cycle: int | None,
    ids: list[str],
    now: datetime,
) -> Payment:
    line, plan = fact.line, app.plans.get(plan_key or "")
    return payments.record(
        conn,
        app=app.slug,
        account_id=it.account_id,
        provider=fact.provider,
        reference=payments.reference_of(conn, app.slug, fact.provider, ids) or fact.invoice,
        aliases=ids,
        plan=plan_key,
        amount_minor=fact.amount_minor,
        currency=fact.currency,
        state="settled",
        subscription_id=it.id,
        period_start=line.start if line else None,
        period_end=line.end if line else None,
        monthly_units=it.units_of(cycle or 0, plan.key, plan.units) if plan else None,
        change_cycle=cycle if line and line.is_prorated else None,
        now=now,
    )


def _note_unpaid(conn: Connection, app: App, fact: PeriodPaid, it: Subscription, now: datetime) -> None:
    if fact.invoice in it.withheld or payments.is_known(conn, app.slug, fact.provider, fact.invoice):
        return
    it.withhold(fact.invoice, _whole_period(fact.line))
    stored.save(conn, it, now=now)
    grants.grant_due(conn, app, [it], now=now)


def _whole_period(line: PlanLine | None) -> Period | None:
    return Period.paid(line.start, line.end) if line and not line.is_prorated else None


def _customer(conn: Connection, app: App, provider: str, customer: str | None, provider_customer: str | None) -> str:
    """Raises TooEarly: only a checkout, which comes with another event, can name the provider's customer."""
    found = customer or stored.customer_by_provider_id(conn, app.slug, provider, provider_customer)
    if not found and provider_customer:
        raise TooEarly(
            f"no customer: metadata.customer of the subscription is empty, and no checkout that came so far names"
            f" {provider_customer!r}; put metadata.customer on the subscription, and replay this"
            " (POST /v1/events/{id}/replay)"
        )
    return accounts.known(found, "metadata.customer of the subscription")


def _plan(app: App, plan: str | None, price_id: str | None) -> str | None:
    by_price = app.plan_by_stripe_price(price_id) if price_id else None
    if by_price is not None:
        return by_price.key
    return plan if plan in app.plans else None


def _unknown_plan(app: App, plan: str | None, price_id: str | None) -> str:
    known = ", ".join(app.plans) or "no plans"
    return f"neither price {price_id!r} nor plan {plan!r} is in the catalog of {app.slug}, which has {known}; {MEND}"


__all__ = ["PlanLine", "change", "know_customer", "pay_period"]
