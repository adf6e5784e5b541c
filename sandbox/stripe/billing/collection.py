"""The collection of Stripe's invoices: paid by card, declined, voided or marked uncollectible."""

from __future__ import annotations

from sandbox.store.account import Account, new_id
from sandbox.store.store import Thing
from sandbox.stripe import payments
from sandbox.stripe.billing import invoices
from sandbox.stripe.billing.invoices import UNPAID, expect


def pay(account: Account, invoice: Thing, *, out_of_band: bool = False) -> Thing:
    """Pay the invoice with the stored card, or outside of Stripe. Raises Refused unless it is open or uncollectible."""
    expect(invoice, *UNPAID)
    if invoice["amount_remaining"] and not out_of_band:
        _charge_for(account, invoice)
    return settle(account, invoice)


def settle(account: Account, invoice: Thing) -> Thing:
    """Mark the invoice as paid, with its events."""
    paid = invoice["amount_remaining"]
    invoice["status_transitions"]["paid_at"] = account.now
    invoice.update(status="paid", amount_paid=paid, amount_remaining=0, attempted=True)
    invoice.pop("status_details", None)
    invoice["attempt_count"] += 1
    account.emit("invoice.paid", account.save(invoice))
    account.emit("invoice.payment_succeeded", invoice)
    if invoice["_charge"] and paid:
        account.emit("invoice_payment.paid", _invoice_payment(account, invoice))
    return invoice


def _charge_for(account: Account, invoice: Thing) -> None:
    intent = _intent_of(account, invoice)
    charge = payments.succeed(account, intent)
    invoice.update(_intent=intent["id"], _charge=charge["id"])


def _intent_of(account: Account, invoice: Thing) -> Thing:
    """The invoice's payment intent; a declined one is reused."""
    if invoice["_intent"]:
        intent = account.need("payment_intent", invoice["_intent"])
        intent["amount"] = invoice["amount_remaining"]
        return intent
    return payments.new_intent(
        *(account, invoice["amount_remaining"], invoice["currency"], {}),
        customer=invoice["customer"],
        description="Subscription " + ("creation" if invoice["billing_reason"] == "subscription_create" else "update"),
        _invoice=invoice["id"],
        _sold=invoice["lines"]["data"][-1]["_price"]["_name"],
    )


def fail(account: Account, invoice: Thing) -> Thing:
    """Decline the card for an unpaid invoice, which keeps its state. Raises Refused."""
    expect(invoice, *UNPAID)
    intent = _intent_of(account, invoice)
    payments.fail(account, intent)
    invoice.update(_intent=intent["id"], attempted=True)
    invoice["attempt_count"] += 1
    account.emit("invoice.payment_failed", account.save(invoice))
    return invoice


def void(account: Account, invoice: Thing) -> Thing:
    """Void the invoice and restore the balance it used. Raises Refused unless it is open or uncollectible."""
    expect(invoice, *UNPAID)
    if invoice["_intent"]:
        payments.cancel(account, account.need("payment_intent", invoice["_intent"]), "void_invoice")
    invoices.undo_credit(account, invoice)
    invoice["status_transitions"]["voided_at"] = account.now
    invoice.update(status="void", auto_advance=False)
    invoice.pop("status_details", None)
    account.emit("invoice.voided", account.save(invoice))
    return invoice


def mark_uncollectible(account: Account, invoice: Thing, reason: str = "user_forgiven") -> Thing:
    """Mark the invoice uncollectible; it can still be paid or voided. Raises Refused unless it is open."""
    expect(invoice, "open")
    invoice["status_transitions"]["marked_uncollectible_at"] = account.now
    invoice.update(status="uncollectible", auto_advance=False)
    invoice["status_details"] = {"uncollectible": {"reason": reason}}
    account.emit("invoice.marked_uncollectible", account.save(invoice))
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
