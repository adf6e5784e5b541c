"""Stripe's refunds: created, failed and settled, with the events of each.

Functions take an Account, inside a transaction. Amounts are minor units of the currency.
"""

from __future__ import annotations

from typing import Any

from sandbox import formatting
from sandbox.store.account import Account, Refused, new_id
from sandbox.store.store import Thing
from sandbox.stripe import disputes


def create(
    account: Account,
    charge: Thing,
    amount_minor: int | None = None,
    *,
    reason: str | None = None,
    metadata: Thing | None = None,
    status: str = "succeeded",
) -> Thing:
    """Refund a charge: an amount, or all that is left.

    `status`: `succeeded`, `pending` (until `settle`), or `failed` (fails right after its creation). Raises Refused if
    the amount exceeds what is left, or a dispute has withdrawn the money.
    """
    amount = _refundable(charge, amount_minor)
    made_as = "succeeded" if status == "failed" else status
    refund = account.save(_refund(account, charge, amount, status=made_as, reason=reason, metadata=metadata or {}))
    _add_refunded(account, charge, amount)
    account.emit("refund.created", refund)
    account.emit("charge.refunded", charge)
    account.emit("refund.updated", refund)
    if status == "failed":
        return fail(account, refund)
    if charge["refunded"]:
        disputes.close_inquiry_of(account, charge)
    return refund


def _refundable(charge: Thing, amount_minor: int | None) -> int:
    """The amount to refund. Raises Refused."""
    if disputes.is_charged_back(charge):
        message = f"Charge {charge['id']} has been charged back; cannot issue a refund."
        raise Refused(message, code="charge_disputed")
    left = charge["amount_captured"] - charge["amount_refunded"]
    if left <= 0:
        raise Refused(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    amount: int = left if amount_minor is None else amount_minor
    if not 0 < amount <= left:
        given, most = (formatting.price(minor, charge["currency"]) for minor in (amount, left))
        raise Refused(f"Refund amount ({given}) is greater than unrefunded amount on charge ({most})", param="amount")
    return amount


def _refund(account: Account, charge: Thing, amount: int, **more: Any) -> Thing:
    return {
        "id": new_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": new_id("txn"),
        "charge": charge["id"],
        "created": account.now,
        "currency": charge["currency"],
        "destination_details": {"type": "card", "card": {"type": "refund", "reference_status": "pending"}},
        "payment_intent": charge["payment_intent"],
        "receipt_number": None,
        "source_transfer_reversal": None,
        "transfer_reversal": None,
        **more,
    }


def fail(account: Account, refund: Thing) -> Thing:
    """Fail a refund: its amount is no longer refunded. Raises Refused."""
    if refund["status"] in ("failed", "canceled"):
        raise Refused("This refund has already failed.")
    charge = account.need("charge", refund["charge"])
    refund.update(status="failed", failure_reason="expired_or_canceled_card", failure_balance_transaction=new_id("txn"))
    account.save(refund)
    _add_refunded(account, charge, -refund["amount"])
    account.emit("refund.updated", refund)
    account.emit("refund.failed", refund)
    account.emit("charge.refund.updated", refund)
    return refund


def settle(account: Account, refund: Thing) -> Thing:
    """Settle a pending refund. Raises Refused."""
    if refund["status"] != "pending":
        raise Refused(f"This refund is {refund['status']}.")
    refund["status"] = "succeeded"
    account.save(refund)
    account.emit("refund.updated", refund)
    return refund


def _add_refunded(account: Account, charge: Thing, amount_minor: int) -> None:
    charge["amount_refunded"] += amount_minor
    charge["refunded"] = charge["amount_refunded"] >= charge["amount"]
    account.save(charge)
