"""Stripe's money: payment intents, their charges and refunds, with the events that each tells.

Functions take an Account, inside a transaction. Amounts are minor units of the currency.
"""

from __future__ import annotations

from typing import Any

from sandbox import formatting
from sandbox.store.account import Account, Refused, new_id
from sandbox.store.store import Thing
from sandbox.stripe import disputes


def new_intent(account: Account, amount_minor: int, currency: str, metadata: Thing, **more: Any) -> Thing:
    """A payment intent that waits for a means of payment."""
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
    """The money is there: charge the intent and tell so. Returns the charge."""
    charge = account.save({**_charge(account, intent), "status": "succeeded", "paid": True, "captured": True})
    charge["amount_captured"] = charge["amount"]
    account.save(charge)
    intent.update(status="succeeded", amount_received=intent["amount"], latest_charge=charge["id"])
    account.save(intent)
    account.emit("payment_intent.succeeded", intent)
    account.emit("charge.succeeded", charge)
    return charge


def fail(account: Account, intent: Thing, code: str = "card_declined") -> None:
    """The means of payment is refused; the intent waits for another."""
    message = {"card_declined": "Your card was declined.", "bank_transfer_failed": "The transfer never came."}[code]
    charge = {**_charge(account, intent), "status": "failed", "failure_code": code, "failure_message": message}
    account.save(charge)
    error = {"charge": charge["id"], "code": code, "message": message, "type": "card_error"}
    intent.update(status="requires_payment_method", last_payment_error=error, latest_charge=charge["id"])
    account.save(intent)
    account.emit("payment_intent.payment_failed", intent)
    account.emit("charge.failed", charge)


def cancel(account: Account, intent: Thing, reason: str) -> None:
    """Nobody can pay the intent any more."""
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
    """The charge that `payment` names: its own id, or its intent's. Raises Refused."""
    if payment.startswith("pi_"):
        intent = account.need("payment_intent", payment, "payment_intent")
        if intent["status"] != "succeeded":
            message = f"This PaymentIntent ({payment}) does not have a successful charge to refund."
            raise Refused(message, code="payment_intent_unexpected_state")
        payment = intent["latest_charge"]
    return account.need("charge", payment, "charge")


# --- refunds


def refund(
    account: Account,
    charge: Thing,
    amount_minor: int | None = None,
    *,
    reason: str | None = None,
    metadata: Thing | None = None,
    status: str = "succeeded",
) -> Thing:
    """Give back a part, or what is left. `status` may also be pending or failed: then it comes back later, or now.

    Raises Refused: more than what is left, or a dispute has the money.
    """
    if disputes.is_charged_back(charge):
        message = f"Charge {charge['id']} has been charged back; cannot issue a refund."
        raise Refused(message, code="charge_disputed")
    left = charge["amount_captured"] - charge["amount_refunded"]
    if left <= 0:
        raise Refused(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    amount = left if amount_minor is None else amount_minor
    if not 0 < amount <= left:
        wanted, most = (formatting.price(minor, charge["currency"]) for minor in (amount, left))
        raise Refused(f"Refund amount ({wanted}) is greater than unrefunded amount on charge ({most})", param="amount")
    it = {
        "id": new_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": new_id("txn"),
        "charge": charge["id"],
        "created": account.now,
        "currency": charge["currency"],
        "destination_details": {"type": "card", "card": {"type": "refund", "reference_status": "pending"}},
        "metadata": metadata or {},
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded" if status == "failed" else status,
        "transfer_reversal": None,
    }
    account.save(it)
    _give_back(account, charge, amount)
    account.emit("refund.created", it)
    account.emit("charge.refunded", charge)
    account.emit("refund.updated", it)
    if status == "failed":
        return fail_refund(account, it)
    if charge["refunded"]:
        disputes.close_inquiry_of(account, charge)
    return it


def fail_refund(account: Account, it: Thing) -> Thing:
    """The bank does not take the refund: the money is the seller's again."""
    if it["status"] in ("failed", "canceled"):
        raise Refused("This refund has failed already.")
    charge = account.need("charge", it["charge"])
    it.update(status="failed", failure_reason="expired_or_canceled_card", failure_balance_transaction=new_id("txn"))
    account.save(it)
    _give_back(account, charge, -it["amount"])
    account.emit("refund.updated", it)
    account.emit("refund.failed", it)
    account.emit("charge.refund.updated", it)
    return it


def settle_refund(account: Account, it: Thing) -> Thing:
    """A pending refund has arrived."""
    if it["status"] != "pending":
        raise Refused(f"This refund is {it['status']}.")
    it["status"] = "succeeded"
    account.save(it)
    account.emit("refund.updated", it)
    return it


def _give_back(account: Account, charge: Thing, amount_minor: int) -> None:
    charge["amount_refunded"] += amount_minor
    charge["refunded"] = charge["amount_refunded"] >= charge["amount"]
    account.save(charge)
