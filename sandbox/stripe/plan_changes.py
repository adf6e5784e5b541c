"""Changes of a subscription's price or quantity, and their prorations."""

from __future__ import annotations

from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe import billing, subscriptions
from sandbox.stripe import lines as stripe_lines
from sandbox.stripe.lines import item_of

# Stripe's default.
DEFAULT = "create_prorations"
PRORATIONS = (DEFAULT, "always_invoice", "none")
CHANGED_BY_BILLING = ("status", "latest_invoice", "billing_cycle_anchor")


def change_price(
    account: Account,
    subscription: Thing,
    price: Thing,
    quantity: int,
    proration: str = DEFAULT,
    *,
    plan: str | None = None,
) -> Thing:
    """Change the price or the quantity; with `plan`, the plan in the metadata too. Raises Refused.

    `proration` of the current period: "none"; "create_prorations", on the next invoice; "always_invoice", at once.
    A price with another interval starts a new period, which is billed at once.
    """
    _check(subscription, price, proration)
    item = item_of(subscription)
    old = {**item}
    if (price["id"], quantity) == (old["price"]["id"], old["quantity"]):
        return subscription
    previous: Thing = {"items": {"data": [old]}, **{name: subscription[name] for name in CHANGED_BY_BILLING}}
    if plan and subscription["metadata"].get("plan") != plan:
        previous["metadata"] = {"plan": subscription["metadata"].get("plan")}
        subscription["metadata"] = {**subscription["metadata"], "plan": plan}
    # A trial is free and continues: there is nothing to prorate.
    is_trial = subscription["status"] == "trialing"
    is_new_period = not is_trial and _starts_period(old["price"], price)
    is_prorated = not is_trial and proration != "none"
    item.update(price=price, quantity=quantity)
    if is_prorated:
        _prorate(account, subscription, old, is_new_period)
    if is_new_period:
        _start_period(account, subscription)
        billing.bill(account, subscription, "subscription_update", [stripe_lines.of_period(subscription)], previous)
    elif is_prorated and proration == "always_invoice":
        billing.bill(account, subscription, "subscription_update", [], previous)
    else:
        changed = {name: value for name, value in previous.items() if name not in CHANGED_BY_BILLING}
        account.emit("customer.subscription.updated", account.save(subscription), changed)
    return subscription


def _check(subscription: Thing, price: Thing, proration: str) -> None:
    subscriptions.expect_not_ended(subscription)
    if price["type"] != "recurring":
        raise Refused("The price is not recurring.", param="items[0][price]")
    if price["currency"] != subscription["currency"]:
        message = f"The price is in {price['currency']}, but the subscription is in {subscription['currency']}."
        raise Refused(message, param="items[0][price]")
    if proration not in PRORATIONS:
        message = f"Invalid proration_behavior: must be one of {', '.join(PRORATIONS)}"
        raise Refused(message, param="proration_behavior")


def _starts_period(old: Thing, new: Thing) -> bool:
    """As at Stripe: if the interval changes, or a free subscription gets a price above zero."""
    lengths = [(price["recurring"]["interval"], price["recurring"]["interval_count"]) for price in (old, new)]
    return lengths[0] != lengths[1] or (not old["unit_amount"] and bool(new["unit_amount"]))


def _prorate(account: Account, subscription: Thing, old: Thing, is_new_period: bool) -> None:
    """Add prorations to the next invoice. Before a new period, which is billed in full, only the credit."""
    rest = [] if is_new_period else [stripe_lines.for_rest(account, subscription)]
    lines = [stripe_lines.for_unused(account, subscription, old), *rest]
    subscription.setdefault("_prorations", []).extend(lines)
    subscription["_billed"] = None  # set by the next invoice


def _start_period(account: Account, subscription: Thing) -> None:
    subscription.update(billing_cycle_anchor=account.now, _next=0)
    subscriptions.enter_next_period(subscription)
    if subscription["cancel_at_period_end"]:
        subscription["cancel_at"] = item_of(subscription)["current_period_end"]
