"""The lines of Stripe's invoices: the period of an item, the prorations of a change, and what is sold once."""

from __future__ import annotations

from sandbox.store.account import new_id
from sandbox.store.store import Thing
from sandbox.stripe.billing import items


def of_period(subscription: Thing, item: Thing, amount: int | None = None) -> Thing:
    """The line of the item's current period; `amount` in minor units replaces the price."""
    minor = items.amount_of(item) if amount is None else amount
    return _line(subscription, item, minor, item["current_period_start"], _sold(item))


def of_trial(subscription: Thing, item: Thing) -> Thing:
    """The free line of an item's trial."""
    return _line(subscription, item, 0, item["current_period_start"], f"Trial period for {item['price']['_name']}")


def for_unused(subscription: Thing, item: Thing, at: int) -> Thing:
    """The proration that credits the rest of an item's period."""
    line = _proration(subscription, item, -_share_left(item, at), at, f"Unused time on {_sold(item)}")
    details = line["parent"]["subscription_item_details"]
    details["proration_details"] = {"credited_items": item.get("_billed")}
    return {**line, "_is_credit": True}


def for_rest(subscription: Thing, item: Thing, at: int) -> Thing:
    """The proration that charges the rest of the period for the item."""
    return _proration(subscription, item, _share_left(item, at), at, f"Remaining time on {_sold(item)}")


def sold_once(line: Thing, subscription: Thing | None, at: int) -> Thing:
    """The invoice's line of a checkout's one-time line; `subscription` None: of a single purchase."""
    details = {
        "invoice_item": new_id("ii"),
        "proration": False,
        "proration_details": {"credited_items": None},
        "subscription": subscription["id"] if subscription else None,
    }
    return {
        **_base(line["price"], line["quantity"], line["amount_subtotal"], line["description"], line["currency"]),
        "metadata": {},
        "parent": {
            "invoice_item_details": details,
            "subscription_item_details": None,
            "type": "invoice_item_details",
        },
        "period": {"start": at, "end": at},
        "subscription": details["subscription"],
    }


def item_id_of(line: Thing) -> str | None:
    """The subscription item of a line, or None."""
    details = line["parent"]["subscription_item_details"]
    return details["subscription_item"] if details else None


def _sold(item: Thing) -> str:
    return f"{item['quantity']} × {item['price']['_name']}"


def _share_left(item: Thing, at: int) -> int:
    """The item's price for the rest of its period, by seconds, in minor units rounded half up."""
    whole = item["current_period_end"] - item["current_period_start"]
    if not whole:
        return 0
    left = min(max(item["current_period_end"] - at, 0), whole)
    return (2 * items.amount_of(item) * left + whole) // (2 * whole)


def _proration(subscription: Thing, item: Thing, amount: int, at: int, description: str) -> Thing:
    line = _line(subscription, item, amount, at, description)
    line["discountable"] = False
    line["parent"]["subscription_item_details"].update(invoice_item=new_id("ii"), proration=True)
    return line


def _line(subscription: Thing, item: Thing, amount: int, start: int, description: str) -> Thing:
    details = {
        "invoice_item": None,
        "proration": False,
        "proration_details": {"credited_items": None},
        "subscription": subscription["id"],
        "subscription_item": item["id"],
    }
    return {
        **_base(item["price"], item["quantity"], amount, description, subscription["currency"]),
        "metadata": dict(subscription["metadata"]),
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": details,
            "type": "subscription_item_details",
        },
        "period": {"start": start, "end": item["current_period_end"]},
        "subscription": subscription["id"],
    }


def _base(price: Thing, quantity: int, amount: int, description: str, currency: str) -> Thing:
    return {
        "id": new_id("il"),
        "object": "line_item",
        "amount": amount,
        "currency": currency,
        "description": description,
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": quantity,
        "subtotal": amount,
        "taxes": [],
        "_price": price,
    }
