"""Requests to change subscriptions at their provider: cancel, resume, change the plan or its quantity.

Nothing is stored here: Stripe is asked, outside of any transaction, and its webhook reports what changed. Each request
looks at the subscription at Stripe first, so that a repetition finds it done and does nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobs.plans import plan_changes
from jobs.plans.plan_changes import Change
from jobs.providers.stripe.billing import changes
from jobs.providers.stripe.objects import Object, id_of
from models import database
from models.catalog.apps import App
from models.errors import Conflict
from models.plans import listing
from models.plans.facts import ENDED, PAYING

PROVIDER = "stripe"


def cancel(app: App, subscription_id: int, at: str, *, now: datetime) -> dict[str, Any]:
    """End the subscription `now`, or at the `period_end`. Returns it as it is stored.

    Raises:
        NotFound: the app has no such subscription.
        Conflict: it has ended, or is not at Stripe.
        ProviderAway, ProviderRefused.
    """
    row = _running(app, subscription_id, now)
    fresh = _fresh(app, row)
    if fresh["status"] not in ENDED:
        if at == "now":
            changes.cancel_now(app, fresh["id"])
        elif fresh.get("cancel_at_period_end") is not True:
            _release(app, fresh)  # Stripe does not cancel a subscription with a schedule
            changes.cancel_at_period_end(app, fresh["id"])
    return listing.to_json(row, now)


def resume(app: App, subscription_id: int, *, now: datetime) -> dict[str, Any]:
    """Undo a cancellation that has not come yet. Returns the subscription as it is stored.

    Raises:
        NotFound: the app has no such subscription.
        Conflict: it has ended, is not to end, or is not at Stripe.
        ProviderAway, ProviderRefused.
    """
    row = _running(app, subscription_id, now)
    fresh = _fresh(app, row)
    if fresh["status"] in ENDED:
        raise Conflict(f"subscription {subscription_id} has ended; start a new one with a checkout")
    if fresh.get("cancel_at_period_end") is True or fresh.get("cancel_at"):
        changes.keep(app, fresh)
    elif row.cancel_at is None:
        raise Conflict(f"subscription {subscription_id} is not to end: there is nothing to resume")
    return listing.to_json(row, now)


def change(app: App, subscription_id: int, plan: str, quantity: int | None, *, now: datetime) -> dict[str, Any]:
    """Change the plan or its quantity. Returns the subscription as it is stored.

    More units in total are billed at once, and wait until that is paid. Otherwise the change comes when the present
    period ends. A change to what the subscription has drops one that was to come.

    Raises:
        NotFound: the app has no such subscription.
        Invalid: the catalog has no such plan, or the plan no price that fits the subscription.
        Conflict: it is so already, or its state does not allow it.
        ProviderAway, ProviderRefused.
    """
    row, fresh, wanted = _change(app, subscription_id, plan, quantity, now)
    if wanted.is_same:
        if not _release(app, fresh) and _has(row, wanted):
            raise Conflict(f"subscription {subscription_id} has {wanted.quantity} × {plan!r} already")
    elif not wanted.is_upwards:
        changes.change_at_period_end(app, fresh, wanted.item, wanted.interval)
    elif not _waits(fresh, wanted):
        _release(app, fresh)
        changes.change_now(app, fresh, wanted.item, now=now)
    return listing.to_json(row, now)


def preview(app: App, subscription_id: int, plan: str, quantity: int | None, *, now: datetime) -> dict[str, Any]:
    """What a change would cost and grant: now, and at the renewal. Changes nothing.

    Raises:
        as `change`.
    """
    row, fresh, wanted = _change(app, subscription_id, plan, quantity, now)
    if wanted.is_same:
        raise Conflict(f"subscription {subscription_id} has {wanted.quantity} × {plan!r} already")
    return plan_changes.preview(app, row, fresh, wanted, now=now)


def _change(
    app: App, subscription_id: int, plan: str, quantity: int | None, now: datetime
) -> tuple[Any, Object, Change]:
    """The stored row, the subscription at Stripe, and the change. Raises Conflict, Invalid."""
    row = _running(app, subscription_id, now)
    plan_changes.check_plan(app, plan)
    fresh = _fresh(app, row)
    if fresh["status"] not in PAYING:
        raise Conflict(f"subscription {subscription_id} is {fresh['status']}: only a paid one can be changed")
    if fresh.get("pause_collection"):
        raise Conflict(f"subscription {subscription_id} is paused: end the pause first")
    if fresh.get("cancel_at"):
        raise Conflict(f"subscription {subscription_id} is to end: resume it first")
    return row, fresh, plan_changes.change(app, fresh, plan, quantity)


def _running(app: App, subscription_id: int, now: datetime) -> Any:
    """The row of a subscription at Stripe that has not ended."""
    row = listing.find(app.slug, subscription_id)
    if row.status in ENDED or (row.ended_at and row.ended_at <= now):
        raise Conflict(f"subscription {subscription_id} has ended; start a new one with a checkout")
    if row.provider != PROVIDER:
        raise Conflict(f"subscription {subscription_id} is at {row.provider}: it is changed there")
    return row


def _fresh(app: App, row: Any) -> Object:
    database.release()
    return changes.retrieve(app, row.provider_id)


def _release(app: App, fresh: Object) -> bool:
    """Drop a change that was to come at the end of the period. Returns whether there was one."""
    schedule = id_of(fresh.get("schedule"))
    if schedule:
        changes.release(app, schedule)
    return schedule is not None


def _has(row: Any, wanted: Change) -> bool:
    """Whether the stored row knows of what the subscription has at Stripe."""
    return any(one["plan"] == wanted.plan.key and one["quantity"] == wanted.quantity for one in row.items)


def _waits(fresh: Object, wanted: Change) -> bool:
    """Whether the change waits for its payment already."""
    pending = (fresh.get("pending_update") or {}).get("subscription_items") or []
    return any(
        it["id"] == wanted.item["id"]
        and (it["price"]["id"], it.get("quantity", 1)) == (wanted.item["price"], wanted.quantity)
        for it in pending
    )
