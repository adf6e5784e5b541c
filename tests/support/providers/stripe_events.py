"""Stripe's events as the tests send them: small, and of the shape that Stripe really sends."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any

_numbers = itertools.count(1)


def event(type_: str, thing: dict[str, Any], *, created: datetime, event_id: str | None = None) -> dict[str, Any]:
    """An event around an object."""
    return {
        "id": event_id or f"evt_{next(_numbers):08d}",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": int(created.timestamp()),
        "livemode": False,
        "type": type_,
        "data": {"object": thing},
    }


def paid_session(app: str, customer: str, pack: str, *, number: str = "1", **more: Any) -> dict[str, Any]:
    """A checkout session for a pack that was paid."""
    return {
        "id": f"cs_test_{number}",
        "object": "checkout.session",
        "mode": "payment",
        "payment_status": "paid",
        "status": "complete",
        "client_reference_id": customer,
        "customer": None,
        "payment_intent": f"pi_{number}",
        "amount_total": 1000,
        "currency": "usd",
        "livemode": False,
        "metadata": {"app": app, "customer": customer, "pack": pack},
        **more,
    }


def subscription(
    app: str,
    customer: str,
    plan: str,
    *,
    anchor: datetime,
    start: datetime,
    end: datetime,
    number: str = "1",
    **more: Any,
) -> dict[str, Any]:
    """A subscription, with its period on the item as since basil."""
    return {
        "id": f"sub_{number}",
        "object": "subscription",
        "customer": f"cus_{number}",
        "status": "active",
        "billing_cycle_anchor": int(anchor.timestamp()),
        "start_date": int(anchor.timestamp()),
        "livemode": False,
        "metadata": {"app": app, "customer": customer, "plan": plan},
        "items": {
            "object": "list",
            "data": [
                {
                    "id": f"si_{number}",
                    "current_period_start": int(start.timestamp()),
                    "current_period_end": int(end.timestamp()),
                    "price": {"id": "price_of_another_catalog"},
                    "quantity": 1,
                }
            ],
        },
        **more,
    }


def invoice(
    app: str,
    customer: str,
    plan: str,
    *,
    start: datetime,
    end: datetime,
    reason: str = "subscription_cycle",
    number: str = "1",
    subscription_number: str = "1",
    **more: Any,
) -> dict[str, Any]:
    """An invoice of a subscription, as since basil."""
    return {
        "id": f"in_{number}",
        "object": "invoice",
        "customer": f"cus_{subscription_number}",
        "billing_reason": reason,
        "amount_paid": 2900,
        "currency": "usd",
        "livemode": False,
        "parent": {
            "type": "subscription_details",
            "subscription_details": {
                "subscription": f"sub_{subscription_number}",
                "metadata": {"app": app, "customer": customer, "plan": plan},
            },
        },
        "lines": {
            "object": "list",
            "data": [
                {
                    "id": f"il_{number}",
                    "period": {"start": int(start.timestamp()), "end": int(end.timestamp())},
                    "pricing": {"price_details": {"price": "price_of_another_catalog"}},
                    "metadata": {},
                }
            ],
        },
        **more,
    }


def charge(*, refunded: int, amount: int = 1000, number: str = "1", **more: Any) -> dict[str, Any]:
    """A charge of which so much was refunded."""
    return {
        "id": f"ch_{number}",
        "object": "charge",
        "amount": amount,
        "amount_refunded": refunded,
        "currency": "usd",
        "payment_intent": f"pi_{number}",
        "refunded": refunded == amount,
        "livemode": False,
        "metadata": {},
        **more,
    }


def refund(reference: str, amount: int, *, number: str = "1", status: str = "succeeded", **more: Any) -> dict[str, Any]:
    """One refund of a charge."""
    return {
        "id": reference,
        "object": "refund",
        "amount": amount,
        "charge": f"ch_{number}",
        "payment_intent": f"pi_{number}",
        "currency": "usd",
        "status": status,
        "metadata": {},
        **more,
    }


def dispute(
    *amounts: int, status: str = "needs_response", amount: int = 1000, number: str = "1", **more: Any
) -> dict[str, Any]:
    """A dispute of a charge whose balance transactions have these amounts: negative ones took money."""
    return {
        "id": f"dp_{number}",
        "object": "dispute",
        "amount": amount,
        "charge": f"ch_{number}",
        "payment_intent": f"pi_{number}",
        "currency": "usd",
        "status": status,
        "livemode": False,
        "balance_transactions": [
            {"id": f"txn_{number}_{place}", "object": "balance_transaction", "amount": moved, "currency": "usd"}
            for place, moved in enumerate(amounts)
        ],
        "metadata": {},
        **more,
    }
