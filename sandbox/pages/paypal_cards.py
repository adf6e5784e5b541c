"""The portal's cards of PayPal's objects. `parts` are (kind, object), which `cards` turns into cards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from sandbox import formatting
from sandbox.paypal.billing import cycles, sales
from sandbox.paypal.billing.cycles import SUBSCRIPTION
from sandbox.paypal.objects import CAPTURE, DISPUTE, REFUND
from sandbox.store.account import Account
from sandbox.store.store import Thing


def _parts(account: Account, kind: str, field: str, id_: str) -> list[tuple[str, Thing]]:
    return [(kind, part) for part in account.store.parts(account.name, kind, field, id_)]


def _capture(account: Account, capture: Thing) -> Thing:
    return {
        "title": _amount(capture["amount"]),
        "customer": _paypal_buyer(account, capture),
        "sold": capture.get("_sold"),
        "state": {"COMPLETED": "paid"}.get(capture["status"], formatting.state(capture["status"])),
        "notes": ["PayPal", formatting.iso_moment(capture["create_time"]), *_settling(capture)],
        "parts": [
            *_parts(account, REFUND, "_capture", capture["id"]),
            *_parts(account, DISPUTE, "_capture", capture["id"]),
        ],
    }


def _paypal_buyer(account: Account, capture: Thing) -> str | None:
    return customer_of_custom_id(capture)


def customer_of_custom_id(thing: Thing) -> str | None:
    """Scrip's customer, as `custom_id` names it, or None."""
    named = parse_qs(thing.get("custom_id") or "").get("customer")
    return named[0] if named else None


def _settling(capture: Thing) -> list[str]:
    return [f"the eCheck arrives on {formatting.moment(capture['_settles_at'])}"] if capture.get("_settles_at") else []


def _amount(amount: dict[str, Any]) -> str:
    return formatting.decimal_price(amount["value"], amount["currency_code"])


def _paypal_refund(account: Account, refund: Thing) -> Thing:
    return {"title": f"Refund of {_amount(refund['amount'])}", "state": formatting.state(refund["status"])}


def _paypal_dispute(account: Account, dispute: Thing) -> Thing:
    outcome = (dispute.get("dispute_outcome") or {}).get("outcome_code")
    return {
        "title": f"Dispute about {_amount(dispute['dispute_amount'])}",
        "state": {"RESOLVED_BUYER_FAVOUR": "lost", "RESOLVED_SELLER_FAVOUR": "won"}.get(outcome or "", "open"),
    }


# --- subscriptions and their sales


def _subscription(account: Account, subscription: Thing) -> Thing:
    quantity, sold = subscription["quantity"], subscription["_sold"]
    info = subscription["billing_info"]
    notes = ["PayPal"]
    if "next_billing_time" in info:
        notes.append(f"next payment on {formatting.iso_moment(info['next_billing_time'])}")
    if cycles.outstanding(subscription):
        notes.append(f"{_amount(info['outstanding_balance'])} outstanding")
    if subscription.get("_fail_next"):
        notes.append("the next payment will fail")
    return {
        "title": sold if quantity == "1" else f"{quantity} × {sold}",
        "customer": _paypal_buyer(account, subscription),
        "state": formatting.state(subscription["status"]),
        "notes": notes,
    }


def _sale(account: Account, sale: Thing) -> Thing:
    return {
        "title": formatting.decimal_price(sale["amount"]["total"], sale["amount"]["currency"]),
        "customer": _seller_customer(account, sale),
        "sold": sale["_sold"],
        "state": {"completed": "paid"}.get(sale["state"], formatting.state(sale["state"])),
        "notes": ["PayPal", formatting.iso_moment(sale["create_time"])],
        "parts": _parts(account, sales.SALE_REFUND, "sale_id", sale["id"]),
    }


def _seller_customer(account: Account, sale: Thing) -> str | None:
    return _paypal_buyer(account, {"custom_id": sale.get("custom")})


def _sale_refund(account: Account, refund: Thing) -> Thing:
    amount = formatting.decimal_price(refund["amount"]["total"].removeprefix("-"), refund["amount"]["currency"])
    what = "Reversal" if refund["reason_code"] == "chargeback" else "Refund"
    return {"title": f"{what} of {amount}", "state": formatting.state(refund["state"])}


CARDS: dict[str, Callable[[Account, Thing], Thing]] = {
    CAPTURE: _capture,
    REFUND: _paypal_refund,
    DISPUTE: _paypal_dispute,
    SUBSCRIPTION: _subscription,
    sales.SALE: _sale,
    sales.SALE_REFUND: _sale_refund,
}

CUSTOMERS: dict[str, Callable[[Account, Thing], str | None]] = {
    CAPTURE: _paypal_buyer,
    SUBSCRIPTION: _paypal_buyer,
    sales.SALE: _seller_customer,
}
