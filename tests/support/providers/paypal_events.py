"""PayPal's events as the tests send them: small, and of the shape that PayPal really sends."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any

import orjson

_numbers = itertools.count(1)


def event(type_: str, resource: Any, *, event_id: str | None = None) -> dict[str, Any]:
    """An event around a resource."""
    return {
        "id": event_id or f"WH-{next(_numbers):08d}",
        "event_version": "1.0",
        "create_time": "2026-03-10T12:00:00Z",
        "resource_type": "capture",
        "resource_version": "2.0",
        "event_type": type_,
        "summary": "",
        "resource": resource,
        "links": [],
    }


def amount(value: str = "19.99", currency: str = "USD") -> dict[str, str]:
    return {"currency_code": currency, "value": value}


def capture(custom_id: str | None, *, number: str = "1", **more: Any) -> dict[str, Any]:
    """A capture that was completed."""
    return {
        "id": f"CAP{number}",
        "status": "COMPLETED",
        "amount": amount(),
        "final_capture": True,
        "custom_id": custom_id,
        "supplementary_data": {"related_ids": {"order_id": f"ORD{number}"}},
        "links": [{"href": f"https://api.paypal.com/v2/payments/captures/CAP{number}", "rel": "self", "method": "GET"}],
        **more,
    }


def refund(value: str, *, number: str = "1", of: str = "1", currency: str = "USD", **more: Any) -> dict[str, Any]:
    """A refund of a capture: it names it by the link that leads up."""
    return {
        "id": f"REF{number}",
        "status": "COMPLETED",
        "amount": amount(value, currency),
        "links": [
            {"href": f"https://api.paypal.com/v2/payments/refunds/REF{number}", "rel": "self", "method": "GET"},
            {"href": f"https://api.paypal.com/v2/payments/captures/CAP{of}", "rel": "up", "method": "GET"},
        ],
        **more,
    }


def dispute(status: str = "OPEN", *, number: str = "1", of: str = "1", **more: Any) -> dict[str, Any]:
    """A dispute of one capture."""
    return {
        "dispute_id": f"PP-D-{number}",
        "status": status,
        "disputed_transactions": [{"seller_transaction_id": f"CAP{of}", "custom": None}],
        "dispute_amount": amount(),
        **more,
    }


def order(custom_id: str | None, *captures: dict[str, Any], number: str = "1", **more: Any) -> dict[str, Any]:
    """An approved order, or with captures a completed one."""
    unit: dict[str, Any] = {"reference_id": "default", "custom_id": custom_id, "amount": amount()}
    if captures:
        unit["payments"] = {"captures": list(captures)}
    status = "COMPLETED" if captures else "APPROVED"
    return {"id": f"ORD{number}", "intent": "CAPTURE", "status": status, "purchase_units": [unit], **more}


def raw(told: dict[str, Any]) -> bytes:
    return orjson.dumps(told)


# --- subscriptions


def written(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def subscription(
    custom_id: str | None, start: datetime, *, at: datetime | None = None, plan: str = "P-PRO", **more: Any
) -> dict[str, Any]:
    """A subscription that is active since its start; `at`: when it took the state that it shows."""
    info = {"cycle_executions": [execution("REGULAR", 1)], "failed_payments_count": 0}
    return {
        "id": "I-1",
        "plan_id": plan,
        "status": "ACTIVE",
        "status_update_time": written(at or start),
        "start_time": written(start),
        "quantity": "1",
        "custom_id": custom_id,
        "subscriber": {"payer_id": "PAYER1"},
        "billing_info": {**info, **more.pop("billing_info", {})},
        "create_time": written(start),
        "update_time": written(at or start),
        "links": [],
        **more,
    }


def execution(tenure: str, completed: int, total: int = 0) -> dict[str, Any]:
    """A billing cycle as `billing_info` counts it."""
    return {"tenure_type": tenure, "sequence": 1, "cycles_completed": completed, "total_cycles": total}


def sale(
    value: str, at: datetime, *, number: str = "1", custom: str | None = None, state: str = "completed", **more: Any
) -> dict[str, Any]:
    """A payment of the subscription."""
    return {
        "id": f"SALE{number}",
        "state": state,
        "amount": {"total": value, "currency": "USD", "details": {"subtotal": value}},
        "billing_agreement_id": "I-1",
        "custom": custom,
        "create_time": written(at),
        "update_time": written(at),
        "links": [{"href": f"https://api.paypal.com/v1/payments/sale/SALE{number}", "rel": "self", "method": "GET"}],
        **more,
    }


def sale_refund(value: str, *, number: str = "1", of: str = "1", **more: Any) -> dict[str, Any]:
    """A refund of a sale: its amount is negative."""
    return {
        "id": f"RS{number}",
        "sale_id": f"SALE{of}",
        "state": "completed",
        "amount": {"total": f"-{value}", "currency": "USD"},
        "links": [{"href": f"https://api.paypal.com/v1/payments/sale/SALE{of}", "rel": "sale", "method": "GET"}],
        **more,
    }
