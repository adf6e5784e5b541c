"""The public form of a stored object: without the sandbox's internal fields, in the requested shape.

"new" is Stripe's shape since 2025-03-31.basil. In the "old" one before it, a subscription has the period, an invoice
names its subscription and its payment, a line has its price, and a charge names its invoice.
"""

from __future__ import annotations

from typing import Any

from sandbox.store.store import Thing


def rendered(thing: Any, shape: str = "new") -> Any:
    """The object and its parts without internal fields (`_…`), in the shape "new" or "old"."""
    if isinstance(thing, list):
        return [rendered(part, shape) for part in thing]
    if not isinstance(thing, dict) or thing.get("object") == "event":
        return thing  # its object was rendered when the event was emitted
    older = OLDER.get(str(thing.get("object"))) if shape == "old" else None
    shown = older(thing) if older else thing
    if thing.get("object") == "subscription_item":
        shown = _with_plan(shown)
    return {name: rendered(value, shape) for name, value in shown.items() if not name.startswith("_")}


def previous_attributes(before: Thing, after: Thing) -> Thing:
    """What an object had before a change: the parts that differ. A key that is new has the value None."""
    return {
        name: previous_attributes(old, new) if isinstance(old, dict) and isinstance(new, dict) else old
        for name in dict.fromkeys((*before, *after))
        if (old := before.get(name)) != (new := after.get(name))
    }


def _subscription(thing: Thing) -> Thing:
    item = thing["items"]["data"][0]
    return {**thing, **{name: item[name] for name in PERIOD}}


def _item(thing: Thing) -> Thing:
    return {name: value for name, value in thing.items() if name not in PERIOD}


def _with_plan(thing: Thing) -> Thing:
    """Stripe still names the price of an item in the form that prices had before them, too."""
    price = thing["price"]
    recurring = price["recurring"]
    plan = {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": False,
        "metadata": price["metadata"],
        "nickname": price["nickname"],
        "product": price["product"],
        "usage_type": recurring["usage_type"],
    }
    return {**thing, "plan": plan}


def _invoice(thing: Thing) -> Thing:
    details = (thing["parent"] or {}).get("subscription_details") or {"metadata": None, "subscription": None}
    return {
        **{name: value for name, value in thing.items() if name not in ("parent", "status_details")},
        "subscription": details["subscription"],
        "subscription_details": {"metadata": details["metadata"]},
        "payment_intent": thing["_intent"],
        "charge": thing["_charge"],
        "paid": thing["status"] == "paid",
    }


def _line(thing: Thing) -> Thing:
    if "pricing" not in thing:
        return thing
    details = thing["parent"]["subscription_item_details"] or thing["parent"]["invoice_item_details"]
    item, sold = details["invoice_item"], details.get("subscription_item")
    return {
        **{name: value for name, value in thing.items() if name not in ("parent", "pricing")},
        "price": thing["_price"],
        "plan": None,
        "proration": details["proration"],
        "proration_details": details["proration_details"],
        "subscription": details["subscription"],
        **({"subscription_item": sold} if sold else {}),
        **({"type": "invoiceitem", "invoice_item": item} if item else {"type": "subscription"}),
    }


def _with_invoice(thing: Thing) -> Thing:
    return {**thing, "invoice": thing.get("_invoice")}


def _credit_note(thing: Thing) -> Thing:
    """Before `refunds`, a credit note named one refund."""
    shown = {name: value for name, value in thing.items() if name not in ("refunds", *NEW_IN_CREDIT_NOTES)}
    return {**shown, "refund": thing["refunds"][0]["refund"] if thing["refunds"] else None}


NEW_IN_CREDIT_NOTES = ("pre_payment_amount", "post_payment_amount")
PERIOD = ("current_period_start", "current_period_end")
OLDER = {
    "subscription": _subscription,
    "subscription_item": _item,
    "invoice": _invoice,
    "line_item": _line,
    "credit_note": _credit_note,
    "charge": _with_invoice,
    "payment_intent": _with_invoice,
}
