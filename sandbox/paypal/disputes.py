"""PayPal's disputes: opened and resolved, with their events."""

from __future__ import annotations

import secrets

from sandbox import formatting
from sandbox.paypal import captures
from sandbox.paypal.objects import CAPTURE, DISPUTE, need, new_id
from sandbox.store.account import Account, Refused, written
from sandbox.store.store import Thing


def create(account: Account, capture: Thing) -> Thing:
    """Open a dispute about what is left of the capture.

    Raises Refused if there is a dispute, or nothing is left.
    """
    if capture.get("_dispute"):
        raise Refused(f"This payment already has an open dispute: {capture['_dispute']}.")
    if capture["status"] not in ("COMPLETED", "PARTIALLY_REFUNDED"):
        raise Refused(f"This payment cannot be disputed: it is {formatting.state(capture['status'])}.")
    left = {**capture["amount"], "value": str(captures.left_of(account, capture))}
    dispute = {
        "dispute_id": f"PP-D-{secrets.randbelow(90000) + 10000}-{new_id()[:5]}",
        "create_time": written(account.moment),
        "update_time": written(account.moment),
        "disputed_transactions": [
            {
                "seller_transaction_id": capture["id"],
                "create_time": capture["create_time"],
                "transaction_status": "COMPLETED",
                "gross_amount": capture["amount"],
                "custom": capture.get("custom_id"),
            }
        ],
        "reason": "MERCHANDISE_OR_SERVICE_NOT_RECEIVED",
        "status": "OPEN",
        "dispute_amount": left,
        "dispute_life_cycle_stage": "INQUIRY",
        "dispute_channel": "INTERNAL",
        "links": [],
        "_capture": capture["id"],
    }
    dispute["id"] = dispute["dispute_id"]
    account.save(dispute, DISPUTE)
    capture["_dispute"] = dispute["id"]
    account.save(capture, CAPTURE)
    _emit(account, dispute, "CREATED", "A new dispute opened")
    return dispute


def resolve(account: Account, dispute: Thing, *, for_buyer: bool) -> Thing:
    """Resolve the dispute. In the buyer's favor, what is left of the capture is reversed. Raises Refused."""
    if dispute["status"] == "RESOLVED":
        raise Refused("This dispute has already been resolved.")
    outcome = "RESOLVED_BUYER_FAVOUR" if for_buyer else "RESOLVED_SELLER_FAVOUR"
    dispute.update(
        status="RESOLVED", dispute_outcome={"outcome_code": outcome, "amount_refunded": dispute["dispute_amount"]}
    )
    dispute["update_time"] = written(account.moment)
    if not for_buyer:
        del dispute["dispute_outcome"]["amount_refunded"]
    account.save(dispute, DISPUTE)
    capture = need(account, CAPTURE, dispute["_capture"])
    capture.pop("_dispute", None)
    account.save(capture, CAPTURE)
    if for_buyer and capture["status"] in ("COMPLETED", "PARTIALLY_REFUNDED"):
        captures.refund(account, capture, reversal=True)
    _emit(account, dispute, "RESOLVED", "A dispute was resolved")
    return dispute


def _emit(account: Account, dispute: Thing, type_: str, summary: str) -> None:
    shown = {name: value for name, value in dispute.items() if name != "id"}
    account.emit_paypal(f"CUSTOMER.DISPUTE.{type_}", "dispute", shown, summary)
