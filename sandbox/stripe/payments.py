"""Stripe's payment intents and charges, with the events of each.

Functions take an Account, inside a transaction. Amounts are minor units of the currency.
"""

from __future__ import annotations

from typing import Any

from sandbox.store.account import Account, Refused, new_id
from sandbox.store.store import Thing


def new_intent(account: Account, amount_minor: int, currency: str, metadata: Thing, **more: Any) -> Thing:
    """Create a payment intent without a payment method."""
    intent = {
        "id": new_id("pi"),
        "object": "payment_intent",
        "amount": amount_minor,
        "amount_capturable": 0,
        "amount_received": 0,
        "capture_method": "automatic",
        "confirmation_method": "automatic",
        "created": account.now,
        "currency": currency,
        "customer": None,
        "description": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": metadata,
        "payment_method": None,
        "payment_method_types": ["card"],
        "receipt_email": None,
        "status": "requires_payment_method",
        **more,
    }
    return account.save(intent)


def succeed(account: Account, intent: Thing) -> Thing:
    """Charge the intent and emit the events. Returns the charge."""
    charge = account.save({**_charge(account, intent), "status": "succeeded", "paid": True, "captured": True})
    charge["amount_captured"] = charge["amount"]
    account.save(charge)
    intent.update(status="succeeded", amount_received=intent["amount"], latest_charge=charge["id"])
    account.save(intent)
    account.emit("payment_intent.succeeded", intent)
    account.emit("charge.succeeded", charge)
    return charge


def fail(account: Account, intent: Thing, code: str = "card_declined") -> None:
    """Decline the payment method. The intent can be paid with another one."""
    message = {"card_declined": "Your card was declined.", "bank_transfer_failed": "The bank transfer failed."}[code]
    charge = {**_charge(account, intent), "status": "failed", "failure_code": code, "failure_message": message}
    account.save(charge)
    error = {"charge": charge["id"], "code": code, "message": message, "type": "card_error"}
    intent.update(status="requires_payment_method", last_payment_error=error, latest_charge=charge["id"])
    account.save(intent)
    account.emit("payment_intent.payment_failed", intent)
    account.emit("charge.failed", charge)


def cancel(account: Account, intent: Thing, reason: str) -> None:
    """Cancel the intent."""
    intent.update(status="canceled", canceled_at=account.now, cancellation_reason=reason)
    account.emit("payment_intent.canceled", account.save(intent))


def _charge(account: Account, intent: Thing) -> Thing:
    return {
        "id": new_id("ch"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "balance_transaction": new_id("txn"),
        "billing_details": {"address": None, "email": intent["receipt_email"], "name": None, "phone": None},
        "captured": False,
        "created": account.now,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_code": None,
        "failure_message": None,
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "paid": False,
        "payment_intent": intent["id"],
        "payment_method_details": {"type": "card", "card": {"brand": "visa", "last4": "4242"}},
        "receipt_email": intent["receipt_email"],
        "refunded": False,
        "status": "pending",
        "_invoice": intent.get("_invoice"),
        "_sold": intent.get("_sold"),
    }


def charge_of(account: Account, payment: str) -> Thing:
    """The charge of `payment`, the id of a charge or of its intent. Raises Refused."""
    if payment.startswith("pi_"):
        intent = account.need("payment_intent", payment, "payment_intent")
        if intent["status"] != "succeeded":
            message = f"This PaymentIntent ({payment}) does not have a successful charge to refund."
            raise Refused(message, code="payment_intent_unexpected_state")
        payment = intent["latest_charge"]
    return account.need("charge", payment, "charge")
