"""Previews of Stripe's invoices: what a subscription's next invoice will be, or the invoice of a change."""

from __future__ import annotations

from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe.billing import invoices, items, lines, schedules
from sandbox.stripe.billing.changes import Update, compute


def create(account: Account, subscription: Thing, wanted: Update | None) -> Thing:
    """The invoice that the update creates at once, or else the next one. Saves nothing. Raises Refused."""
    if subscription["status"] in ("canceled", "paused"):
        raise _none(subscription)
    waiting = list(subscription.get("_prorations", []))
    after, is_update = subscription, False
    if wanted:
        change = compute(account, subscription, wanted)
        after, is_update = change.after, change.bills
        waiting += change.lines
    if not is_update:
        waiting += _next_period(account, after)
    invoice = invoices.draft(account, after, "subscription_update" if is_update else "upcoming", waiting)
    at = account.now if is_update else items.next_end(after)
    left = min(0, invoice["starting_balance"] + invoice["total"])
    invoice.update(
        id=f"upcoming_{invoice['id']}",
        created=at,
        ending_balance=left,
        next_payment_attempt=at,
        period_start=items.first_of(subscription)["current_period_start"],
        period_end=at,
    )
    return invoice


def _next_period(account: Account, subscription: Thing) -> list[Thing]:
    """The lines of the items whose period ends first. Raises Refused if the subscription ends before."""
    at, ends = items.next_end(subscription), subscription["cancel_at"]
    if ends is not None and ends <= at:
        if subscription.get("_prorations"):
            return []
        raise _none(subscription)
    future = schedules.at_next_renewal(account, subscription)
    due = [item for item in items.items_of(future) if item["current_period_end"] == at]
    for item in due:
        items.enter_next(item, future["billing_cycle_anchor"])
    return [lines.of_period(future, item) for item in due]


def _none(subscription: Thing) -> Refused:
    message = f"No upcoming invoices for customer: {subscription['customer']}"
    return Refused(message, status=404, code="invoice_upcoming_none")
