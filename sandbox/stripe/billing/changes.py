"""What an update of a subscription's items, anchor or trial leads to: the new state, and the lines to bill.

`compute` saves nothing, so that a preview, an update that waits for its payment and an update at once share it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe.billing import items, lines, subscriptions
from sandbox.stripe.billing.items import interval_of, items_of

# Stripe's default.
DEFAULT = "create_prorations"
PRORATIONS = (DEFAULT, "always_invoice", "none")


@dataclass(frozen=True)
class ItemChange:
    """The wanted state of one item. `id` None: an item to add; `quantity` 0 with `is_deleted`: one to remove."""

    id: str | None
    price: Thing
    quantity: int
    is_deleted: bool = False
    metadata: Thing | None = None
    param: str = "items[0]"


@dataclass(frozen=True)
class Update:
    """A requested update. `trial_end` and `prorated_at` in seconds; a `trial_end` that has passed ends the trial."""

    items: tuple[ItemChange, ...] = ()
    proration: str = DEFAULT
    prorated_at: int | None = None
    resets_anchor: bool = False
    trial_end: int | None = None
    metadata: Thing | None = None


@dataclass(frozen=True)
class Change:
    """The subscription `after` the update, the lines to bill, and whether an invoice is created at once."""

    after: Thing
    lines: list[Thing] = field(default_factory=list)
    bills: bool = False


Pair = tuple[Thing | None, Thing | None]


def compute(account: Account, subscription: Thing, update: Update) -> Change:
    """What the update leads to. Raises Refused."""
    _check(subscription, update)
    after = copy.deepcopy(subscription)
    if update.metadata is not None:
        after["metadata"] = update.metadata
    pairs = _change_items(account, subscription, after, update)
    at = account.now if update.prorated_at is None else update.prorated_at
    subscription = {**subscription, "metadata": after["metadata"]}  # of the lines that credit the old items
    is_trial = subscription["status"] == "trialing" and subscription["trial_end"] > account.now
    if update.trial_end is not None and update.trial_end > account.now:
        return _start_trial(account, subscription, after, update, at)
    if is_trial and update.trial_end is None and not update.resets_anchor:
        for _, new in pairs:  # a trial is free and continues: there is nothing to prorate
            if new:
                items.enter_trial(new, after["trial_start"], after["trial_end"])
        return Change(after)
    if is_trial or update.resets_anchor or _is_other_interval(subscription, after, pairs):
        return _restart(account, subscription, after, update, at, is_trial)
    return _prorate(subscription, after, update, pairs, at)


def _check(subscription: Thing, update: Update) -> None:
    subscriptions.expect_not_ended(subscription)
    if update.proration not in PRORATIONS:
        message = f"Invalid proration_behavior: must be one of {', '.join(PRORATIONS)}"
        raise Refused(message, param="proration_behavior")
    for changed in update.items:
        if changed.price["type"] != "recurring":
            raise Refused("The price is not recurring.", param=f"{changed.param}[price]")
        if changed.price["currency"] != subscription["currency"]:
            message = (
                f"The price is in {changed.price['currency']}, but the subscription is in {subscription['currency']}."
            )
            raise Refused(message, param=f"{changed.param}[price]")


def _change_items(account: Account, subscription: Thing, after: Thing, update: Update) -> list[Pair]:
    """Change the items of `after`. Returns what changed, as (old item or None, new item or None)."""
    old = {item["id"]: item for item in items_of(subscription)}
    new = {item["id"]: item for item in items_of(after)}
    pairs: list[Pair] = []
    for changed in update.items:
        item = new.get(changed.id or "")
        if item is None:
            item = items.new(account, after["id"], changed.price, changed.quantity, changed.metadata)
            items.enter_period_of(item, after["billing_cycle_anchor"], account.now)
            new[item["id"]] = item
            pairs.append((None, item))
        elif changed.is_deleted:
            pairs.append((old[item["id"]], None))
            del new[item["id"]]
        else:
            is_changed = (item["price"]["id"], item["quantity"]) != (changed.price["id"], changed.quantity)
            item.update(price=changed.price, quantity=changed.quantity)
            item["metadata"] = item["metadata"] if changed.metadata is None else changed.metadata
            if is_changed:
                pairs.append((old[item["id"]], item))
    _check_items(list(new.values()))
    after["items"] = items.listed(after["id"], list(new.values()))
    return pairs


def _check_items(found: list[Thing]) -> None:
    if not found:
        raise Refused("A subscription must have at least one active plan.", param="items")
    prices = [item["price"]["id"] for item in found]
    if len(set(prices)) < len(prices):
        raise Refused("Cannot add multiple subscription items with the same plan.", param="items")


def _is_other_interval(subscription: Thing, after: Thing, pairs: list[Pair]) -> bool:
    """Whether the change starts a new period: an item changes its interval, or all items are replaced by others."""
    before, then = ({interval_of(item["price"]) for item in items_of(thing)} for thing in (subscription, after))
    return not before & then or any(_starts_period(*pair) for pair in pairs)


def _starts_period(old: Thing | None, new: Thing | None) -> bool:
    """As at Stripe: if the interval changes, or a free item gets a price above zero."""
    if old is None or new is None:
        return False
    is_other = interval_of(old["price"]) != interval_of(new["price"])
    return is_other or (not old["price"]["unit_amount"] and bool(new["price"]["unit_amount"]))


def _restart(account: Account, subscription: Thing, after: Thing, update: Update, at: int, is_trial: bool) -> Change:
    """Start a new period of all items now: the credit for the old one, and whole lines."""
    after["billing_cycle_anchor"] = account.now
    if is_trial:
        after.update(status="active", trial_end=account.now)
    for item in items_of(after):
        items.enter(item, account.now, 0)
    if after["cancel_at_period_end"]:
        after["cancel_at"] = items.last_end(after)
    credits_ = [] if is_trial or update.proration == "none" else _credits(subscription, at)
    return Change(after, [*credits_, *(lines.of_period(after, item) for item in items_of(after))], bills=True)


def _credits(subscription: Thing, at: int) -> list[Thing]:
    return [lines.for_unused(subscription, item, at) for item in items_of(subscription)]


def _start_trial(account: Account, subscription: Thing, after: Thing, update: Update, at: int) -> Change:
    """Start a trial, or move its end: an invoice of free lines, with the credit for a paid period that it ends."""
    is_trial = subscription["status"] == "trialing"
    start = subscription["trial_start"] if is_trial else account.now
    after.update(
        status="trialing", trial_start=start, trial_end=update.trial_end, billing_cycle_anchor=update.trial_end
    )
    for item in items_of(after):
        items.enter_trial(item, start, update.trial_end or 0)
    if after["cancel_at_period_end"]:
        after["cancel_at"] = items.last_end(after)
    credits_ = [] if is_trial or update.proration == "none" else _credits(subscription, at)
    return Change(after, [*credits_, *(lines.of_trial(after, item) for item in items_of(after))], bills=True)


def _prorate(subscription: Thing, after: Thing, update: Update, pairs: list[Pair], at: int) -> Change:
    """Prorations of the changed items, within their periods."""
    if update.proration == "none" or not pairs:
        return Change(after)
    billed = [lines.for_unused(subscription, old, at) for old, _ in pairs if old]
    for _, new in pairs:
        if new:
            billed.append(lines.for_rest(after, new, at))
            new["_billed"] = None  # set by the next invoice
    return Change(after, billed, bills=update.proration == "always_invoice")


def credit_unused(account: Account, subscription: Thing) -> None:
    """Add the credit for the rest of the present periods to the lines that wait for an invoice."""
    waiting = [*subscription.get("_prorations", []), *_credits(subscription, account.now)]
    subscription["_prorations"] = waiting
    account.save(subscription)
