"""Changes of subscriptions at Stripe, as plain calls. What they change is reported by Stripe's webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from jobs.providers.stripe import client
from jobs.providers.stripe.objects import Object, get, objects
from models.catalog.apps import App
from models.errors import ProviderRefused

# An item that an update sets: `{"id", "price", "quantity"}`.
Item = dict[str, Any]


def retrieve(app: App, subscription_id: str) -> Object:
    """The subscription as Stripe has it now.

    Raises:
        ProviderAway, ProviderRefused.
    """
    return client.call(app, lambda v1: v1.subscriptions.retrieve(subscription_id))


def items_of(subscription: Object) -> list[Object]:
    """The items, each with its price."""
    return objects(subscription, "items", "data")


def cancel_now(app: App, subscription_id: str) -> None:
    """End the subscription. One that has ended stays ended.

    Raises:
        ProviderAway, ProviderRefused.
    """
    try:
        client.call(app, lambda v1: v1.subscriptions.cancel(subscription_id))
    except ProviderRefused as refusal:
        if refusal.code != "resource_missing":
            raise


def cancel_at_period_end(app: App, subscription_id: str) -> None:
    """Let the subscription end with its period. Raises ProviderAway, ProviderRefused."""
    client.call(app, lambda v1: v1.subscriptions.update(subscription_id, {"cancel_at_period_end": True}))


def keep(app: App, subscription: Object) -> None:
    """Undo a cancellation that has not come yet. Raises ProviderAway, ProviderRefused."""
    by_period = subscription.get("cancel_at_period_end") is True
    params: Any = {"cancel_at_period_end": False} if by_period else {"cancel_at": ""}
    client.call(app, lambda v1: v1.subscriptions.update(subscription["id"], params))


def release(app: App, schedule_id: str) -> None:
    """Drop the changes that a schedule has for later. Raises ProviderAway, ProviderRefused."""
    client.call(app, lambda v1: v1.subscription_schedules.release(schedule_id))


def change_now(app: App, subscription: Object, item: Item, *, now: datetime) -> None:
    """Change an item, billed at once; it waits until that bill is paid. Repeating the call is safe.

    The idempotency key holds for a minute, so that requests at the same time are one, and a card that was replaced
    after a refusal is tried.

    Raises:
        ProviderAway, ProviderRefused.
    """
    state = [subscription.get("latest_invoice"), *((it["id"], it.get("quantity")) for it in items_of(subscription))]
    minute = int(now.timestamp()) // 60
    key = client.idempotency_key("change", app.slug, subscription["id"], item["price"], item["quantity"], state, minute)
    params: Any = {
        "items": [item],
        "proration_behavior": "always_invoice",
        "payment_behavior": "pending_if_incomplete",
    }
    client.call(app, lambda v1: v1.subscriptions.update(subscription["id"], params, {"idempotency_key": key}))


def change_at_period_end(app: App, subscription: Object, item: Item, interval: tuple[str, int]) -> None:
    """Change an item when the present period ends, by a schedule. Repeating the call is safe.

    Raises:
        ProviderAway, ProviderRefused.
    """
    schedule = _schedule(app, subscription)
    started = get(schedule, "current_phase", "start_date")
    present = next(phase for phase in objects(schedule, "phases") if phase.get("start_date") == started)
    kept = [{"price": it["price"]["id"], "quantity": it.get("quantity", 1)} for it in items_of(subscription)]
    wanted = [
        {"price": item["price"], "quantity": item["quantity"]} if it["id"] == item["id"] else one
        for it, one in zip(items_of(subscription), kept, strict=True)
    ]
    first: dict[str, Any] = {"items": kept, "start_date": started, "end_date": present["end_date"]}
    if present.get("trial_end"):
        first["trial_end"] = present["trial_end"]
    unit, count = interval
    following = {
        "items": wanted,
        "duration": {"interval": unit, "interval_count": count},
        "proration_behavior": "none",
    }
    params: Any = {"phases": [first, following], "end_behavior": "release", "proration_behavior": "none"}
    client.call(app, lambda v1: v1.subscription_schedules.update(schedule["id"], params))


def _schedule(app: App, subscription: Object) -> Object:
    """The schedule of the subscription, created if it has none."""
    known = subscription.get("schedule")
    if not known:
        params: Any = {"from_subscription": subscription["id"]}
        try:
            return client.call(app, lambda v1: v1.subscription_schedules.create(params))
        except ProviderRefused:  # a request at the same time may have created it
            known = retrieve(app, subscription["id"]).get("schedule")
            if not known:
                raise
    id_ = known["id"] if isinstance(known, dict) else known
    return client.call(app, lambda v1: v1.subscription_schedules.retrieve(id_))


def preview(app: App, subscription: Object, items: Sequence[Item], proration: str) -> Object:
    """The invoice of a change of items: with `always_invoice` the one at once, with `none` the next one.

    Raises:
        ProviderAway, ProviderRefused.
    """
    details = {"items": list(items), "proration_behavior": proration}
    params: Any = {"subscription": subscription["id"], "subscription_details": details}
    return client.call(app, lambda v1: v1.invoices.create_preview(params))
