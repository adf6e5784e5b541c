"""Unpaid invoices that are resolved: what that does to their subscription."""

from __future__ import annotations

from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe.billing import collection, invoices, subscriptions, updates


class Declined(Refused):
    """The card was declined. What was saved before is kept, as at Stripe."""

    def __init__(self) -> None:
        super().__init__("Your card was declined.", status=402, code="card_declined")


def pay(account: Account, invoice: Thing, *, out_of_band: bool = False) -> Thing:
    """Pay an unpaid invoice. A subscription that was past due becomes active, a pending update is applied.

    Raises Declined if the card is declined, Refused if the invoice is not open.
    """
    invoices.expect(invoice, *invoices.UNPAID)
    subscription = subscription_of(account, invoice)
    if subscription and not out_of_band and invoice["amount_remaining"] and subscription.pop("_fail_next", False):
        account.save(subscription)
        decline(account, invoice)
        raise Declined
    collection.pay(account, invoice, out_of_band=out_of_band)
    return resolve(account, invoice)


def decline(account: Account, invoice: Thing) -> Thing:
    """Decline the card for an unpaid invoice. Raises Refused if it is not unpaid."""
    return collection.fail(account, invoice)


def resolve(account: Account, invoice: Thing) -> Thing:
    """Continue the subscription of an invoice that has been paid."""
    subscription = subscription_of(account, invoice)
    if subscription and _is_pending(subscription, invoice):
        updates.apply_pending(account, subscription)
    elif subscription:
        _reactivate(account, subscription)
    return invoice


def void(account: Account, invoice: Thing) -> Thing:
    """Void an unpaid invoice. If it was the latest one, a past-due subscription becomes active."""
    subscription = subscription_of(account, invoice)
    invoices.expect(invoice, *invoices.UNPAID)
    if subscription and _is_pending(subscription, invoice):
        updates.expire_pending(account, subscription)
        return account.need("invoice", invoice["id"])
    collection.void(account, invoice)
    return _reactivate_if_latest(account, invoice)


def mark_uncollectible(account: Account, invoice: Thing) -> Thing:
    """Mark an open invoice uncollectible. If it was the latest one, a past-due subscription becomes active."""
    collection.mark_uncollectible(account, invoice)
    return _reactivate_if_latest(account, invoice)


def subscription_of(account: Account, invoice: Thing) -> Thing | None:
    """The subscription of an invoice, or None."""
    id_ = invoices.subscription_id_of(invoice)
    return account.need("subscription", id_) if id_ else None


def _is_pending(subscription: Thing, invoice: Thing) -> bool:
    return bool(subscription.get("_pending", {}).get("invoice") == invoice["id"])


def _reactivate_if_latest(account: Account, invoice: Thing) -> Thing:
    subscription = subscription_of(account, invoice)
    if subscription and subscription["latest_invoice"] == invoice["id"]:
        _reactivate(account, subscription)
    return invoice


def _reactivate(account: Account, subscription: Thing) -> None:
    if subscription["status"] == "past_due":
        subscriptions.change(account, subscription, status="active")
