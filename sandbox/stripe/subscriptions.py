"""Stripe's subscriptions: created by a checkout, then paused, changed and ended, with the events of each."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from models import cycles
from sandbox.store.account import Account, Refused, new_id
from sandbox.store.store import Thing
from sandbox.stripe import invoices, lines
from sandbox.stripe.lines import item_of

RUNNING = ("active", "trialing", "past_due")
# Stripe's `pause_collection[behavior]`: what happens to invoices during a pause.
PAUSES = ("void", "mark_uncollectible", "keep_as_draft")


def begin(account: Account, session: Thing) -> Thing:
    """Create the subscription of a paid session, with its first invoice."""
    customer = _customer(account, session)
    trial_seconds = session["_trial_days"] * 86400
    anchor = account.now + trial_seconds
    subscription = _new(account, session, customer["id"], anchor, bool(trial_seconds))
    account.save(subscription)
    account.emit("customer.subscription.created", subscription)
    session.update(customer=customer["id"], subscription=subscription["id"])
    line = lines.of_period(subscription, 0 if trial_seconds else session["amount_total"])
    invoice = invoices.create(account, subscription, "subscription_create", [line])
    invoices.pay(account, invoice)
    session["invoice"] = invoice["id"]
    return subscription


def _customer(account: Account, session: Thing) -> Thing:
    if session["customer"]:
        return account.need("customer", session["customer"])
    return new_customer(account, {"email": session["customer_details"]["email"]})


def new_customer(account: Account, params: Thing) -> Thing:
    """Create a Stripe customer."""
    customer = {
        "id": new_id("cus"),
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": account.now,
        "currency": None,
        "delinquent": False,
        "description": params.get("description"),
        "email": params.get("email"),
        "invoice_settings": {"custom_fields": None, "default_payment_method": None, "footer": None},
        "livemode": False,
        "metadata": params.get("metadata") or {},
        "name": params.get("name"),
        "phone": None,
        "shipping": None,
    }
    account.emit("customer.created", account.save(customer))
    return customer


def _new(account: Account, session: Thing, customer: str, anchor: int, trial: bool) -> Thing:
    id_ = new_id("sub")
    return {
        "id": id_,
        "object": "subscription",
        "automatic_tax": {"enabled": False, "disabled_reason": None, "liability": None},
        "billing_cycle_anchor": anchor,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": account.now,
        "currency": session["currency"],
        "customer": customer,
        "days_until_due": None,
        "default_payment_method": None,
        "description": None,
        "discounts": [],
        "ended_at": None,
        "items": _items(account, id_, session["_lines"][0], anchor, trial),
        "latest_invoice": None,
        "livemode": False,
        "metadata": session["_subscription_metadata"],
        "pause_collection": None,
        "schedule": None,
        "start_date": account.now,
        "status": "trialing" if trial else "active",
        "trial_end": anchor if trial else None,
        "trial_start": account.now if trial else None,
        "_next": 0 if trial else 1,
    }


def _items(account: Account, id_: str, line: Thing, anchor: int, trial: bool) -> Thing:
    """The list of the subscription's one item, in its first period: the trial, or an interval of the price."""
    item = {
        "id": new_id("si"),
        "object": "subscription_item",
        "created": account.now,
        "current_period_start": account.now,
        "current_period_end": anchor if trial else _start(anchor, line["price"], 1),
        "discounts": [],
        "metadata": {},
        "price": line["price"],
        "quantity": line["quantity"],
        "subscription": id_,
        "tax_rates": [],
    }
    url = f"/v1/subscription_items?subscription={id_}"
    return {"object": "list", "data": [item], "has_more": False, "url": url}


def _start(anchor: int, price: Thing, number: int) -> int:
    """When period `number` starts: the anchor plus `number` intervals; in a shorter month, its last day."""
    first, interval = datetime.fromtimestamp(anchor, timezone.utc), price["recurring"]["interval"]
    count = number * price["recurring"]["interval_count"]
    if interval in ("month", "year"):
        return int(cycles.cycle_start(first, count * (12 if interval == "year" else 1)).timestamp())
    return int((first + timedelta(days=count * (7 if interval == "week" else 1))).timestamp())


# --- the life of a subscription


def enter_next_period(subscription: Thing) -> None:
    """Move the item to its next period, counted from the anchor."""
    item, anchor, number = item_of(subscription), subscription["billing_cycle_anchor"], subscription["_next"]
    item["current_period_start"] = _start(anchor, item["price"], number)
    item["current_period_end"] = _start(anchor, item["price"], number + 1)
    subscription["_next"] = number + 1


def end(account: Account, subscription: Thing) -> Thing:
    """End the subscription now. Raises Refused if it has ended."""
    if subscription["status"] == "canceled":
        raise Refused(f"No such subscription: '{subscription['id']}'", status=404, code="resource_missing", param="id")
    at = item_of(subscription)["current_period_end"] if subscription["cancel_at_period_end"] else account.now
    subscription.update(
        status="canceled", ended_at=min(at, account.now), canceled_at=subscription["canceled_at"] or account.now
    )
    subscription["cancellation_details"]["reason"] = "cancellation_requested"
    account.emit("customer.subscription.deleted", account.save(subscription))
    return subscription


def cancel_at_period_end(account: Account, subscription: Thing, cancel: bool = True) -> Thing:
    """Cancel the subscription at the period's end; with `cancel=False`, undo that. Raises Refused."""
    ends_at = item_of(subscription)["current_period_end"] if cancel else None
    canceled_at = account.now if cancel else None
    return change(account, subscription, cancel_at_period_end=cancel, cancel_at=ends_at, canceled_at=canceled_at)


def pause(account: Account, subscription: Thing, behavior: str | None = "void") -> Thing:
    """Pause collection: `behavior` is one of PAUSES; None resumes. Raises Refused."""
    if behavior is not None and behavior not in PAUSES:
        raise Refused(f"Invalid behavior: must be one of {', '.join(PAUSES)}", param="pause_collection[behavior]")
    return change(account, subscription, pause_collection=behavior and {"behavior": behavior, "resumes_at": None})


def fail_next(account: Account, subscription: Thing) -> Thing:
    """Let the card be declined at the next invoice."""
    subscription["_fail_next"] = True
    return account.save(subscription)


def change(account: Account, subscription: Thing, **changes: object) -> Thing:
    """Set fields of a subscription, and emit an event if one changed. Raises Refused if it has ended."""
    expect_not_ended(subscription)
    previous = {name: subscription[name] for name in changes if subscription[name] != changes[name]}
    subscription.update(changes)
    account.save(subscription)
    if previous:
        account.emit("customer.subscription.updated", subscription, previous)
    return subscription


def expect_not_ended(subscription: Thing) -> None:
    """Raises Refused if the subscription has ended."""
    if subscription["status"] == "canceled":
        raise Refused("A canceled subscription can only update its cancellation_details.")
