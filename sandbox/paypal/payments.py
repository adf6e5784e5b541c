"""PayPal's money: orders, captures, refunds, reversals and disputes, with the events that each tells.

Functions take an Account, inside a transaction. Amounts are PayPal's: a decimal text and a currency.
"""

from __future__ import annotations

import re
import secrets
from decimal import Decimal
from urllib.parse import urlsplit

from models import money
from sandbox import formatting
from sandbox.store.account import Account, Refused, written
from sandbox.store.store import Thing

ORDER, CAPTURE, REFUND, DISPUTE = "paypal.order", "paypal.capture", "paypal.refund", "paypal.dispute"
ECHECK_SECONDS = 3 * 86400
# A decimal text of at most 32 characters; no exponent, no Infinity.
VALUE = re.compile(r"(?=.{1,32}\Z)[0-9]*\.?[0-9]+", re.ASCII)
MOST_DECIMALS = 2


def word() -> str:
    """An id of PayPal's look."""
    return secrets.token_hex(9).upper()[:17]


class Unprocessable(Refused):
    """PayPal's 422: `code` is the issue."""

    def __init__(self, issue: str, message: str) -> None:
        super().__init__(message, status=422, code=issue)


def need(account: Account, kind: str, id_: str) -> Thing:
    """One object. Raises Refused with 404."""
    found = account.get(kind, id_)
    if found is None:
        raise Refused("The specified resource does not exist.", status=404, code="RESOURCE_NOT_FOUND")
    return found


def create_order(account: Account, body: Thing, url: str) -> Thing:
    """An order from the API's body; the buyer approves it on a page below `url`. Raises Refused."""
    units = body.get("purchase_units")
    if body.get("intent") != "CAPTURE" or not isinstance(units, list) or len(units) != 1:
        raise Refused("The sandbox takes orders of one purchase unit, to be captured.", code="INVALID_REQUEST")
    amount = _amount(units[0].get("amount"))
    id_ = word()
    source = body.get("payment_source") or {}
    context = (source.get("paypal") or {}).get("experience_context") or body.get("application_context") or {}
    order: Thing = {
        "id": id_,
        "intent": "CAPTURE",
        "status": "PAYER_ACTION_REQUIRED" if source else "CREATED",
        "payment_source": {"paypal": {}},
        "purchase_units": [{"reference_id": "default", **units[0], "amount": amount}],
        "create_time": written(account.moment),
        "links": [
            _link(f"{url}/paypal/v2/checkout/orders/{id_}", "self", "GET"),
            _link(f"{url}/paypal/approve/{id_}", "payer-action" if source else "approve", "GET"),
            _link(f"{url}/paypal/v2/checkout/orders/{id_}/capture", "capture", "POST"),
        ],
        "_return_url": _address(context.get("return_url")),
        "_cancel_url": _address(context.get("cancel_url")),
        "_outcome": "COMPLETED",
        "_url": url,
    }
    return account.save(order, ORDER)


def _amount(given: object) -> Thing:
    try:
        assert isinstance(given, dict)
        assert VALUE.fullmatch(given["value"])
        value, currency = Decimal(given["value"]), str(given["currency_code"])
        assert value > 0
        assert len(currency) == 3
    except (AssertionError, KeyError, TypeError):
        raise Unprocessable("INVALID_PARAMETER_VALUE", f"amount is {given!r}"[:200]) from None
    if currency != currency.upper() or currency.lower() not in money.AT_PAYPAL:
        raise Unprocessable("CURRENCY_NOT_SUPPORTED", f"Currency code {currency} is not currently supported.")
    if value % 1 and currency.lower() in money.WHOLE_AT_PAYPAL:
        raise Unprocessable("DECIMALS_NOT_SUPPORTED", f"Currency {currency} does not support decimals.")
    if len(given["value"].partition(".")[2]) > MOST_DECIMALS:
        message = "If the currency supports decimals, only two decimal place precision is supported."
        raise Unprocessable("DECIMAL_PRECISION", message)
    return {**given, "currency_code": currency}


def _address(given: object) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str) or urlsplit(given).scheme not in ("http", "https") or not urlsplit(given).netloc:
        raise Refused("return_url and cancel_url are addresses.", code="INVALID_PARAMETER_SYNTAX")
    return given


def _link(href: str, rel: str, method: str = "GET") -> Thing:
    return {"href": href, "rel": rel, "method": method}


