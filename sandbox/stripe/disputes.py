"""Stripe's disputes and inquiries: opened, escalated and closed, with the events of each step."""

from __future__ import annotations

from sandbox import formatting
from sandbox.store.account import Account, Refused, new_id
from sandbox.store.store import Thing

DISPUTE_FEE_MINOR = 1500
INQUIRY, OPEN, WON, LOST = "warning_needs_response", "needs_response", "won", "lost"
INQUIRY_CLOSED = "warning_closed"


def is_charged_back(charge: Thing) -> bool:
    """Whether a dispute has withdrawn the charge's money. Stripe then rejects refunds."""
    return _state_of(charge) in (OPEN, LOST)


def may_be_disputed(charge: Thing) -> bool:
    """Whether the charge succeeded, is not fully refunded, and has no open or lost dispute and no open inquiry."""
    return (
        charge["status"] == "succeeded"
        and _state_of(charge) in (None, WON, INQUIRY_CLOSED)
        and charge["amount_refunded"] < charge["amount"]
    )


def why_not_refundable(charge: Thing) -> str:
    """Why the charge cannot be refunded; empty if it can."""
    if not is_charged_back(charge):
        return ""
    if _state_of(charge) == LOST:
        return "Not refundable: the dispute was lost, and the buyer has the money."
    return "Not refundable while the dispute is open: the buyer's bank holds the money until it is won or lost."


def _state_of(charge: Thing) -> str | None:
    state: str | None = (charge.get("_dispute") or {}).get("status")
    return state


def create(account: Account, charge: Thing, *, inquiry: bool = False, amount_minor: int | None = None) -> Thing:
    """Open a dispute, or an inquiry that withdraws nothing, about an amount or about all that is left of the charge.

    Raises Refused if nothing is left, the amount exceeds what is left, or the charge has an open dispute or inquiry.
    """
    amount = _disputable(charge, amount_minor)
    dispute = _dispute(account, charge, amount, inquiry)
    charge["disputed"] = True
    _save(account, dispute, charge)
    if inquiry:
        account.emit("charge.dispute.created", dispute)
        return dispute
    _move(account, dispute, -amount)
    account.emit("charge.dispute.created", dispute)
    account.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def _disputable(charge: Thing, amount_minor: int | None) -> int:
    """The amount to dispute. Raises Refused."""
    if not may_be_disputed(charge):
        raise Refused(f"Charge {charge['id']} cannot be disputed: it is {_why_not_disputed(charge)}.")
    left = charge["amount"] - charge["amount_refunded"]
    amount: int = left if amount_minor is None else amount_minor
    if not 0 < amount <= left:
        most = formatting.price(left, charge["currency"])
        raise Refused(
            f"The amount must be greater than zero and at most what is left of the charge ({most}).", param="amount"
        )
    return amount


def _dispute(account: Account, charge: Thing, amount: int, inquiry: bool) -> Thing:
    return {
        "id": new_id("du"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": account.now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {},
        "evidence_details": {"due_by": account.now + 7 * 86400, "has_evidence": False, "submission_count": 0},
        "is_charge_refundable": inquiry,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": "fraudulent",
        "status": INQUIRY if inquiry else OPEN,
    }


def _why_not_disputed(charge: Thing) -> str:
    is_refunded = charge["status"] == "succeeded" and charge["amount_refunded"] >= charge["amount"]
    return "fully refunded" if is_refunded else str(_state_of(charge) or charge["status"])


def escalate(account: Account, dispute: Thing) -> Thing:
    """Turn an inquiry into a dispute. Withdraws what has not been refunded since. Raises Refused."""
    _expect(dispute, INQUIRY)
    charge = account.need("charge", dispute["charge"])
    left = charge["amount"] - charge["amount_refunded"]
    dispute.update(status=OPEN, is_charge_refundable=False, amount=min(dispute["amount"], left))
    _save(account, dispute)
    _move(account, dispute, -dispute["amount"])
    account.emit("charge.dispute.updated", dispute)
    account.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def close_inquiry(account: Account, dispute: Thing) -> Thing:
    """Close an inquiry without moving money. Raises Refused."""
    _expect(dispute, INQUIRY)
    dispute["status"] = INQUIRY_CLOSED
    account.emit("charge.dispute.closed", _save(account, dispute))
    return dispute


def close_inquiry_of(account: Account, charge: Thing) -> None:
    """Close the inquiry of a charge, if it has an open one: it has been fully refunded."""
    if _state_of(charge) == INQUIRY:
        close_inquiry(account, account.need("dispute", charge["_dispute"]["id"]))


def win(account: Account, dispute: Thing) -> Thing:
    """Close a dispute in the seller's favor: the money is reinstated. Raises Refused."""
    _expect(dispute, OPEN)
    dispute.update(status=WON, is_charge_refundable=True)
    _save(account, dispute)
    _move(account, dispute, dispute["amount"])
    account.emit("charge.dispute.closed", dispute)
    account.emit("charge.dispute.funds_reinstated", dispute)
    return dispute


def lose(account: Account, dispute: Thing) -> Thing:
    """Close a dispute in the buyer's favor. Raises Refused."""
    _expect(dispute, OPEN)
    dispute["status"] = LOST
    account.emit("charge.dispute.closed", _save(account, dispute))
    return dispute


def _expect(dispute: Thing, status: str) -> None:
    if dispute["status"] != status:
        raise Refused(f"This dispute is {dispute['status']}.")


def _save(account: Account, dispute: Thing, charge: Thing | None = None) -> Thing:
    """Save the dispute, and its state on the charge."""
    charge = charge or account.need("charge", dispute["charge"])
    charge["_dispute"] = {"id": dispute["id"], "status": dispute["status"]}
    account.save(charge)
    return account.save(dispute)


def _move(account: Account, dispute: Thing, amount_minor: int) -> None:
    fee = DISPUTE_FEE_MINOR if amount_minor < 0 else 0
    moved = {
        "id": new_id("txn"),
        "object": "balance_transaction",
        "amount": amount_minor,
        "available_on": account.now,
        "created": account.now,
        "currency": dispute["currency"],
        "description": f"Chargeback {'withdrawal' if amount_minor < 0 else 'reversal'} for {dispute['charge']}",
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [],
        "net": amount_minor - fee,
        "reporting_category": "dispute" if amount_minor < 0 else "dispute_reversal",
        "source": dispute["id"],
        "status": "available",
        "type": "adjustment",
    }
    dispute["balance_transactions"].append(moved)
    account.save(dispute)
