"""Checkout sessions at Stripe."""

from __future__ import annotations

from typing import Any

from jobs.providers.stripe import client
from models.catalog.apps import App
from models.errors import ProviderAway
from models.tables import Checkout

# The names by which Scrip finds out what was bought, and for whom. A request cannot set any of them.
RESERVED = ("app", "customer", "pack", "plan", "checkout")


def open_session(app: App, checkout: Checkout, customer_id: str | None = None) -> tuple[str, str]:
    """Open the checkout's session. Returns its id and the URL of its payment page. Repeating the call is safe.

    `customer_id`: the customer at Stripe; None lets the session create one.

    Raises:
        ProviderAway, ProviderRefused.
    """
    key = client.idempotency_key("checkout", app.slug, customer_id or "", checkout.external_id)
    params = _params(app, checkout, customer_id)
    session = client.call(app, lambda v1: v1.checkout.sessions.create(params, {"idempotency_key": key}))
    if not session.get("url"):
        raise ProviderAway("Stripe returned a checkout session without a url")
    return session["id"], session["url"]


def _params(app: App, checkout: Checkout, customer_id: str | None) -> dict[str, Any]:
    options: dict[str, Any] = checkout.options or {}
    metadata = _metadata(app, checkout, options)
    params: dict[str, Any] = {
        "mode": "subscription" if checkout.plan else "payment",
        "line_items": [{**_price(checkout), "quantity": checkout.quantity}],
        "client_reference_id": checkout.customer,
        "metadata": metadata,
        # Stripe does not copy a session's metadata to its subscription or payment intent.
        "subscription_data" if checkout.plan else "payment_intent_data": {"metadata": metadata},
        "success_url": checkout.success_url,
        "cancel_url": checkout.cancel_url,
        "allow_promotion_codes": bool(options.get("allow_promotion_codes")),
    }
    if customer_id:
        params["customer"] = customer_id
    elif checkout.email:
        params["customer_email"] = checkout.email
    if options.get("locale"):
        params["locale"] = options["locale"]
    if options.get("automatic_tax"):
        params["automatic_tax"] = {"enabled": True}
        if customer_id:  # without it Stripe rejects customers that have no address yet
            params["customer_update"] = {"address": "auto"}
    if options.get("invoice_creation") and not checkout.plan:
        # The invoice must name the checkout too, so that it is known as the same purchase.
        params["invoice_creation"] = {"enabled": True, "invoice_data": {"metadata": metadata}}
    return params


def _metadata(app: App, checkout: Checkout, options: dict[str, Any]) -> dict[str, str]:
    own = client.metadata(
        [
            ("app", app.slug),
            ("customer", checkout.customer),
            ("pack", checkout.pack),
            ("plan", checkout.plan),
            ("checkout", checkout.external_id),
        ]
    )
    given = options.get("metadata") or {}
    return {**{name: value for name, value in given.items() if name not in RESERVED}, **own}


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
