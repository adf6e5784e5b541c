"""Stripe's subscriptions: created by a checkout, then paused, canceled and ended, with the events of each."""

from __future__ import annotations

import copy
from typing import Any

from sandbox.store.account import Account, Refused, new_id
from sandbox.store.store import Thing
from sandbox.stripe import customers
from sandbox.stripe.billing import collection, invoices, items, lines

RUNNING = ("active", "trialing", "past_due")
# Stripe's `pause_collection[behavior]`: what happens to invoices during a pause.
PAUSES = ("void", "mark_uncollectible", "keep_as_draft")
# The fields of a new subscription without a value.
EMPTY = (
    *("application", "billing_thresholds", "cancel_at", "canceled_at", "days_until_due", "default_payment_method"),
    *("default_source", "description", "ended_at", "latest_invoice", "next_pending_invoice_item_invoice"),
    *("on_behalf_of", "pause_collection", "pending_setup_intent", "pending_update", "schedule", "test_clock"),
    "transfer_data",
)
NO_DETAILS = {"comment": None, "feedback": None, "reason": None}


def begin(account: Account, session: Thing) -> Thing:
    """Create the subscription of a paid session, with its first invoice."""
    customer = customers.of_session(account, session)
    subscription = _new(account, session, customer["id"])
    session.update(customer=customer["id"], subscription=subscription["id"])
    account.save(subscription)
    invoice = invoices.create(
        *(account, subscription, "subscription_create", _first_lines(account, session, subscription)),
        discount_minor=0 if session["_trial_days"] else session["total_details"]["amount_discount"],
    )
    account.emit("customer.subscription.created", subscription)  # which names its first invoice
    collection.pay(account, invoices.finalize(account, invoice))
    session["invoice"] = invoice["id"]
    return subscription


def _first_lines(account: Account, session: Thing, subscription: Thing) -> list[Thing]:
    line_of = lines.of_trial if session["_trial_days"] else lines.of_period
    recurring = [line_of(subscription, item) for item in items.items_of(subscription)]
    once = [line for line in session["_lines"] if line["price"]["type"] == "one_time"]
    return [*recurring, *(lines.sold_once(line, subscription, account.now) for line in once)]


def _new(account: Account, session: Thing, customer: str) -> Thing:
    id_, trial_seconds = new_id("sub"), session["_trial_days"] * 86400
    anchor = account.now + trial_seconds
    sold = [line for line in session["_lines"] if line["price"]["type"] == "recurring"]
    return {
        "id": id_,
        "object": "subscription",
        "automatic_tax": {"enabled": session["automatic_tax"]["enabled"], "disabled_reason": None, "liability": None},
        "billing_cycle_anchor": anchor,
        "cancel_at_period_end": False,
        "cancellation_details": dict(NO_DETAILS),
        "collection_method": "charge_automatically",
        "created": account.now,
        "currency": session["currency"],
        "customer": customer,
        "discounts": [],
        "items": items.listed(id_, [_item(account, id_, line, anchor) for line in sold]),
        "livemode": False,
        "metadata": session["_subscription_metadata"],
        "start_date": account.now,
        "status": "trialing" if trial_seconds else "active",
        "trial_end": anchor if trial_seconds else None,
        "trial_settings": {"end_behavior": {"missing_payment_method": session["_at_trial_end"]}},
        "trial_start": account.now if trial_seconds else None,
        **dict.fromkeys(EMPTY),
        "_has_card": session["payment_method_collection"] == "always" or not trial_seconds,
    }


def _item(account: Account, subscription_id: str, line: Thing, anchor: int) -> Thing:
    item = items.new(account, subscription_id, line["price"], line["quantity"])
    if anchor > account.now:
        items.enter_trial(item, account.now, anchor)
    else:
        items.enter(item, anchor, 0)
    return item


# --- the life of a subscription


def end(account: Account, subscription: Thing, reason: str = "cancellation_requested") -> Thing:
    """End the subscription now. Raises Refused if it has ended."""
    if subscription["status"] == "canceled":
        raise Refused(f"No such subscription: '{subscription['id']}'", status=404, code="resource_missing", param="id")
    subscription.update(
        status="canceled",
        ended_at=account.now,
        canceled_at=subscription["canceled_at"] or account.now,
        pending_update=None,
        schedule=None,
    )
    details = subscription["cancellation_details"]
    subscription["cancellation_details"] = {**details, "reason": details["reason"] or reason}
    account.emit("customer.subscription.deleted", account.save(subscription))
    return subscription


def cancel_at_period_end(
    account: Account, subscription: Thing, cancel: bool = True, details: Thing | None = None
) -> Thing:
    """Cancel the subscription at the period's end; with `cancel=False`, undo that. Raises Refused.

    `details`: the comment and the feedback of the customer.
    """
    if subscription["cancel_at_period_end"] == cancel and not details:
        return change(account, subscription)
    return cancel_at(account, subscription, items.last_end(subscription) if cancel else None, details, cancel)


def cancel_at(
    account: Account,
    subscription: Thing,
    at: int | None,
    details: Thing | None = None,
    is_period_end: bool = False,
) -> Thing:
    """Cancel the subscription at a time; None undoes that. Raises Refused."""
    reason = "cancellation_requested" if at else None
    return change(
        account,
        subscription,
        cancel_at_period_end=is_period_end,
        cancel_at=at,
        canceled_at=account.now if at else None,
        cancellation_details={**NO_DETAILS, **(details or {}), "reason": reason},
    )


def pause(account: Account, subscription: Thing, behavior: str | None = "void", resumes_at: int | None = None) -> Thing:
    """Pause collection: `behavior` is one of PAUSES; None resumes. Raises Refused."""
    if behavior is not None and behavior not in PAUSES:
        raise Refused(f"Invalid behavior: must be one of {', '.join(PAUSES)}", param="pause_collection[behavior]")
    paused = {"behavior": behavior, "resumes_at": resumes_at} if behavior else None
    return change(account, subscription, pause_collection=paused)


def fail_next(account: Account, subscription: Thing) -> Thing:
    """Let the card be declined at the next invoice."""
    subscription["_fail_next"] = True
    return account.save(subscription)


def change(account: Account, subscription: Thing, **changes: Any) -> Thing:
    """Set fields of a subscription, and emit an event if one changed. Raises Refused if it has ended."""
    expect_not_ended(subscription)
    before = copy.deepcopy(subscription)
    subscription.update(changes)
    account.save(subscription)
    account.emit_if_changed("customer.subscription.updated", subscription, before)
    return subscription


def expect_not_ended(subscription: Thing) -> None:
    """Raises Refused if the subscription has ended."""
    if subscription["status"] == "canceled":
        raise Refused("A canceled subscription can only update its cancellation_details.")
