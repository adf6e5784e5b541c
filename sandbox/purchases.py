"""The event that Stripe sends when somebody has paid for a pack."""

from __future__ import annotations

import secrets
import time
from typing import Any

from models.apps import App


def paid_checkout(app: App, customer: str, pack: str, *, quantity: int = 1) -> dict[str, Any]:
    """A `checkout.session.completed` for a pack of the catalog, paid in full, with ids of its own."""
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
