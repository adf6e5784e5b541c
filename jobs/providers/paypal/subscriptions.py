"""Translates PayPal's subscriptions into snapshots: what PayPal said of one at a time of its own clock.

Source: Subscriptions v1 of https://developer.paypal.com/api/rest/, and "Webhook event names" there.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from jobs.providers.facts import AnyFact, CheckoutEnded, PlanReported
from jobs.providers.malformed import MalformedEvent
from jobs.providers.paypal import fields
from jobs.providers.paypal.fields import Object, Sold, get, objects, text
from models import cycles
from models.catalog.apps import App
from models.errors import NotOurs
from models.inbox.events import Event
from models.ledger import accounts
from models.plans.facts import Interval, Item, PlanFact, Snapshot

MONTH = Interval("month")
MOST_SEATS = 10**9
MOST_TRIAL_CYCLES = 1000
STATUSES = {
    "APPROVAL_PENDING": "incomplete",
    "APPROVED": "incomplete",
    "ACTIVE": "active",
    "SUSPENDED": "paused",
    "CANCELLED": "canceled",
    "EXPIRED": "canceled",
}
# The order of states of one moment.
RANKS = {"incomplete": 0, "trialing": 1, "active": 1, "past_due": 2, "paused": 3, "canceled": 5}
AFTER_SUSPENSION = 4
State = Literal["expired", "pending", "failed", "paid"]
CHECKOUT_STATES: dict[str, State] = {
    "trialing": "paid",
    "active": "pending",
    "past_due": "failed",
    "canceled": "failed",
}


def changed(app: App, event: Event, subscription: Object) -> Iterator[AnyFact]:
    """The snapshot of a subscription. If it was fetched, what the event reports is one more, of its own time."""
    sold = sold_in(app, subscription.get("custom_id"))
    now = snapshot(event, subscription, sold)
    signed = event.payload.get("signed")
    if event.is_fetched and isinstance(signed, dict):
        before = snapshot(event, {**signed, "custom_id": subscription.get("custom_id")}, sold, is_signed_only=True)
        if before.at < now.at or (before.at == now.at and before.items != now.items):
            yield reported(app, event, text(subscription["id"]), before)
    yield reported(app, event, text(subscription["id"]), now)
    state = CHECKOUT_STATES.get(now.status)
    if state:
        is_over = subscription.get("status") == "EXPIRED"
        yield checkout_ended(app, event, text(subscription["id"]), "expired" if is_over else state)


def snapshot(event: Event, subscription: Object, sold: Sold, *, is_signed_only: bool = False) -> Snapshot:
    """What the subscription says.

    `is_signed_only`: PayPal shows a newer state. The older one counts for what was sold and for suspensions; that it
    was active pays for nothing, because PayPal did not confirm it.
    """
    start = fields.time(subscription.get("start_time"))
    if start is None and "start_time" in subscription:
        raise MalformedEvent(subscription["start_time"], "a time such as 2026-01-31T12:00:00Z", "resource.start_time")
    at = _changed_at(event, subscription)
    regular, trial_end = _trial(subscription, start)
    status = _status(subscription, is_trial=trial_end is not None and not regular)
    rank = AFTER_SUSPENSION if event.type.endswith(".RE-ACTIVATED") and status == "active" else RANKS[status]
    suffix = ":fetched" if event.is_fetched and not is_signed_only else ""
    return Snapshot(
        key=f"{event.event_id}{suffix}",
        at=at,
        received_at=event.received_at,
        status="incomplete" if is_signed_only and status in ("active", "trialing") else status,
        rank=rank,
        items=(_item(subscription, start, trial_end, at, is_trial=status == "trialing"),),
        anchor=start,
        trial_start=start if trial_end else None,
        trial_end=trial_end,
        is_paused=status == "paused",
        ended_at=(fields.time(subscription.get("status_update_time")) or at) if status == "canceled" else None,
        customer=customer_of(sold),
        provider_customer=_payer(subscription),
        checkout=sold.checkout,
        is_fetched=bool(suffix),
        is_billed_by_sales=True,
    )


def sold_in(app: App, custom_id: Any) -> Sold:
    """What a custom_id says was sold.

    Raises:
        NotOurs: it names another app.
    """
    sold = fields.read_custom_id(custom_id)
    if sold.app is not None and sold.app != app.slug:
        raise NotOurs(f"the event belongs to the app {sold.app[:120]!r}")
    return sold


def reported(app: App, event: Event, subscription: str, fact: PlanFact) -> PlanReported:
    return PlanReported(
        app=app.slug, provider=event.provider, event_id=event.event_id, subscription=subscription, fact=fact
    )


def checkout_ended(app: App, event: Event, subscription: str, state: State) -> CheckoutEnded:
    """The state of the checkout that opened the subscription: the buyer may put the id of another into a custom_id."""
    return CheckoutEnded(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        checkout="",
        reference=subscription,
        state=state,
    )


def customer_of(sold: Sold) -> str | None:
    return accounts.known(sold.customer, "customer of resource.custom_id") if sold.customer else None


def _payer(subscription: Object) -> str | None:
    payer = get(subscription, "subscriber", "payer_id")
    return text(payer) if payer else None


def created_at(event: Event) -> datetime:
    return fields.time(event.payload.get("create_time")) or event.received_at


def _changed_at(event: Event, subscription: Object) -> datetime:
    """When the subscription took the state that it shows."""
    names = ("update_time", "status_update_time")
    found = [at for at in (fields.time(subscription.get(name)) for name in names) if at]
    return max(found, default=created_at(event))


def _status(subscription: Object, *, is_trial: bool) -> str:
    status = subscription["status"]
    known = STATUSES.get(status) if isinstance(status, str) else None
    if known is None:
        raise MalformedEvent(status, "a status of a subscription")
    if known != "active":
        return known
    failures = get(subscription, "billing_info", "failed_payments_count")
    if isinstance(failures, int) and failures > 0:
        return "past_due"
    return "trialing" if is_trial else "active"


def _trial(subscription: Object, start: datetime | None) -> tuple[int, datetime | None]:
    """(The regular cycles so far, the end of the trial or None). A cycle of a trial is taken for a month."""
    trial_cycles = regular = 0
    for execution in objects(get(subscription, "billing_info", "cycle_executions")):
        if execution.get("tenure_type") == "TRIAL":
            trial_cycles += _count(execution.get("total_cycles"))
        else:
            regular += _count(execution.get("cycles_completed"))
    if trial_cycles > MOST_TRIAL_CYCLES:
        raise MalformedEvent(trial_cycles, f"at most {MOST_TRIAL_CYCLES} cycles of a trial")
    return regular, cycles.cycle_start(start, trial_cycles) if start and trial_cycles else None


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _item(
    subscription: Object, start: datetime | None, trial_end: datetime | None, at: datetime, *, is_trial: bool
) -> Item:
    """The plan, its seats and the cycle that runs at that time."""
    begin = end = None
    if start and is_trial:
        begin, end = start, trial_end
    elif start:
        number = max(cycles.cycle_at(start, at), 0)
        begin, end = cycles.cycle_start(start, number), cycles.cycle_start(start, number + 1)
    return Item(
        id=None,
        price=text(subscription["plan_id"]),
        quantity=_quantity(subscription.get("quantity")),
        interval=MONTH,
        start=begin,
        end=end,
    )


def _quantity(value: Any) -> int:
    if value is None:
        return 1
    is_number = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(MOST_SEATS))
    if not is_number or not 1 <= int(value) <= MOST_SEATS:
        raise MalformedEvent(value, f"a quantity from 1 to {MOST_SEATS}, as a text")
    return int(value)
