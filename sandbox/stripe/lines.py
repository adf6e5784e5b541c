"""The lines of Stripe's invoices: what a plan costs for its period, and what a change within it costs or gives back."""

from __future__ import annotations

from sandbox.store.account import Account, new_id
from sandbox.store.store import Thing


def item_of(subscription: Thing) -> Thing:
    """The subscription's one item."""
    found: Thing = subscription["items"]["data"][0]
    return found


def of_period(subscription: Thing, amount: int | None = None) -> Thing:
    """The plan for the subscription's current period, at its price or for another amount."""
    item = item_of(subscription)
    minor = _each_period(item) if amount is None else amount
    return _line(
        subscription, item, minor, item["current_period_start"], f"{item['quantity']} × {item['price']['_name']}"
    )


def for_unused(account: Account, subscription: Thing, item: Thing) -> Thing:
    """What is given back of an item for the rest of its period."""
    credited = subscription.get("_billed")
    amount = -_share_left(account, item)
    return _proration(account, subscription, item, amount, "Unused time on", credited)


def for_rest(account: Account, subscription: Thing) -> Thing:
    """What the subscription's item costs for the rest of its period."""
    item = item_of(subscription)
    return _proration(account, subscription, item, _share_left(account, item), "Remaining time on", None)


def _each_period(item: Thing) -> int:
    return int(item["price"]["unit_amount"] * item["quantity"])


def _share_left(account: Account, item: Thing) -> int:
    """Of the item's price, in proportion to the seconds that are left of its period; rounded half up."""
    whole = item["current_period_end"] - item["current_period_start"]
    left = min(max(item["current_period_end"] - account.now, 0), whole)
    return (2 * _each_period(item) * left + whole) // (2 * whole)


def _proration(
    account: Account, subscription: Thing, item: Thing, amount: int, wording: str, credited: Thing | None
) -> Thing:
    line = _line(subscription, item, amount, account.now, f"{wording} {item['quantity']} × {item['price']['_name']}")
    line["discountable"] = False
    line["parent"]["subscription_item_details"].update(
        invoice_item=new_id("ii"), proration=True, proration_details={"credited_items": credited}
    )
    return line


def _line(subscription: Thing, item: Thing, amount: int, start: int, description: str) -> Thing:
    price = item["price"]
    return {
        "id": new_id("il"),
        "object": "line_item",
        "amount": amount,
        "currency": subscription["currency"],
        "description": description,
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": dict(subscription["metadata"]),
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": subscription["id"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"start": start, "end": item["current_period_end"]},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": item["quantity"],
        "subtotal": amount,
        "taxes": [],
        "_price": price,
    }
