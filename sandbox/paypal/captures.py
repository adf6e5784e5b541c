"""PayPal's captures, their refunds and reversals, with the events of each."""

from __future__ import annotations

from decimal import Decimal

from sandbox import formatting
from sandbox.paypal.objects import CAPTURE, ORDER, REFUND, Unprocessable, amount_of, link, need, new_id
from sandbox.store.account import Account, Refused, written
from sandbox.store.store import Thing

ECHECK_SECONDS = 3 * 86400
# The capture's status and the end of its event's type.
EVENTS = {"COMPLETED": "COMPLETED", "PENDING": "PENDING", "DECLINED": "DENIED"}


def new(account: Account, order: Thing) -> Thing:
    """The capture of an approved order, with the outcome that the buyer chose. Not saved."""
    unit, id_, url = order["purchase_units"][0], new_id(), order["_url"]
    capture = {
        "id": id_,
        "status": order["_outcome"],
        "amount": {name: unit["amount"][name] for name in ("value", "currency_code")},
        "final_capture": True,
        "create_time": written(account.moment),
        "update_time": written(account.moment),
        "supplementary_data": {"related_ids": {"order_id": order["id"]}},
        "links": [
            link(f"{url}/paypal/v2/payments/captures/{id_}", "self"),
            link(f"{url}/paypal/v2/payments/captures/{id_}/refund", "refund", "POST"),
            link(f"{url}/paypal/v2/checkout/orders/{order['id']}", "up"),
        ],
        "_url": url,
    }
    if unit.get("custom_id"):
        capture["custom_id"] = unit["custom_id"]
    capture["_sold"] = unit.get("description")
    if order["_outcome"] == "PENDING":
        capture.update(status_details={"reason": "ECHECK"}, _settles_at=account.now + ECHECK_SECONDS)
    return capture


def emit(account: Account, capture: Thing) -> None:
    """Emit the event of the capture's present status."""
    type_ = EVENTS[capture["status"]]
    value = f"{capture['amount']['value']} {capture['amount']['currency_code']}"
    account.emit_paypal(f"PAYMENT.CAPTURE.{type_}", "capture", capture, f"Payment {type_.lower()} for {value}")


def settle(account: Account, capture: Thing, *, arrived: bool = True) -> Thing:
    """Settle a pending eCheck: it arrived, or it bounced. Raises Refused if it is not pending."""
    if capture["status"] != "PENDING":
        raise Refused(f"This capture is {capture['status']}.")
    capture.pop("status_details", None)
    capture.pop("_settles_at", None)
    capture["status"] = "COMPLETED" if arrived else "DECLINED"
    _save(account, capture)
    emit(account, capture)
    return capture


def _save(account: Account, capture: Thing) -> None:
    """Save the capture and its copy in the order."""
    capture["update_time"] = written(account.moment)
    account.save(capture, CAPTURE)
    order = need(account, ORDER, capture["supplementary_data"]["related_ids"]["order_id"])
    order["purchase_units"][0]["payments"]["captures"] = [capture]
    account.save(order, ORDER)


def left_of(account: Account, capture: Thing) -> Decimal:
    """The amount of the capture that has not been refunded."""
    refunds = [
        refund
        for refund in account.each(REFUND)
        if refund["_capture"] == capture["id"] and refund["status"] == "COMPLETED"
    ]
    return Decimal(capture["amount"]["value"]) - sum(
        (Decimal(refund["amount"]["value"]) for refund in refunds), Decimal(0)
    )


def refund(
    account: Account, capture: Thing, amount: Thing | None = None, *, reversal: bool = False, note: str = ""
) -> Thing:
    """Refund an amount, or all that is left. `reversal`: PayPal reverses the capture. Raises Unprocessable."""
    if capture["status"] not in ("COMPLETED", "PARTIALLY_REFUNDED"):
        issue = "CAPTURE_FULLY_REFUNDED" if capture["status"] == "REFUNDED" else "INVALID_CAPTURE_STATUS"
        raise Unprocessable(issue, f"The capture is {capture['status']}.")
    left = left_of(account, capture)
    currency = capture["amount"]["currency_code"]
    given = amount_of(amount) if amount else {"value": str(left), "currency_code": currency}
    if given["currency_code"] != currency:
        raise Unprocessable("REFUND_CAPTURE_CURRENCY_MISMATCH", "Refund must be in the same currency as the capture.")
    if Decimal(given["value"]) > left:
        most = formatting.decimal_price(str(left), currency)
        raise Unprocessable("REFUND_AMOUNT_EXCEEDED", f"The refund amount exceeds what is left to refund: {most}.")
    if Decimal(given["value"]) < left and not reversal and capture.get("_dispute"):
        message = "Partial refunds cannot be offered at this time because there is an open case on this transaction."
        raise Unprocessable("TRANSACTION_DISPUTED", message)
    refund = account.save(_refund(account, capture, given, note), REFUND)
    capture["status"] = "REFUNDED" if Decimal(given["value"]) == left else "PARTIALLY_REFUNDED"
    _save(account, capture)
    type_ = "REVERSED" if reversal else "REFUNDED"
    summary = f"A {given['value']} {currency} capture payment was {type_.lower()}"
    account.emit_paypal(f"PAYMENT.CAPTURE.{type_}", "refund", refund, summary)
    return refund


def _refund(account: Account, capture: Thing, amount: Thing, note: str) -> Thing:
    id_, url = new_id(), capture["_url"]
    refund = {
        "id": id_,
        "status": "COMPLETED",
        "amount": amount,
        "create_time": written(account.moment),
        "update_time": written(account.moment),
        "links": [
            link(f"{url}/paypal/v2/payments/refunds/{id_}", "self"),
            link(f"{url}/paypal/v2/payments/captures/{capture['id']}", "up"),
        ],
        "_capture": capture["id"],
    }
    return {**refund, "note_to_payer": note} if note else refund