def approve(account: Account, order: Thing, outcome: str = "COMPLETED") -> Thing:
    """The buyer agrees. `outcome` of the capture: COMPLETED, PENDING (an eCheck) or DECLINED."""
    if order["status"] not in ("CREATED", "PAYER_ACTION_REQUIRED"):
        raise Refused(f"This order is {order['status']}.")
    order.update(status="APPROVED", payer={"payer_id": word()[:13], "email_address": "buyer@sandbox.test"})
    order["_outcome"] = outcome
    account.save(order, ORDER)
    account.emit_paypal("CHECKOUT.ORDER.APPROVED", "checkout-order", order, "An order has been approved by buyer")
    return order


def capture_order(account: Account, order: Thing) -> Thing:
    """Take the money of an approved order. Raises Unprocessable."""
    if order["status"] == "COMPLETED":
        raise Unprocessable("ORDER_ALREADY_CAPTURED", "Order already captured.")
    if order["status"] != "APPROVED":
        raise Unprocessable("ORDER_NOT_APPROVED", "Payer has not yet approved the Order for payment.")
    if order["_outcome"] == "INSTRUMENT":
        raise Unprocessable("INSTRUMENT_DECLINED", "The instrument presented was declined.")
    capture = account.save(_capture(account, order), CAPTURE)
    order["purchase_units"][0]["payments"] = {"captures": [capture]}
    order["status"] = "COMPLETED"
    account.save(order, ORDER)
    type_ = {"COMPLETED": "COMPLETED", "PENDING": "PENDING", "DECLINED": "DENIED"}[capture["status"]]
    _tell_capture(account, capture, type_)
    return order


def _capture(account: Account, order: Thing) -> Thing:
    unit, id_, url = order["purchase_units"][0], word(), order["_url"]
    capture = {
        "id": id_,
        "status": order["_outcome"],
        "amount": {name: unit["amount"][name] for name in ("value", "currency_code")},
        "final_capture": True,
        "create_time": written(account.moment),
        "update_time": written(account.moment),
        "supplementary_data": {"related_ids": {"order_id": order["id"]}},
        "links": [
            _link(f"{url}/paypal/v2/payments/captures/{id_}", "self"),
            _link(f"{url}/paypal/v2/payments/captures/{id_}/refund", "refund", "POST"),
            _link(f"{url}/paypal/v2/checkout/orders/{order['id']}", "up"),
        ],
        "_url": url,
    }
    if unit.get("custom_id"):
        capture["custom_id"] = unit["custom_id"]
    capture["_sold"] = unit.get("description")
    if order["_outcome"] == "PENDING":
        capture.update(status_details={"reason": "ECHECK"}, _settles_at=account.now + ECHECK_SECONDS)
    return capture


def _tell_capture(account: Account, capture: Thing, type_: str) -> None:
    value = f"{capture['amount']['value']} {capture['amount']['currency_code']}"
    account.emit_paypal(f"PAYMENT.CAPTURE.{type_}", "capture", capture, f"Payment {type_.lower()} for {value}")


def settle(account: Account, capture: Thing, *, arrived: bool = True) -> Thing:
    """The eCheck arrives, or bounces."""
    if capture["status"] != "PENDING":
        raise Refused(f"This capture is {capture['status']}.")
    capture.pop("status_details", None)
    capture.pop("_settles_at", None)
    capture["status"] = "COMPLETED" if arrived else "DECLINED"
    _save_capture(account, capture)
    _tell_capture(account, capture, "COMPLETED" if arrived else "DENIED")
    return capture


def _save_capture(account: Account, capture: Thing) -> None:
    """The capture, and the copy of it that its order has."""
    capture["update_time"] = written(account.moment)
    account.save(capture, CAPTURE)
    order = need(account, ORDER, capture["supplementary_data"]["related_ids"]["order_id"])
    order["purchase_units"][0]["payments"]["captures"] = [capture]
    account.save(order, ORDER)


def _left(account: Account, capture: Thing) -> Decimal:
    gone = [it for it in account.each(REFUND) if it["_capture"] == capture["id"] and it["status"] == "COMPLETED"]
    return Decimal(capture["amount"]["value"]) - sum((Decimal(it["amount"]["value"]) for it in gone), Decimal(0))


