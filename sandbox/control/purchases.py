"""The events that Stripe and PayPal send when a pack has been paid."""

from __future__ import annotations

import secrets
import time
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from models import money
from models.catalog.apps import App


def paid_checkout(app: App, customer: str, pack: str, *, quantity: int = 1) -> dict[str, Any]:
    """A `checkout.session.completed` for a pack of the catalog, paid in full, with new ids."""
    sold = app.packs[pack]
    tag = secrets.token_hex(8)
    session = {
        "id": f"cs_test_{tag}",
        "object": "checkout.session",
        "mode": "payment",
        "status": "complete",
        "payment_status": "paid",
        "payment_intent": f"pi_{tag}",
        "client_reference_id": customer,
        "customer": None,
        "amount_total": sold.price_minor * quantity,
        "currency": sold.currency,
        "livemode": False,
        "line_items": {"object": "list", "data": [{"object": "item", "quantity": quantity}]},
        "metadata": {"app": app.slug, "customer": customer, "pack": pack},
    }
    return {
        "id": f"evt_{tag}",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": int(time.time()),
        "livemode": False,
        "type": "checkout.session.completed",
        "data": {"object": session},
    }


def paid_capture(app: App, customer: str, pack: str) -> dict[str, Any]:
    """A `PAYMENT.CAPTURE.COMPLETED` for a pack of the catalog, paid in full, with new ids."""
    sold = app.packs[pack]
    tag = secrets.token_hex(8).upper()
    at = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    value = money.paypal_value(sold.price_minor, sold.currency)
    capture = {
        "id": f"CAP{tag}",
        "status": "COMPLETED",
        "amount": {"currency_code": sold.currency.upper(), "value": value},
        "final_capture": True,
        "custom_id": f"customer={quote(customer, safe='')}&pack={quote(pack, safe='')}",
        "supplementary_data": {"related_ids": {"order_id": f"ORD{tag}"}},
        "create_time": at,
        "update_time": at,
        "links": [],
    }
    return {
        "id": f"WH-{tag}",
        "event_version": "1.0",
        "create_time": at,
        "resource_type": "capture",
        "resource_version": "2.0",
        "event_type": "PAYMENT.CAPTURE.COMPLETED",
        "summary": f"Payment completed for {value} {sold.currency.upper()}",
        "resource": capture,
        "links": [],
    }
