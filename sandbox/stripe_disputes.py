"""Stripe's disputes: inquiries that move nothing, withdrawals, and how they end, with the events that each tells."""

from __future__ import annotations

from sandbox.account import Account, Refused, new_id
from sandbox.store import Thing

DISPUTE_FEE_MINOR = 1500
INQUIRY, OPEN, WON, LOST = "warning_needs_response", "needs_response", "won", "lost"


def dispute(account: Account, charge: Thing, *, inquiry: bool = False, amount_minor: int | None = None) -> Thing:
    """The buyer's bank asks (an inquiry), or takes the money away (a dispute)."""
    it = {
        "id": new_id("du"),
        "object": "dispute",
        "amount": charge["amount"] if amount_minor is None else amount_minor,
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
    charge["disputed"] = True
    account.save(charge)
    if inquiry:
        account.tell("charge.dispute.created", account.save(it))
        return it
    _move(account, it, -it["amount"])
    account.tell("charge.dispute.created", it)
    account.tell("charge.dispute.funds_withdrawn", it)
    return it


def escalate(account: Account, it: Thing) -> Thing:
    """The inquiry becomes a dispute: the money goes."""
    _expect(it, INQUIRY)
    it.update(status=OPEN, is_charge_refundable=False)
    _move(account, it, -it["amount"])
    account.tell("charge.dispute.updated", it)
    account.tell("charge.dispute.funds_withdrawn", it)
    return it


def close_inquiry(account: Account, it: Thing) -> Thing:
    """The bank is content, and no money has moved."""
    _expect(it, INQUIRY)
    it["status"] = "warning_closed"
    account.tell("charge.dispute.closed", account.save(it))
    return it


def win(account: Account, it: Thing) -> Thing:
    """The seller is in the right: the money comes back."""
    _expect(it, OPEN)
    it["status"] = WON
    _move(account, it, it["amount"])
    account.tell("charge.dispute.closed", it)
    account.tell("charge.dispute.funds_reinstated", it)
    return it


def lose(account: Account, it: Thing) -> Thing:
    """The buyer is in the right: the money stays away."""
    _expect(it, OPEN)
    it["status"] = LOST
    account.tell("charge.dispute.closed", account.save(it))
    return it


def _expect(it: Thing, status: str) -> None:
    if it["status"] != status:
        raise Refused(f"This dispute is {it['status']}.")


def _move(account: Account, it: Thing, amount_minor: int) -> None:
    fee = DISPUTE_FEE_MINOR if amount_minor < 0 else 0
    moved = {
        "id": new_id("txn"),
        "object": "balance_transaction",
        "amount": amount_minor,
        "available_on": account.now,
        "created": account.now,
        "currency": it["currency"],
        "description": f"Chargeback {'withdrawal' if amount_minor < 0 else 'reversal'} for {it['charge']}",
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [],
        "net": amount_minor - fee,
        "reporting_category": "dispute" if amount_minor < 0 else "dispute_reversal",
        "source": it["id"],
        "status": "available",
        "type": "adjustment",
    }
    it["balance_transactions"].append(moved)
    account.save(it)
