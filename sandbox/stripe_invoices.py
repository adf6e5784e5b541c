"""Stripe's invoices of subscriptions: one line, for one period, paid by the card that the buyer left."""

from __future__ import annotations

from sandbox import stripe_payments
from sandbox.account import Account, Refused, new_id
from sandbox.store import Thing


def item_of(it: Thing) -> Thing:
    """The subscription's one item."""
    found: Thing = it["items"]["data"][0]
    return found


def create(account: Account, it: Thing, reason: str, amount_minor: int) -> Thing:
    """An open invoice for the subscription's current period."""
    item, id_ = item_of(it), new_id("in")
    price, now = item["price"], account.now
    line = {
        "id": new_id("il"),
        "object": "line_item",
        "amount": amount_minor,
        "currency": it["currency"],
        "description": f"{item['quantity']} × {price['_name']}",
        "discountable": True,
        "discounts": [],
        "invoice": id_,
        "livemode": False,
        "metadata": dict(it["metadata"]),
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": it["id"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"start": item["current_period_start"], "end": item["current_period_end"]},
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": item["quantity"],
        "taxes": [],
        "_price": price,
    }
    details = {"metadata": dict(it["metadata"]), "subscription": it["id"]}
    invoice = {
        "id": id_,
        "object": "invoice",
        "amount_due": amount_minor,
        "amount_paid": 0,
        "amount_remaining": amount_minor,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "created": now,
        "currency": it["currency"],
        "customer": it["customer"],
        "default_payment_method": None,
        "description": None,
        "due_date": None,
        "lines": {"object": "list", "data": [line], "has_more": False, "url": f"/v1/invoices/{id_}/lines"},
        "livemode": False,
        "metadata": {},
        "number": f"SANDBOX-{id_[-6:].upper()}",
        "parent": {"quote_details": None, "subscription_details": details, "type": "subscription_details"},
        "period_end": now,
        "period_start": now,
        "status": "open",
        "status_transitions": {
            "finalized_at": now,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": amount_minor,
        "total": amount_minor,
        "_intent": None,
        "_charge": None,
    }
    it["latest_invoice"] = id_
    account.save(it)
    return account.save(invoice)


def pay(account: Account, invoice: Thing) -> Thing:
    """The invoice is paid now, by the card that the buyer left. Raises Refused unless it is open."""
    _expect_open(invoice)
    if invoice["amount_due"]:
        _charge_for(account, invoice)
    invoice["status_transitions"]["paid_at"] = account.now
    invoice.update(status="paid", amount_paid=invoice["amount_due"], amount_remaining=0, attempted=True)
    invoice["attempt_count"] += 1
    account.tell("invoice.paid", account.save(invoice))
    if invoice["_intent"]:
        account.tell("invoice_payment.paid", _invoice_payment(account, invoice))
    return invoice


def _charge_for(account: Account, invoice: Thing) -> None:
    intent = _intent_of(account, invoice)
    charge = stripe_payments.succeed(account, intent)
    invoice.update(_intent=intent["id"], _charge=charge["id"])


def _intent_of(account: Account, invoice: Thing) -> Thing:
    if invoice["_intent"]:
        return account.need("payment_intent", invoice["_intent"])
    return stripe_payments.new_intent(
        *(account, invoice["amount_due"], invoice["currency"], {}),
        customer=invoice["customer"],
        description="Subscription " + ("creation" if invoice["billing_reason"] == "subscription_create" else "update"),
        _invoice=invoice["id"],
        _sold=invoice["lines"]["data"][0]["_price"]["_name"],
    )


def fail(account: Account, invoice: Thing) -> Thing:
    """The buyer's card is declined; the invoice stays open."""
    _expect_open(invoice)
    intent = _intent_of(account, invoice)
    stripe_payments.fail(account, intent)
    invoice.update(_intent=intent["id"], attempted=True)
    invoice["attempt_count"] += 1
    account.tell("invoice.payment_failed", account.save(invoice))
    return invoice


def _invoice_payment(account: Account, invoice: Thing) -> Thing:
    return account.save(
        {
            "id": new_id("inpay"),
            "object": "invoice_payment",
            "amount_paid": invoice["amount_paid"],
            "amount_requested": invoice["amount_due"],
            "created": account.now,
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": True,
            "livemode": False,
            "payment": {"payment_intent": invoice["_intent"], "type": "payment_intent"},
            "status": "paid",
            "status_transitions": {"canceled_at": None, "paid_at": account.now},
        }
    )


def _expect_open(invoice: Thing) -> None:
    if invoice["status"] != "open":
        raise Refused(f"This invoice is {invoice['status']}.", code="invoice_not_open")
