"""Stripe's billing of subscriptions: each period by the sandbox's clock, and what becomes of an invoice not paid."""

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
    """One period has ended: end the subscription, or bill the next period."""
    if subscription["cancel_at_period_end"]:
        subscriptions.end(account, subscription)
        return
    previous = {"status": subscription["status"], "latest_invoice": subscription["latest_invoice"]}
    subscriptions.enter_next_period(subscription)
    if subscription["status"] == "trialing":
        subscription["status"] = "active"
    bill(account, subscription, "subscription_cycle", [stripe_lines.of_period(subscription)], previous)


def bill(account: Account, subscription: Thing, reason: str, lines: list[Thing], previous: Thing) -> None:
    """Invoice the lines, after the prorations that wait, and collect the money. `previous` is how the subscription was
    before that: the event has what is another now.
    """
    invoice = invoices.create(account, subscription, reason, [*subscription.pop("_prorations", []), *lines])
    if subscription["pause_collection"]:
        _do_not_collect(account, invoice, subscription["pause_collection"]["behavior"])
        _tell_changed(account, subscription, previous)
    elif invoice["amount_due"] and subscription.pop("_fail_next", False):
        subscription["status"] = "past_due"
        invoices.fail(account, invoice)
        _tell_changed(account, subscription, previous)
    else:
        subscription["status"] = "active"
        _tell_changed(account, subscription, previous)
        invoices.pay(account, invoice)


def _tell_changed(account: Account, subscription: Thing, previous: Thing) -> None:
    others = {name: value for name, value in previous.items() if subscription[name] != value}
    account.emit("customer.subscription.updated", account.save(subscription), others)


def _do_not_collect(account: Account, invoice: Thing, behavior: str) -> None:
    if behavior == "void":
        invoices.void(account, invoice)
    elif behavior == "mark_uncollectible":
        invoices.mark_uncollectible(account, invoice, "subscription_paused")
    else:
        invoices.keep_as_draft(account, invoice)


# --- invoices that were not paid at once


def pay_open_invoice(account: Account, invoice: Thing) -> Thing:
    """The buyer pays what was open: the subscription is active again."""
    invoices.pay(account, invoice)
    _owes_nothing(account, _subscription_of(account, invoice))
    return invoice


def void_invoice(account: Account, invoice: Thing) -> Thing:
    """The seller wants the money no more: the subscription is active again, if it was its latest invoice."""
    invoices.void(account, invoice)
    return _give_up(account, invoice)


def mark_uncollectible(account: Account, invoice: Thing) -> Thing:
    """The seller expects the money no more: the subscription is active again, if it was its latest invoice."""
    invoices.mark_uncollectible(account, invoice)
    return _give_up(account, invoice)


def _give_up(account: Account, invoice: Thing) -> Thing:
    subscription = _subscription_of(account, invoice)
    if subscription["latest_invoice"] == invoice["id"]:
        _owes_nothing(account, subscription)
    return invoice


def _subscription_of(account: Account, invoice: Thing) -> Thing:
    return account.need("subscription", invoice["parent"]["subscription_details"]["subscription"])


def _owes_nothing(account: Account, subscription: Thing) -> None:
    if subscription["status"] == "past_due":
        subscriptions.change(account, subscription, status="active")
