"""Checkout sessions at Stripe."""

from __future__ import annotations

from typing import Any

from jobs.providers.stripe import client
from models.catalog.apps import App
from models.errors import ProviderAway
from models.tables import Checkout


def open_session(app: App, checkout: Checkout) -> tuple[str, str]:
    """Open the checkout's session: (its id, where the customer pays). The same checkout again is the same session.

    Raises:
        ProviderAway, ProviderRefused.
    """
    key = client.idempotency_key("checkout", app.slug, checkout.external_id)
    wanted = _wanted(app, checkout)
    session = client.call(app, lambda v1: v1.checkout.sessions.create(wanted, {"idempotency_key": key}))
    if not session.get("url"):
        raise ProviderAway("Stripe opened a session without a page to pay on")
    return session["id"], session["url"]


def _wanted(app: App, checkout: Checkout) -> dict[str, Any]:
    metadata = client.metadata(
        [
            ("app", app.slug),
            ("customer", checkout.customer),
            ("pack", checkout.pack),
            ("plan", checkout.plan),
            ("checkout", checkout.external_id),
        ]
    )
    # Stripe does not carry a session's metadata on to what comes of it.
    carried = "subscription_data" if checkout.plan else "payment_intent_data"
    wanted: dict[str, Any] = {
        "mode": "subscription" if checkout.plan else "payment",
        "line_items": [{**_price(checkout), "quantity": checkout.quantity}],
        "client_reference_id": checkout.customer,
        "metadata": metadata,
        carried: {"metadata": metadata},
        "success_url": checkout.success_url,
        "cancel_url": checkout.cancel_url,
        "allow_promotion_codes": True,
    }
    if checkout.email:
        wanted["customer_email"] = checkout.email
    return wanted


def _price(checkout: Checkout) -> dict[str, Any]:
    if checkout.stripe_price:
        return {"price": checkout.stripe_price}
    data: dict[str, Any] = {
        "currency": checkout.currency,
        "unit_amount": checkout.price_minor,
        "product_data": {"name": checkout.title},
    }
    if checkout.plan:
        data["recurring"] = {"interval": "month"}
    return {"price_data": data}
