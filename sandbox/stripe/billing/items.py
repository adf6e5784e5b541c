"""The items of Stripe's subscriptions, and their periods, counted from the billing cycle anchor.

Each item has its own period: prices with different intervals can share a subscription.
"""

from __future__ import annotations

from sandbox import intervals
from sandbox.store.account import Account, new_id
from sandbox.store.store import Thing


def items_of(subscription: Thing) -> list[Thing]:
    """The subscription's items."""
    found: list[Thing] = subscription["items"]["data"]
    return found


def first_of(subscription: Thing) -> Thing:
    """The subscription's first item."""
    return items_of(subscription)[0]


def new(account: Account, subscription_id: str, price: Thing, quantity: int, metadata: Thing | None = None) -> Thing:
    """An item without a period."""
    return {
        "id": new_id("si"),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": account.now,
        "current_period_start": account.now,
        "current_period_end": account.now,
        "discounts": [],
        "metadata": metadata or {},
        "price": price,
        "quantity": quantity,
        "subscription": subscription_id,
        "tax_rates": [],
        "_next": 0,
    }


def listed(subscription_id: str, items: list[Thing]) -> Thing:
    """The list object of a subscription's items."""
    url = f"/v1/subscription_items?subscription={subscription_id}"
    return {"object": "list", "data": items, "has_more": False, "total_count": len(items), "url": url}


def amount_of(item: Thing) -> int:
    """What the item costs for a whole period, in minor units."""
    return int(item["price"]["unit_amount"] * item["quantity"])


def interval_of(price: Thing) -> tuple[str, int]:
    """The billing interval of a recurring price, as ("week", 2)."""
    return price["recurring"]["interval"], price["recurring"]["interval_count"]


def period_start(anchor: int, price: Thing, number: int) -> int:
    """When period `number` starts: the anchor plus `number` intervals of the price."""
    interval, count = interval_of(price)
    return intervals.add(anchor, interval, number * count)


def enter(item: Thing, anchor: int, number: int) -> None:
    """Move the item to the period `number` of the anchor."""
    item["current_period_start"] = period_start(anchor, item["price"], number)
    item["current_period_end"] = period_start(anchor, item["price"], number + 1)
    item["_next"] = number + 1


def enter_next(item: Thing, anchor: int) -> None:
    """Move the item to its next period."""
    enter(item, anchor, item["_next"])


def enter_period_of(item: Thing, anchor: int, at: int) -> None:
    """Move the item to the period that contains the time."""
    enter(item, anchor, number_at(anchor, item["price"], at))


def number_at(anchor: int, price: Thing, at: int) -> int:
    """The number of the period that contains the time; negative before the anchor."""
    number = 0
    while period_start(anchor, price, number + 1) <= at:
        number += 1
    while period_start(anchor, price, number) > at:
        number -= 1
    return number


def enter_trial(item: Thing, start: int, end: int) -> None:
    """Move the item to a trial; the anchor's first period follows."""
    item.update(current_period_start=start, current_period_end=end, _next=0)


def next_end(subscription: Thing) -> int:
    """When the first period of an item ends."""
    return int(min(item["current_period_end"] for item in items_of(subscription)))


def last_end(subscription: Thing) -> int:
    """When the last period of an item ends."""
    return int(max(item["current_period_end"] for item in items_of(subscription)))
