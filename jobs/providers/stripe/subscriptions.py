"""Translates Stripe's subscriptions into snapshots: what Stripe said of one at a time of its own clock. Schedules too.

Sources: Stripe's API reference on Subscription, before and since basil, and on `previous_attributes` of events.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jobs.providers.facts import AnyFact, PlanReported
from jobs.providers.malformed import MalformedEvent
from jobs.providers.stripe.objects import (
    Object,
    created,
    get,
    id_of,
    metadata,
    objects,
    own_id,
    price_of,
    text,
    time_of,
)
from models.catalog.apps import App
from models.errors import NotOurs
from models.inbox.events import Event
from models.ledger import accounts
from models.plans.facts import CREATED, DELETED, UPDATED, Interval, Item, Phase, Schedule, Snapshot, Unit

UNITS: dict[str, tuple[Unit, int]] = {
    "day": ("day", 1),
    "week": ("week", 1),
    "month": ("month", 1),
    "year": ("month", 12),
}
MOST_SEATS = 10**9
# The states of a schedule that has not ended.
RUNNING = ("not_started", "active")
MOST_INTERVALS = 366


def subscription_changed(app: App, event: Event, subscription: Object) -> Iterator[AnyFact]:
    """The snapshot."""
    yield PlanReported(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        subscription=text(subscription["id"]),
        fact=snapshot(event, subscription),
    )


def snapshot(event: Event, subscription: Object) -> Snapshot:
    """What the object says, in the shape before or since basil."""
    rank = {"created": CREATED, "deleted": DELETED}.get(event.type.rpartition(".")[2], UPDATED)
    status = "canceled" if rank == DELETED else text(subscription["status"])
    key, at = event.event_id, created(event)
    if event.is_fetched:
        key, at, rank = (
            f"{event.event_id}:fetched",
            event.fetched_at or at,
            DELETED if status == "canceled" else UPDATED,
        )
    return Snapshot(
        key=key,
        at=at,
        received_at=event.received_at,
        status=status,
        rank=rank,
        items=_items(subscription),
        anchor=time_of(subscription.get("billing_cycle_anchor") or subscription.get("start_date")),
        trial_start=time_of(subscription.get("trial_start")),
        trial_end=time_of(subscription.get("trial_end")),
        is_paused=bool(subscription.get("pause_collection")) or status == "paused",
        latest_invoice=id_of(subscription.get("latest_invoice")),
        cancel_at=time_of(subscription.get("cancel_at")) or _period_end(subscription),
        ended_at=time_of(subscription.get("ended_at")),
        customer=_customer(subscription),
        provider_customer=id_of(subscription.get("customer")),
        plan=metadata(subscription).get("plan"),
        checkout=metadata(subscription).get("checkout"),
        is_fetched=event.is_fetched,
        previous={} if event.is_fetched else _previous(get(event.payload, "data", "previous_attributes")),
        pending=_pending(subscription),
        schedule=id_of(subscription.get("schedule")),
        resumes_at=time_of(get(subscription, "pause_collection", "resumes_at")),
    )


def _customer(subscription: Object) -> str | None:
    """The customer that the metadata name. Raises Unprocessable if that is no name of a customer."""
    named = metadata(subscription).get("customer")
    return accounts.known(named, "metadata.customer of the subscription") if named else None


def _pending(subscription: Object) -> tuple[Item, ...]:
    """The items that it has once the invoice of the change is paid."""
    return tuple(
        Item(id=id_of(item.get("id")), price=price_of(item), quantity=quantity_of(item), interval=interval_of(item))
        for item in objects(subscription, "pending_update", "subscription_items")
    )


def _period_end(subscription: Object) -> Any:
    """When a subscription ends that ends with its period; None for another."""
    if subscription.get("cancel_at_period_end") is not True:
        return None
    ends = [item.end for item in _items(subscription) if item.end]
    return max(ends, default=None)


def _items(subscription: Object) -> tuple[Item, ...]:
    start, end = subscription.get("current_period_start"), subscription.get("current_period_end")
    return tuple(
        Item(
            id=id_of(item.get("id")),
            price=price_of(item),
            quantity=quantity_of(item),
            interval=interval_of(item),
            start=time_of(item.get("current_period_start") or start),
            end=time_of(item.get("current_period_end") or end),
        )
        for item in objects(subscription, "items", "data")
    )


def quantity_of(thing: Object) -> int:
    """The quantity of an item or a line; 1 if it has none.

    Raises:
        MalformedEvent: it is not a number of seats.
    """
    value = thing.get("quantity")
    if value is None:
        return 1
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_SEATS:
        raise MalformedEvent(value, f"a quantity from 0 to {MOST_SEATS}")
    return value


def interval_of(thing: Object) -> Interval | None:
    """The billing interval of an item's or a line's price; None if the object does not contain the price.

    Raises:
        MalformedEvent: the interval is unknown.
    """
    recurring = get(thing, "price", "recurring") or get(thing, "plan")
    if not isinstance(recurring, dict) or recurring.get("interval") is None:
        return None
    known = UNITS.get(recurring["interval"]) if isinstance(recurring["interval"], str) else None
    count = recurring.get("interval_count", 1)
    if known is None:
        raise MalformedEvent(recurring["interval"], "day, week, month or year")
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST_INTERVALS:
        raise MalformedEvent(count, f"a number of intervals from 1 to {MOST_INTERVALS}")
    return Interval(known[0], count * known[1])


def _previous(old: Any) -> dict[str, Any]:
    """The values before an update that the snapshot has fields for. What is malformed is left out: it only orders."""
    if not isinstance(old, dict):
        return {}
    try:
        found: dict[str, Any] = {
            "status": old.get("status"),
            "latest_invoice": id_of(old.get("latest_invoice")),
            "trial_end": time_of(old.get("trial_end")),
            "anchor": time_of(old.get("billing_cycle_anchor")),
            "plan": metadata(old).get("plan"),
            "customer": metadata(old).get("customer"),
        }
        if "items" in old:
            found["items"] = _items(old)
        waited = _waited(old)
    except (MalformedEvent, TypeError, ValueError):
        return {}
    return {**{name: value for name, value in found.items() if value}, **waited}


def _waited(old: Object) -> dict[str, Any]:
    """What waited before an update, of that which the update changed; None and empty if nothing did."""
    found: dict[str, Any] = {}
    if "schedule" in old:
        found["schedule"] = id_of(old["schedule"])
    if "pending_update" in old:
        found["pending"] = _pending(old)
    if "cancel_at" in old:
        found["cancel_at"] = time_of(old["cancel_at"])
    return found


# --- schedules: the changes that wait for the end of a period


def schedule_changed(app: App, event: Event, schedule: Object) -> Iterator[AnyFact]:
    """The schedule, as a fact of its subscription.

    Raises:
        NotOurs: it has none yet.
    """
    subscription = id_of(schedule.get("subscription")) or id_of(schedule.get("released_subscription"))
    if subscription is None:
        raise NotOurs("the schedule has no subscription")
    yield PlanReported(
        app=app.slug,
        provider=event.provider,
        event_id=event.event_id,
        subscription=subscription,
        fact=Schedule(
            key=event.event_id,
            schedule=own_id(schedule),
            at=created(event),
            phases=tuple(_phases(schedule)),
            before=tuple(_phases(get(event.payload, "data", "previous_attributes"))),
            is_over=schedule.get("status") not in RUNNING,
        ),
    )


def _phases(schedule: Object) -> Iterator[Phase]:
    for phase in objects(schedule, "phases"):
        start = time_of(get(phase, "start_date"))
        if start:
            items = (Item(id=None, price=price_of(one), quantity=quantity_of(one)) for one in objects(phase, "items"))
            yield Phase(start, tuple(items))
