"""The lines of Stripe's invoices: a plan's period, and the prorations of a change."""

from __future__ import annotations

from sandbox.store.account import Account, new_id
from sandbox.store.store import Thing


def item_of(subscription: Thing) -> Thing:
    """The subscription's only item."""
    found: Thing = subscription["items"]["data"][0]
    return found


def of_period(subscription: Thing, amount: int | None = None) -> Thing:
    """The line of the subscription's current period; `amount` in minor units replaces the price."""
    item = item_of(subscription)
    minor = _period_price(item) if amount is None else amount
    return _line(
        subscription, item, minor, item["current_period_start"], f"{item['quantity']} × {item['price']['_name']}"
    )


def for_unused(account: Account, subscription: Thing, item: Thing) -> Thing:
    """The proration that credits the unused rest of an item's period."""
    credited = subscription.get("_billed")
    amount = -_share_left(account, item)
    return _proration(account, subscription, item, amount, "Unused time on", credited)


def for_rest(account: Account, subscription: Thing) -> Thing:
    """The proration that charges the rest of the period for the subscription's item."""
    item = item_of(subscription)
    return _proration(account, subscription, item, _share_left(account, item), "Remaining time on", None)


def _period_price(item: Thing) -> int:
    return int(item["price"]["unit_amount"] * item["quantity"])


def _share_left(account: Account, item: Thing) -> int:
    """The item's price for the rest of its period, by seconds, in minor units rounded half up."""
    whole = item["current_period_end"] - item["current_period_start"]
    left = min(max(item["current_period_end"] - account.now, 0), whole)
    return (2 * _period_price(item) * left + whole) // (2 * whole)


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
