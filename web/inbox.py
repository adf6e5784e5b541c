"""Receivers of providers' webhooks: verify, store, ring, answer. What an event means is judged by a worker."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from jobs.inbox import events
from jobs.providers.paypal import receiver as paypal_webhooks
from jobs.providers.stripe import signature
from models.catalog import catalog
from models.catalog.apps import App
from settings import SANDBOX_WEBHOOK_SECRET, settings
from web.http.fields import Shape
from web.http.routes import Answer, Call, Routes
from workers.wakeups import notify_soon

routes = Routes("Receivers")
RECEIVED = {"received": True}


class Received(Shape):
    received: bool
    example = RECEIVED


STRIPE: dict[str, Any] = {
    "parameters": [{"name": "Stripe-Signature", "in": "header", "required": True, "schema": {"type": "string"}}],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object", "required": ["id", "type"]}}},
    },
}


@routes.post("/webhooks/stripe/{app}", status=200, answer=Received, errors=(400, 404, 413, 503), describe=STRIPE)
def stripe(call: Call, app: str) -> Answer:
    """Receive an event of Stripe.

    The raw body with Stripe's signature. Events that are known already, and types that are not used, are received too.
    """
    receiver = catalog.current()[app]
    raw = call.raw()
    header = call.request.environ.get("HTTP_STRIPE_SIGNATURE", "")
    event = signature.verify(raw, header, stripe_secrets(receiver), datetime.now(timezone.utc))
    events.receive(receiver.slug, "stripe", event["id"], event["type"], raw.decode(), now=call.now)
    notify_soon("webhooks")
    return RECEIVED


PAYPAL: dict[str, Any] = {
    "parameters": [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}
        for name in (
            "PAYPAL-TRANSMISSION-ID",
            "PAYPAL-TRANSMISSION-TIME",
            "PAYPAL-TRANSMISSION-SIG",
            "PAYPAL-CERT-URL",
            "PAYPAL-AUTH-ALGO",
        )
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object", "required": ["id", "event_type"]}}},
    },
}


@routes.post("/webhooks/paypal/{app}", status=200, answer=Received, errors=(400, 404, 413, 503), describe=PAYPAL)
def paypal(call: Call, app: str) -> Answer:
    """Receive an event of PayPal.

    The raw body with PayPal's headers. Events that are known already, and types that are not used, are received too.
    503 also while the signature can be checked neither here nor by PayPal, and while the app has no webhook id.
    """
    receiver = catalog.current()[app]
    raw = call.raw()
    event = paypal_webhooks.read_event(receiver, dict(call.request.headers), raw, datetime.now(timezone.utc))
    events.receive(receiver.slug, "paypal", event["id"], event["event_type"], raw.decode(), now=call.now)
    notify_soon("webhooks")
    return RECEIVED


def stripe_secrets(app: App) -> tuple[str, ...]:
    """The app's own secrets, else those of the settings; in the sandbox also the one that everybody knows."""
    secrets = app.stripe.webhook_secrets or settings.stripe_webhook_secrets
    return (*secrets, SANDBOX_WEBHOOK_SECRET) if settings.sandbox else secrets
