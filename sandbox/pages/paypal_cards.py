"""The portal's cards of PayPal's objects. `parts` are (kind, object), which `cards` turns into cards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from sandbox import formatting
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
    named = parse_qs(capture.get("custom_id") or "").get("customer")
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


CARDS: dict[str, Callable[[Account, Thing], Thing]] = {
    CAPTURE: _capture,
    REFUND: _paypal_refund,
    DISPUTE: _paypal_dispute,
}

CUSTOMERS: dict[str, Callable[[Account, Thing], str | None]] = {CAPTURE: _paypal_buyer}
