"""Applies changes of a subscription and bills them: at once, or when the invoice of the change has been paid."""

from __future__ import annotations

import copy

from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe.billing import collection, invoices
from sandbox.stripe.billing.changes import Change, Update, compute

BEHAVIORS = ("allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete")
PENDING_SECONDS = 23 * 3600
# What a paid pending update changes.
UPDATED = ("items", "billing_cycle_anchor", "trial_start", "trial_end", "cancel_at", "metadata")


def update(account: Account, subscription: Thing, wanted: Update, behavior: str = "allow_incomplete") -> Thing:
    """Update the subscription; `behavior` is Stripe's payment_behavior. Raises Refused."""
    if behavior not in BEHAVIORS:
        raise Refused(f"Invalid payment_behavior: must be one of {', '.join(BEHAVIORS)}", param="payment_behavior")
    change = compute(account, subscription, wanted)
    withdraw_pending(account, subscription)
    if change.bills and behavior == "pending_if_incomplete":
        return _apply_when_paid(account, subscription, change)
    before = copy.deepcopy(subscription)
    subscription.update(without_pending(change.after))
    if change.bills:
        bill(account, subscription, "subscription_update", change.lines, before, behavior)
    else:
        if change.lines:
            subscription["_prorations"] = [*subscription.get("_prorations", []), *change.lines]
        account.save(subscription)
        account.emit_if_changed("customer.subscription.updated", subscription, before)
    return subscription


def without_pending(after: Thing) -> Thing:
    """The state without a pending update."""
    return {**{name: value for name, value in after.items() if name != "_pending"}, "pending_update": None}


def bill(
    account: Account,
    subscription: Thing,
    reason: str,
    billed: list[Thing],
    before: Thing,
    behavior: str = "allow_incomplete",
) -> Thing:
    """Create an invoice of the pending prorations and the lines, and collect it according to the subscription.

    `before`: the subscription before the change. Returns the invoice.
    """
    invoice = invoices.create(account, subscription, reason, [*subscription.pop("_prorations", []), *billed])
    if subscription["pause_collection"]:
        _do_not_collect(account, invoice, subscription["pause_collection"]["behavior"])
        account.emit_if_changed("customer.subscription.updated", account.save(subscription), before)
        return invoice
    invoices.finalize(account, invoice)
    is_trial = subscription["status"] == "trialing"
    declined = bool(invoice["amount_due"]) and _declines(account, subscription, behavior)
    waits = bool(invoice["amount_due"]) and behavior == "default_incomplete"
    if declined or waits:
        subscription["status"] = "past_due"
        if not waits:
            collection.fail(account, invoice)
        account.emit_if_changed("customer.subscription.updated", account.save(subscription), before)
        return invoice
    subscription["status"] = "trialing" if is_trial else "active"
    account.emit_if_changed("customer.subscription.updated", account.save(subscription), before)
    return collection.pay(account, invoice)


def bill_last(account: Account, subscription: Thing) -> None:
    """Bill the prorations that wait, if there are any, before the subscription ends. The status does not change."""
    waiting = subscription.pop("_prorations", [])
    if not waiting:
        return
    invoice = invoices.finalize(account, invoices.create(account, subscription, "manual", waiting))
    if invoice["amount_due"] and _declines(account, subscription, "allow_incomplete"):
        collection.fail(account, invoice)
    else:
        collection.pay(account, invoice)


def _declines(account: Account, subscription: Thing, behavior: str) -> bool:
    """Whether the card is declined now. Raises Refused if the update is not to be made then."""
    if behavior == "default_incomplete" or not subscription.pop("_fail_next", False):
        return False
    account.save(subscription)
    if behavior == "error_if_incomplete":
        raise Refused("Your card was declined.", status=402, code="card_declined")
    return True


def _do_not_collect(account: Account, invoice: Thing, behavior: str) -> None:
    if behavior == "keep_as_draft":
        invoice["auto_advance"] = False
        account.save(invoice)
        return
    invoices.finalize(account, invoice)
    if behavior == "void":
        collection.void(account, invoice)
    else:
        collection.mark_uncollectible(account, invoice, "subscription_paused")


# --- updates that wait for their payment


def _apply_when_paid(account: Account, subscription: Thing, change: Change) -> Thing:
    """Bill the change. The subscription changes when that invoice has been paid; until then it has `pending_update`."""
    before = copy.deepcopy(subscription)
    waiting = [*subscription.pop("_prorations", []), *change.lines]
    invoice = invoices.finalize(account, invoices.create(account, subscription, "subscription_update", waiting))
    invoices.note_billed(change.after, invoice)
    if invoice["amount_due"] and _declines(account, subscription, "pending_if_incomplete"):
        collection.fail(account, invoice)
        subscription["pending_update"] = _shown(account, subscription, change.after)
        subscription["_pending"] = {"invoice": invoice["id"], **{name: change.after[name] for name in UPDATED}}
        account.emit("customer.subscription.updated", account.save(subscription), before)
        return subscription
    latest = subscription["latest_invoice"]
    subscription.update({**without_pending(change.after), "latest_invoice": latest})
    subscription.pop("_prorations", None)
    subscription["status"] = "active" if subscription["status"] == "past_due" else subscription["status"]
    account.emit("customer.subscription.updated", account.save(subscription), before)
    collection.pay(account, invoice)
    return subscription


def _shown(account: Account, subscription: Thing, after: Thing) -> Thing:
    is_moved = after["billing_cycle_anchor"] != subscription["billing_cycle_anchor"]
    is_trial = after["trial_end"] != subscription["trial_end"]
    return {
        "billing_cycle_anchor": after["billing_cycle_anchor"] if is_moved else None,
        "expires_at": account.now + PENDING_SECONDS,
        "subscription_items": after["items"]["data"],
        "trial_end": after["trial_end"] if is_trial else None,
        "trial_from_plan": None,
    }


def apply_pending(account: Account, subscription: Thing) -> None:
    """Apply the pending update: its invoice has been paid."""
    before = copy.deepcopy(subscription)
    pending = subscription.pop("_pending")
    subscription.update({name: pending[name] for name in UPDATED}, pending_update=None)
    if subscription["trial_end"] and subscription["trial_end"] <= account.now:
        subscription["status"] = "active"
    account.emit("customer.subscription.updated", account.save(subscription), before)
    account.emit("customer.subscription.pending_update_applied", subscription)


def expire_pending(account: Account, subscription: Thing) -> None:
    """Expire the pending update: its invoice is voided, and the subscription stays as it is."""
    before = copy.deepcopy(subscription)
    invoice = account.need("invoice", subscription.pop("_pending")["invoice"])
    subscription["pending_update"] = None
    account.save(subscription)
    if invoice["status"] in invoices.UNPAID:
        collection.void(account, invoice)
    account.emit("customer.subscription.pending_update_expired", subscription)
    account.emit("customer.subscription.updated", subscription, before)


def withdraw_pending(account: Account, subscription: Thing) -> None:
    """Void the invoice of a pending update, if there is one: another update replaces it."""
    if subscription.get("_pending"):
        expire_pending(account, subscription)
