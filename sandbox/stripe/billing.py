"""Stripe's billing of subscriptions: renewals by the sandbox clock, and the resolution of unpaid invoices."""

from __future__ import annotations

from sandbox.store.account import Account
from sandbox.store.store import Thing
from sandbox.stripe import invoices, subscriptions
from sandbox.stripe import lines as stripe_lines
from sandbox.stripe.lines import item_of


def is_due(subscription: Thing, now: int) -> bool:
    """Whether a period of a running subscription has ended by `now`."""
    return subscription["status"] in subscriptions.RUNNING and item_of(subscription)["current_period_end"] <= now


def renew(account: Account, subscription: Thing) -> None:
    """Start the next period of a subscription and bill it, or end the subscription if it is canceled at period end."""
    if subscription["cancel_at_period_end"]:
        subscriptions.end(account, subscription)
        return
    previous = {"status": subscription["status"], "latest_invoice": subscription["latest_invoice"]}
    subscriptions.enter_next_period(subscription)
    if subscription["status"] == "trialing":
        subscription["status"] = "active"
    bill(account, subscription, "subscription_cycle", [stripe_lines.of_period(subscription)], previous)


def bill(account: Account, subscription: Thing, reason: str, lines: list[Thing], previous: Thing) -> None:
    """Create an invoice of the pending prorations and the lines, and collect it according to the subscription.

    `previous` holds the subscription's old values; the event contains those that changed.
    """
    invoice = invoices.create(account, subscription, reason, [*subscription.pop("_prorations", []), *lines])
    if subscription["pause_collection"]:
        _do_not_collect(account, invoice, subscription["pause_collection"]["behavior"])
        _emit_updated(account, subscription, previous)
    elif invoice["amount_due"] and subscription.pop("_fail_next", False):
        subscription["status"] = "past_due"
        invoices.fail(account, invoice)
        _emit_updated(account, subscription, previous)
    else:
        subscription["status"] = "active"
        _emit_updated(account, subscription, previous)
        invoices.pay(account, invoice)


def _emit_updated(account: Account, subscription: Thing, previous: Thing) -> None:
    changed = {name: value for name, value in previous.items() if subscription[name] != value}
    account.emit("customer.subscription.updated", account.save(subscription), changed)


def _do_not_collect(account: Account, invoice: Thing, behavior: str) -> None:
    if behavior == "void":
        invoices.void(account, invoice)
    elif behavior == "mark_uncollectible":
        invoices.mark_uncollectible(account, invoice, "subscription_paused")
    else:
        invoices.keep_as_draft(account, invoice)


# --- unpaid invoices


def pay_open_invoice(account: Account, invoice: Thing) -> Thing:
    """Pay an unpaid invoice. A subscription that was past due becomes active."""
    invoices.pay(account, invoice)
    _reactivate(account, _subscription_of(account, invoice))
    return invoice


def void_invoice(account: Account, invoice: Thing) -> Thing:
    """Void an unpaid invoice. If it was the latest one, a past-due subscription becomes active."""
    invoices.void(account, invoice)
    return _reactivate_if_latest(account, invoice)


def mark_uncollectible(account: Account, invoice: Thing) -> Thing:
    """Mark an open invoice uncollectible. If it was the latest one, a past-due subscription becomes active."""
    invoices.mark_uncollectible(account, invoice)
    return _reactivate_if_latest(account, invoice)


def _reactivate_if_latest(account: Account, invoice: Thing) -> Thing:
    subscription = _subscription_of(account, invoice)
    if subscription["latest_invoice"] == invoice["id"]:
        _reactivate(account, subscription)
    return invoice


def _subscription_of(account: Account, invoice: Thing) -> Thing:
    return account.need("subscription", invoice["parent"]["subscription_details"]["subscription"])


def _reactivate(account: Account, subscription: Thing) -> None:
    if subscription["status"] == "past_due":
        subscriptions.change(account, subscription, status="active")