def refund(
    account: Account, capture: Thing, amount: Thing | None = None, *, reversal: bool = False, note: str = ""
) -> Thing:
    """Give back a part, or what is left; a reversal is the same, done to the seller. Raises Unprocessable."""
    if capture["status"] not in ("COMPLETED", "PARTIALLY_REFUNDED"):
        issue = "CAPTURE_FULLY_REFUNDED" if capture["status"] == "REFUNDED" else "INVALID_CAPTURE_STATUS"
        raise Unprocessable(issue, f"The capture is {capture['status']}.")
    left = _left(account, capture)
    currency = capture["amount"]["currency_code"]
    wanted = _amount(amount) if amount else {"value": str(left), "currency_code": currency}
    if wanted["currency_code"] != currency:
        raise Unprocessable("REFUND_CAPTURE_CURRENCY_MISMATCH", "Refund must be in the same currency as the capture.")
    if Decimal(wanted["value"]) > left:
        most = formatting.decimal_price(str(left), currency)
        raise Unprocessable("REFUND_AMOUNT_EXCEEDED", f"The refund amount is more than what is left to refund: {most}.")
    if Decimal(wanted["value"]) < left and not reversal and capture.get("_dispute"):
        message = "Partial refunds cannot be offered at this time because there is an open case on this transaction."
        raise Unprocessable("TRANSACTION_DISPUTED", message)
    it = account.save(_refund(account, capture, wanted, note), REFUND)
    capture["status"] = "REFUNDED" if Decimal(wanted["value"]) == left else "PARTIALLY_REFUNDED"
    _save_capture(account, capture)
    type_ = "REVERSED" if reversal else "REFUNDED"
    summary = f"A {wanted['value']} {currency} capture payment was {type_.lower()}"
    account.emit_paypal(f"PAYMENT.CAPTURE.{type_}", "refund", it, summary)
    return it


def _refund(account: Account, capture: Thing, amount: Thing, note: str) -> Thing:
    id_, url = word(), capture["_url"]
    it = {
        "id": id_,
        "status": "COMPLETED",
        "amount": amount,
        "create_time": written(account.moment),
        "update_time": written(account.moment),
        "links": [
            _link(f"{url}/paypal/v2/payments/refunds/{id_}", "self"),
            _link(f"{url}/paypal/v2/payments/captures/{capture['id']}", "up"),
        ],
        "_capture": capture["id"],
    }
    return {**it, "note_to_payer": note} if note else it


# --- disputes


def dispute(account: Account, capture: Thing) -> Thing:
    """The buyer complains about what is left; PayPal holds the money until it is resolved.

    Raises Refused: there is a dispute, or nothing is left.
    """
    if capture.get("_dispute"):
        raise Refused(f"The dispute {capture['_dispute']} about this payment is open.")
    if capture["status"] not in ("COMPLETED", "PARTIALLY_REFUNDED"):
        raise Refused(f"This payment cannot be disputed: it is {formatting.state(capture['status'])}.")
    left = {**capture["amount"], "value": str(_left(account, capture))}
    it = {
        "dispute_id": f"PP-D-{secrets.randbelow(90000) + 10000}-{word()[:5]}",
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
    it["id"] = it["dispute_id"]
    account.save(it, DISPUTE)
    capture["_dispute"] = it["id"]
    account.save(capture, CAPTURE)
    _tell_dispute(account, it, "CREATED", "A new dispute opened")
    return it


def resolve(account: Account, it: Thing, *, for_buyer: bool) -> Thing:
    """The dispute ends. In the buyer's favour the money goes back: a reversal of the capture."""
    if it["status"] == "RESOLVED":
        raise Refused("This dispute is resolved.")
    outcome = "RESOLVED_BUYER_FAVOUR" if for_buyer else "RESOLVED_SELLER_FAVOUR"
    it.update(status="RESOLVED", dispute_outcome={"outcome_code": outcome, "amount_refunded": it["dispute_amount"]})
    it["update_time"] = written(account.moment)
    if not for_buyer:
        del it["dispute_outcome"]["amount_refunded"]
    account.save(it, DISPUTE)
    capture = need(account, CAPTURE, it["_capture"])
    capture.pop("_dispute", None)
    account.save(capture, CAPTURE)
    if for_buyer and capture["status"] in ("COMPLETED", "PARTIALLY_REFUNDED"):
        refund(account, capture, reversal=True)
    _tell_dispute(account, it, "RESOLVED", "A dispute was resolved")
    return it


def _tell_dispute(account: Account, it: Thing, type_: str, summary: str) -> None:
    shown = {name: value for name, value in it.items() if name != "id"}
    account.emit_paypal(f"CUSTOMER.DISPUTE.{type_}", "dispute", shown, summary)
