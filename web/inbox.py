"""Webhook receivers: verify the signature, store the event, enqueue a wake-up, return 200. A worker interprets it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from jobs.inbox import events
from jobs.providers.paypal import receiver
from jobs.providers.stripe import signature
from models.catalog import catalog
from models.catalog.apps import App
from settings import SANDBOX_WEBHOOK_SECRET, settings
from web.http.call import Call
from web.http.fields import Shape
from web.http.routes import Answer, Routes
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
    """Receive a Stripe event.

    Send the raw body with Stripe's signature header. Duplicate events and event types that Scrip does not use also
    return 200.
    """
    owner = catalog.current()[app]
    raw = call.raw()
    header = call.request.environ.get("HTTP_STRIPE_SIGNATURE", "")
    event = signature.verify(raw, header, stripe_secrets(owner), datetime.now(timezone.utc))
    events.receive(owner.slug, "stripe", event["id"], event["type"], raw.decode(), now=call.now)
    notify_soon("inbox")
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
    """Receive a PayPal event.

    Send the raw body with PayPal's signature headers. Duplicate events and event types that Scrip does not use also
    return 200. Returns 503 while the signature can be verified neither locally nor by PayPal, or if the app has no
    webhook id.
    """
    owner = catalog.current()[app]
    raw = call.raw()
    event = receiver.read_event(owner, dict(call.request.headers), raw, datetime.now(timezone.utc))
    events.receive(owner.slug, "paypal", event["id"], event["event_type"], raw.decode(), now=call.now)
    notify_soon("inbox")
    return RECEIVED


def stripe_secrets(app: App) -> tuple[str, ...]:
    """The signing secrets of the app, else those of the settings; in the sandbox also the well-known one."""
    secrets = app.stripe.webhook_secrets or settings.stripe_webhook_secrets
    return (*secrets, SANDBOX_WEBHOOK_SECRET) if settings.sandbox else secrets
