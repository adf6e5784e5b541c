"""Stripe's invoices of subscriptions: paid by card and customer balance, voided or marked uncollectible."""

from __future__ import annotations

from sandbox.store.account import Account, Refused, new_id
from sandbox.store.store import Thing
from sandbox.stripe import payments

UNPAID = ("open", "uncollectible")
TRANSITIONS = ("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at")


def create(account: Account, subscription: Thing, reason: str, lines: list[Thing]) -> Thing:
    """Create an open invoice of the subscription and apply the customer's credit balance to it."""
    total = sum(line["amount"] for line in lines)
    credit, left = _use_credit(account, subscription, total)
    invoice = {
        **_invoice(account, subscription, reason, lines),
        **_totals(total, credit, left),
        "_intent": None,
        "_charge": None,
    }
    # A proration of a later price change credits this line.
    billed = {"invoice": invoice["id"], "invoice_line_items": [lines[-1]["id"]]}
    subscription.update(latest_invoice=invoice["id"], _billed=billed)
    account.save(subscription)
    return account.save(invoice)


def _invoice(account: Account, subscription: Thing, reason: str, lines: list[Thing]) -> Thing:
    id_, now = new_id("in"), account.now
    details = {"metadata": dict(subscription["metadata"]), "subscription": subscription["id"]}
    return {
        "id": id_,
        "object": "invoice",
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "created": now,
        "currency": subscription["currency"],
        "customer": subscription["customer"],
        "default_payment_method": None,
        "description": None,
        "due_date": None,
        "lines": {
            "object": "list",
            "data": [{**line, "invoice": id_} for line in lines],
            "has_more": False,
            "url": f"/v1/invoices/{id_}/lines",
        },
        "livemode": False,
        "metadata": {},
        "number": f"SANDBOX-{id_[-6:].upper()}",
        "parent": {"quote_details": None, "subscription_details": details, "type": "subscription_details"},
        "period_end": now,
        "period_start": now,
        "status": "open",
        "status_transitions": {**dict.fromkeys(TRANSITIONS), "finalized_at": now},
    }


def _totals(total: int, credit: int, left: int) -> Thing:
    """The amounts of an open invoice; `credit` and `left` are the customer's balance before and after it."""
    due = max(0, total + credit)
    return {
        "amount_due": due,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_remaining": due,
        "ending_balance": left,
        "starting_balance": credit,
        "subtotal": total,
        "total": total,
    }


def _use_credit(account: Account, subscription: Thing, total: int) -> tuple[int, int]:
    """Apply the customer's balance. Returns it before and after an invoice of `total`; credit is negative."""
    customer = account.need("customer", subscription["customer"])
    before: int = customer["balance"]
    after = min(0, before + total)
    _set_balance(account, customer, after, subscription["currency"])
    return before, after


def _set_balance(account: Account, customer: Thing, balance: int, currency: str) -> None:
    if customer["balance"] != balance:
        previous = {"balance": customer["balance"]}
        customer.update(balance=balance, currency=currency)
        account.emit("customer.updated", account.save(customer), previous)


def pay(account: Account, invoice: Thing) -> Thing:
    """Pay the invoice with the stored card. Raises Refused unless it is open or uncollectible."""
    _expect(invoice, *UNPAID)
    if invoice["amount_due"]:
        _charge_for(account, invoice)
    invoice["status_transitions"]["paid_at"] = account.now
    invoice.update(status="paid", amount_paid=invoice["amount_due"], amount_remaining=0, attempted=True)
    invoice.pop("status_details", None)
    invoice["attempt_count"] += 1
    account.emit("invoice.paid", account.save(invoice))
    if invoice["_intent"]:
        account.emit("invoice_payment.paid", _invoice_payment(account, invoice))
    return invoice


def _charge_for(account: Account, invoice: Thing) -> None:
    intent = _intent_of(account, invoice)
    charge = payments.succeed(account, intent)
    invoice.update(_intent=intent["id"], _charge=charge["id"])


def _intent_of(account: Account, invoice: Thing) -> Thing:
    if invoice["_intent"]:
        return account.need("payment_intent", invoice["_intent"])
    return payments.new_intent(
        *(account, invoice["amount_due"], invoice["currency"], {}),
        customer=invoice["customer"],
        description="Subscription " + ("creation" if invoice["billing_reason"] == "subscription_create" else "update"),
        _invoice=invoice["id"],
        _sold=invoice["lines"]["data"][-1]["_price"]["_name"],
    )


def fail(account: Account, invoice: Thing) -> Thing:
    """Decline the card for an open invoice, which stays open. Raises Refused."""
    _expect(invoice, "open")
    intent = _intent_of(account, invoice)
    payments.fail(account, intent)
    invoice.update(_intent=intent["id"], attempted=True)
    invoice["attempt_count"] += 1
    account.emit("invoice.payment_failed", account.save(invoice))
    return invoice


# --- invoices that are not paid


def void(account: Account, invoice: Thing) -> Thing:
    """Void the invoice and restore the balance it used. Raises Refused unless it is open or uncollectible."""
    _expect(invoice, *UNPAID)
    if invoice["_intent"]:
        payments.cancel(account, account.need("payment_intent", invoice["_intent"]), "void_invoice")
    _undo_credit(account, invoice)
    invoice["status_transitions"]["voided_at"] = account.now
    invoice.update(status="void", auto_advance=False)
    invoice.pop("status_details", None)
    account.emit("invoice.voided", account.save(invoice))
    return invoice


def mark_uncollectible(account: Account, invoice: Thing, reason: str = "user_forgiven") -> Thing:
    """Mark the invoice uncollectible; it can still be paid or voided. Raises Refused unless it is open."""
    _expect(invoice, "open")
    invoice["status_transitions"]["marked_uncollectible_at"] = account.now
    invoice.update(status="uncollectible", auto_advance=False)
    invoice["status_details"] = {"uncollectible": {"reason": reason}}
    account.emit("invoice.marked_uncollectible", account.save(invoice))
    return invoice


def keep_as_draft(account: Account, invoice: Thing) -> Thing:
    """Turn the invoice into a draft. The sandbox has no call that finalizes it."""
    _undo_credit(account, invoice)
    invoice["status_transitions"]["finalized_at"] = None
    invoice.update(status="draft", auto_advance=False, ending_balance=None)
    return account.save(invoice)


def _undo_credit(account: Account, invoice: Thing) -> None:
    customer = account.need("customer", invoice["customer"])
    moved = invoice.get("ending_balance", 0) - invoice.get("starting_balance", 0)
    _set_balance(account, customer, customer["balance"] - moved, invoice["currency"])


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


def _expect(invoice: Thing, *states: str) -> None:
    if invoice["status"] not in states:
        raise Refused(f"This invoice is {invoice['status']}.", code="invoice_not_open")
