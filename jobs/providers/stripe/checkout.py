"""Checkout sessions at Stripe."""

from __future__ import annotations

from typing import Any

from jobs.providers.stripe import client
from models.catalog.apps import App
from models.errors import ProviderAway
from models.tables import Checkout


def open_session(app: App, checkout: Checkout) -> tuple[str, str]:
    """Open the checkout's session. Returns its id and the URL of its payment page. Repeating the call is safe.

    Raises:
        ProviderAway, ProviderRefused.
    """
    key = client.idempotency_key("checkout", app.slug, checkout.external_id)
    params = _params(app, checkout)
    session = client.call(app, lambda v1: v1.checkout.sessions.create(params, {"idempotency_key": key}))
    if not session.get("url"):
        raise ProviderAway("Stripe returned a checkout session without a url")
    return session["id"], session["url"]


def _params(app: App, checkout: Checkout) -> dict[str, Any]:
    metadata = client.metadata(
        [
            ("app", app.slug),
            ("customer", checkout.customer),
            ("pack", checkout.pack),
            ("plan", checkout.plan),
            ("checkout", checkout.external_id),
        ]
    )
    # Stripe does not copy a session's metadata to its subscription or payment intent.
    created = "subscription_data" if checkout.plan else "payment_intent_data"
    params: dict[str, Any] = {
        "mode": "subscription" if checkout.plan else "payment",
        "line_items": [{**_price(checkout), "quantity": checkout.quantity}],
        "client_reference_id": checkout.customer,
        "metadata": metadata,
        created: {"metadata": metadata},
        "success_url": checkout.success_url,
        "cancel_url": checkout.cancel_url,
        "allow_promotion_codes": True,
    }
    if checkout.email:
        params["customer_email"] = checkout.email
    return params


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
