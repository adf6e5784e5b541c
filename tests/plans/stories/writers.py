"""Writes what a world reports as Stripe's payloads: in the shape since API version `basil`, and in the one before it.

`basil` (2025-03-31) moved a subscription's period to its items, `invoice.subscription` below `parent`, a line's `price`
below `pricing`, and took `invoice.payment_intent` and `charge.invoice` away: `invoice_payment.paid` names both since.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from tests.plans.stories.objects import Invoice, Item, Line, Subscription, Told

Object = dict[str, Any]
SINCE, BEFORE = "2026-10-28.endive", "2024-06-20"
SHAPES = (SINCE, BEFORE)
UTC = timezone.utc


def event(told: Told, shape: str) -> Object | None:
    """The event in this shape; None where the shape has no such event."""
    if told.is_since_basil and shape == BEFORE:
        return None
    thing = _write(told.thing, shape)
    data: Object = {"object": thing}
    if told.before is not None:
        data["previous_attributes"] = _previous(_write(told.before, shape), thing)
    made = {"id": told.id, "object": "event", "api_version": shape, "created": _seconds(told.at), "data": data}
    request = {"id": None, "idempotency_key": None}
    return {**made, "livemode": False, "pending_webhooks": 1, "request": request, "type": told.type}


def _write(thing: Any, shape: str) -> Object:
    if isinstance(thing, Subscription):
        return _subscription(thing, shape)
    if isinstance(thing, Invoice):
        return _invoice(thing, shape)
    if shape == BEFORE and thing["object"] == "charge":
        return {**thing, "invoice": thing["payment_intent"].replace("pi_", "in_")}
    return dict(thing)


def _previous(before: Object, after: Object) -> Object:
    """What had another value before; of a list of items, all of it."""
    changed = {name: value for name, value in before.items() if after[name] != value}
    if "items" in changed:
        changed["items"] = {"data": before["items"]["data"]}
    return changed


def _seconds(at: datetime | None) -> int | None:
    return int(at.timestamp()) if at else None


def _list(objects: list[Object]) -> Object:
    return {"object": "list", "data": objects, "has_more": False, "total_count": len(objects)}


# --- subscriptions


def _subscription(sub: Subscription, shape: str) -> Object:
    made = {
        "id": sub.id,
        "object": "subscription",
        "status": sub.status,
        "customer": sub.customer,
        "metadata": dict(sub.metadata),
        "cancel_at_period_end": sub.cancel_at is not None,
        "cancel_at": _seconds(sub.cancel_at),
        "canceled_at": _seconds(sub.canceled_at),
        "ended_at": _seconds(sub.ended_at),
        "created": _seconds(sub.created),
        "billing_cycle_anchor": _seconds(sub.anchor),
        "start_date": _seconds(sub.created),
        "trial_start": _seconds(sub.trial_start),
        "trial_end": _seconds(sub.trial_end),
        "livemode": False,
        "collection_method": sub.collection,
        "latest_invoice": sub.latest_invoice,
        "pause_collection": {"behavior": sub.pause, "resumes_at": None} if sub.pause else None,
        "items": _list([_item(item, sub, shape) for item in sub.items]),
        "currency": "usd",
        "test_clock": None,
    }
    if shape == SINCE:
        return {**made, "billing_mode": {"type": "classic"}}
    first = sub.items[0]
    period = {"current_period_start": _seconds(first.start), "current_period_end": _seconds(first.end)}
    one = len(sub.items) == 1
    return {**made, **period, "plan": _plan(first) if one else None, "quantity": first.quantity if one else None}


def _item(item: Item, sub: Subscription, shape: str) -> Object:
    made = {
        "id": item.id,
        "object": "subscription_item",
        "quantity": item.quantity,
        "subscription": sub.id,
        "price": _price(item.price.id, item),
        "plan": _plan(item),
        "metadata": {},
    }
    if shape == SINCE:
        made |= {"current_period_start": _seconds(item.start), "current_period_end": _seconds(item.end)}
    return made


def _price(name: str, of: Item | Line) -> Object:
    if of.price.is_once:
        return {"id": name, "object": "price", "type": "one_time", "unit_amount": of.price.amount, "recurring": None}
    recurring = {"interval": of.price.interval, "interval_count": of.price.count, "usage_type": "licensed"}
    return {"id": name, "object": "price", "type": "recurring", "unit_amount": of.price.amount, "recurring": recurring}


def _plan(of: Item | Line) -> Object | None:
    price = of.price
    if price.is_once:
        return None
    return {
        "id": price.id,
        "object": "plan",
        "amount": price.amount,
        "interval": price.interval,
        "interval_count": price.count,
    }


# --- invoices


def _invoice(invoice: Invoice, shape: str) -> Object:
    is_paid = invoice.status == "paid"
    made = {
        "id": invoice.id,
        "object": "invoice",
        "status": invoice.status,
        "billing_reason": invoice.reason,
        "collection_method": invoice.collection,
        "currency": "usd",
        "customer": invoice.customer,
        "created": _seconds(invoice.created),
        "subtotal": invoice.subtotal,
        "total": invoice.total,
        "amount_due": invoice.due,
        "amount_paid": invoice.due if is_paid else 0,
        "amount_remaining": 0 if is_paid else invoice.due,
        "pre_payment_credit_notes_amount": invoice.credited,
        "post_payment_credit_notes_amount": 0,
        "starting_balance": -invoice.from_balance,
        "ending_balance": min(0, invoice.total) if is_paid else None,
        "period_start": _seconds(invoice.created),
        "period_end": _seconds(invoice.created),
        "attempted": invoice.status != "draft",
        "livemode": False,
        "metadata": {},
        "discounts": ["di_1"] if invoice.discount else [],
        "total_discount_amounts": [{"amount": invoice.discount, "discount": "di_1"}] if invoice.discount else [],
        "lines": _list([_line(line, invoice, shape) for line in invoice.lines]),
    }
    if shape == SINCE:
        details = {"metadata": dict(invoice.metadata), "subscription": invoice.subscription}
        parent = {"type": "subscription_details", "quote_details": None, "subscription_details": details}
        return {**made, "parent": parent}
    paid: Object = {"paid": is_paid, "paid_out_of_band": False}
    if invoice.due and invoice.status not in ("draft", "void"):
        paid |= {"payment_intent": f"pi_{invoice.number}", "charge": f"ch_{invoice.number}" if is_paid else None}
    metadata = {"metadata": dict(invoice.metadata)}
    return {**made, **paid, "subscription": invoice.subscription, "subscription_details": metadata}


def _line(line: Line, invoice: Invoice, shape: str) -> Object:
    made = {
        "id": line.id,
        "object": "line_item",
        "amount": line.amount,
        "currency": "usd",
        "quantity": line.quantity,
        "description": f"{line.quantity} × {line.price.plan}",
        "discountable": not line.is_prorated,
        "discount_amounts": [{"amount": line.amount, "discount": "di_1"}] if invoice.discount else [],
        "livemode": False,
        "metadata": {},
        "period": {"start": _seconds(line.start), "end": _seconds(line.end)},
    }
    credited = {"invoice": line.credits[0], "invoice_line_items": [line.credits[1]]} if line.credits else None
    if shape == BEFORE:
        kind = "invoiceitem" if line.is_prorated or line.price.is_once else "subscription"
        of = {"subscription": invoice.subscription, "proration": line.is_prorated}
        if line.item:
            of["subscription_item"] = line.item
        prices = {"price": _price(line.price.id, line), "plan": _plan(line)}
        return {**made, **of, **prices, "type": kind, "proration_details": {"credited_items": credited}}
    is_item = line.price.is_once or (line.is_prorated and not line.is_flexible)
    kind, other = "invoice_item_details", "subscription_item_details"
    details: Object = {
        "subscription": invoice.subscription,
        "proration": line.is_prorated,
        "proration_details": {"credited_items": credited},
        "invoice_item": f"ii_{line.id}" if line.is_prorated or is_item else None,
    }
    if not is_item:
        kind, other = other, kind
        details["subscription_item"] = line.item
    pricing = {"type": "price_details", "price_details": {"price": line.price.id, "product": "prod_1"}}
    return {**made, "parent": {"type": kind, kind: details, other: None}, "pricing": pricing}
