"""PayPal's orders: created by the API, approved on the page, captured by the API, with their events."""

from __future__ import annotations

from sandbox.paypal import captures
from sandbox.paypal.objects import CAPTURE, ORDER, Unprocessable, amount_of, link, new_id
from sandbox.paypal.requests import web_address
from sandbox.store.account import Account, Refused, written
from sandbox.store.store import Thing


def create(account: Account, body: Thing, url: str) -> Thing:
    """Create an order from the API's body; its approval page is below `url`. Raises Refused."""
    units = body.get("purchase_units")
    if body.get("intent") != "CAPTURE" or not isinstance(units, list) or len(units) != 1:
        raise Refused("The sandbox accepts only one purchase unit and the intent CAPTURE.", code="INVALID_REQUEST")
    amount = amount_of(units[0].get("amount"))
    id_ = new_id()
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
            link(f"{url}/paypal/v2/checkout/orders/{id_}", "self", "GET"),
            link(f"{url}/paypal/approve/{id_}", "payer-action" if source else "approve", "GET"),
            link(f"{url}/paypal/v2/checkout/orders/{id_}/capture", "capture", "POST"),
        ],
        "_return_url": web_address(context.get("return_url")),
        "_cancel_url": web_address(context.get("cancel_url")),
        "_outcome": "COMPLETED",
        "_url": url,
    }
    return account.save(order, ORDER)


def approve(account: Account, order: Thing, outcome: str = "COMPLETED") -> Thing:
    """Approve the order. Raises Refused if it is not open.

    `outcome` of its capture: COMPLETED, PENDING (an eCheck), DECLINED, or INSTRUMENT (capturing is rejected).
    """
    if order["status"] not in ("CREATED", "PAYER_ACTION_REQUIRED"):
        raise Refused(f"This order is {order['status']}.")
    order.update(status="APPROVED", payer={"payer_id": new_id()[:13], "email_address": "buyer@sandbox.test"})
    order["_outcome"] = outcome
    account.save(order, ORDER)
    account.emit_paypal("CHECKOUT.ORDER.APPROVED", "checkout-order", order, "An order has been approved by buyer")
    return order


def capture(account: Account, order: Thing) -> Thing:
    """Capture an approved order. Raises Unprocessable."""
    if order["status"] == "COMPLETED":
        raise Unprocessable("ORDER_ALREADY_CAPTURED", "Order already captured.")
    if order["status"] != "APPROVED":
        raise Unprocessable("ORDER_NOT_APPROVED", "Payer has not yet approved the Order for payment.")
    if order["_outcome"] == "INSTRUMENT":
        raise Unprocessable("INSTRUMENT_DECLINED", "The instrument presented was declined.")
    taken = account.save(captures.new(account, order), CAPTURE)
    order["purchase_units"][0]["payments"] = {"captures": [taken]}
    order["status"] = "COMPLETED"
    account.save(order, ORDER)
    captures.emit(account, taken)
    return order
