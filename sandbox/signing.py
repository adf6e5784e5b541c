"""Signatures of Stripe's events. Scheme: Stripe's documentation, "Verify webhook signatures manually"."""

from __future__ import annotations

import hashlib
import hmac
import time


def stripe_headers(body: bytes, secret: str, *, timestamp: int | None = None) -> dict[str, str]:
    """The headers that sign `body` with `secret`. `timestamp` in seconds; default: now."""
    at = int(time.time()) if timestamp is None else timestamp
    signature = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={at},v1={signature}", "Content-Type": "application/json"}
