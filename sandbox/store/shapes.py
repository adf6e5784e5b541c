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
    return {name: rendered(value, shape) for name, value in shown.items() if not name.startswith("_")}


def _subscription(thing: Thing) -> Thing:
    item = thing["items"]["data"][0]
    return {**thing, **{name: item[name] for name in PERIOD}}


def _item(thing: Thing) -> Thing:
    return {name: value for name, value in thing.items() if name not in PERIOD}


def _invoice(thing: Thing) -> Thing:
    details = thing["parent"]["subscription_details"]
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
    details = thing["parent"]["subscription_item_details"]
    item = details["invoice_item"]
    return {
        **{name: value for name, value in thing.items() if name not in ("parent", "pricing")},
        "price": thing["_price"],
        "plan": None,
        "proration": details["proration"],
        "proration_details": details["proration_details"],
        "subscription": details["subscription"],
        "subscription_item": details["subscription_item"],
        **({"type": "invoiceitem", "invoice_item": item} if item else {"type": "subscription"}),
    }


def _with_invoice(thing: Thing) -> Thing:
    return {**thing, "invoice": thing.get("_invoice")}


PERIOD = ("current_period_start", "current_period_end")
OLDER = {
    "subscription": _subscription,
    "subscription_item": _item,
    "invoice": _invoice,
    "line_item": _line,
    "charge": _with_invoice,
    "payment_intent": _with_invoice,
}
