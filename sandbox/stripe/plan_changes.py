"""A subscription's price is another from now on, and what that costs or gives back for the rest of the period."""

from __future__ import annotations

from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe import billing, subscriptions
from sandbox.stripe import lines as stripe_lines
from sandbox.stripe.lines import item_of

# Stripe's own where nothing is said.
USUAL = "create_prorations"
PRORATIONS = (USUAL, "always_invoice", "none")
CHANGED_BY_A_BILL = ("status", "latest_invoice", "billing_cycle_anchor")


def change_price(
    account: Account,
    subscription: Thing,
    price: Thing,
    quantity: int,
    proration: str = USUAL,
    *,
    plan: str | None = None,
) -> Thing:
    """Another price, or another quantity of it, from now on; `plan` is what the metadata calls it then. Raises Refused.

    `proration` of the period that runs: "none"; "create_prorations", with the next invoice; "always_invoice", at once.
    A price of another interval begins a period of its own now, and is billed at once.
    """
    _check(subscription, price, proration)
    item = item_of(subscription)
    old = {**item}
    if (price["id"], quantity) == (old["price"]["id"], old["quantity"]):
        return subscription
    previous: Thing = {"items": {"data": [old]}, **{name: subscription[name] for name in CHANGED_BY_A_BILL}}
    if plan and subscription["metadata"].get("plan") != plan:
        previous["metadata"] = {"plan": subscription["metadata"].get("plan")}
        subscription["metadata"] = {**subscription["metadata"], "plan": plan}
    # A trial has cost nothing so far, and goes on.
    is_trial = subscription["status"] == "trialing"
    is_anew = not is_trial and _begins_a_period(old["price"], price)
    is_prorated = not is_trial and proration != "none"
    item.update(price=price, quantity=quantity)
    if is_prorated:
        _prorate(account, subscription, old, is_anew)
    if is_anew:
        _begin_a_period(account, subscription)
        billing.bill(account, subscription, "subscription_update", [stripe_lines.of_period(subscription)], previous)
    elif is_prorated and proration == "always_invoice":
        billing.bill(account, subscription, "subscription_update", [], previous)
    else:
        told = {name: value for name, value in previous.items() if name not in CHANGED_BY_A_BILL}
        account.emit("customer.subscription.updated", account.save(subscription), told)
    return subscription


def _check(subscription: Thing, price: Thing, proration: str) -> None:
    subscriptions.expect_not_ended(subscription)
    if price["type"] != "recurring":
        raise Refused("The price is not a recurring one.", param="items[0][price]")
    if price["currency"] != subscription["currency"]:
        message = f"The price is in {price['currency']}, and the subscription in {subscription['currency']}."
        raise Refused(message, param="items[0][price]")
    if proration not in PRORATIONS:
        message = f"Invalid proration_behavior: must be one of {', '.join(PRORATIONS)}"
        raise Refused(message, param="proration_behavior")


def _begins_a_period(old: Thing, new: Thing) -> bool:
    """As at Stripe: a period of another length, or the first that costs anything."""
    lengths = [(price["recurring"]["interval"], price["recurring"]["interval_count"]) for price in (old, new)]
    return lengths[0] != lengths[1] or (not old["unit_amount"] and bool(new["unit_amount"]))


def _prorate(account: Account, subscription: Thing, old: Thing, is_anew: bool) -> None:
    """Lines for the next invoice: a new period is billed whole, so only the old one's rest is given back for it."""
    rest = [] if is_anew else [stripe_lines.for_rest(account, subscription)]
    lines = [stripe_lines.for_unused(account, subscription, old), *rest]
    subscription.setdefault("_prorations", []).extend(lines)
    subscription["_billed"] = None  # until an invoice charges for the new price


def _begin_a_period(account: Account, subscription: Thing) -> None:
    subscription.update(billing_cycle_anchor=account.now, _next=0)
    subscriptions.enter_next_period(subscription)
    if subscription["cancel_at_period_end"]:
        subscription["cancel_at"] = item_of(subscription)["current_period_end"]
