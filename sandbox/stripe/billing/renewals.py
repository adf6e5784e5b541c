"""What falls due by the clock for Stripe's subscriptions: renewals, ends, trials, pauses, phases, pending updates."""

from __future__ import annotations

import copy

from sandbox.store.account import Account
from sandbox.store.store import Thing
from sandbox.stripe.billing import items, lines, schedules, subscriptions, updates
from sandbox.stripe.billing.items import items_of

NOTICE_SECONDS = 3 * 86400


def due_at(subscription: Thing) -> int | None:
    """When something falls due next; None for a subscription that has ended or is paused."""
    if subscription["status"] not in subscriptions.RUNNING:
        return None
    times = (
        items.next_end(subscription),
        subscription["cancel_at"],
        _resumes_at(subscription),
        _expires_at(subscription),
        subscription.get("_phase_ends"),
        _notice_at(subscription),
    )
    return min(at for at in times if at is not None)


def _resumes_at(subscription: Thing) -> int | None:
    at: int | None = (subscription["pause_collection"] or {}).get("resumes_at")
    return at


def _notice_at(subscription: Thing) -> int | None:
    """When the end of a trial is announced: three days before; None if it has been."""
    ends_at: int | None = subscription["trial_end"]
    if subscription["status"] != "trialing" or ends_at is None or subscription.get("_announced") == ends_at:
        return None
    return max(int(subscription["trial_start"]), ends_at - NOTICE_SECONDS)


def _announce(account: Account, subscription: Thing) -> None:
    subscription["_announced"] = subscription["trial_end"]
    account.emit("customer.subscription.trial_will_end", account.save(subscription))


def _expires_at(subscription: Thing) -> int | None:
    at: int | None = (subscription["pending_update"] or {}).get("expires_at")
    return at


def step(account: Account, subscription: Thing) -> None:
    """Process the first thing that is due at the account's time. Does nothing if nothing is due."""
    now = account.now
    if _is_due(_expires_at(subscription), now):
        updates.expire_pending(account, subscription)
    elif _is_due(_notice_at(subscription), now):
        _announce(account, subscription)
    elif _is_due(_resumes_at(subscription), now):
        subscriptions.pause(account, subscription, None)
    elif _is_due(subscription["cancel_at"], now):
        schedules.cancel_of(account, subscription)
        subscriptions.end(account, subscription)
    elif _is_due(subscription.get("_phase_ends"), now):
        schedules.enter_next_phase(account, subscription)
    elif _is_due(items.next_end(subscription), now):
        _renew(account, subscription)


def _is_due(at: int | None, now: int) -> bool:
    return at is not None and at <= now


def _renew(account: Account, subscription: Thing) -> None:
    """Start the next period of the items whose period has ended, and bill them."""
    updates.withdraw_pending(account, subscription)
    before = subscription.pop("_before", None) or copy.deepcopy(subscription)
    if subscription["status"] == "trialing" and not _survives_trial(account, subscription, before):
        return
    due = [item for item in items_of(subscription) if item["current_period_end"] <= account.now]
    for item in due:
        items.enter_next(item, subscription["billing_cycle_anchor"])
    if subscription["status"] == "trialing":
        subscription["status"] = "active"
    whole = [lines.of_period(subscription, item) for item in due]
    updates.bill(account, subscription, "subscription_cycle", whole, before)


def _survives_trial(account: Account, subscription: Thing, before: Thing) -> bool:
    """Whether the subscription continues after its trial; without a card, `trial_settings` may pause or end it."""
    way = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    if subscription["_has_card"] or way == "create_invoice":
        return True
    if way == "cancel":
        subscriptions.end(account, subscription, "payment_failed")
        return False
    subscription["status"] = "paused"
    account.emit("customer.subscription.paused", account.save(subscription))
    account.emit("customer.subscription.updated", subscription, before)
    return False


def resume(account: Account, subscription: Thing) -> Thing:
    """Resume a subscription with the status `paused`: its first period starts now. The state was checked before."""
    before = copy.deepcopy(subscription)
    subscription.update(status="active", billing_cycle_anchor=account.now, _has_card=True)
    for item in items_of(subscription):
        items.enter(item, account.now, 0)
    account.emit("customer.subscription.resumed", account.save(subscription))
    whole = [lines.of_period(subscription, item) for item in items_of(subscription)]
    updates.bill(account, subscription, "subscription_update", whole, before)
    return subscription
