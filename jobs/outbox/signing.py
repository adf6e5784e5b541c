"""Secrets and signature headers of outgoing webhooks: Standard Webhooks 1.0 (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Iterable

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """Return a new secret in the form that receivers configure: `whsec_` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers(message_id: str, body: bytes, with_secrets: Iterable[str], *, wall_seconds: int) -> dict[str, str]:
    """Return the headers with which a receiver verifies the body: one signature for each secret.

    wall_seconds: Unix time by the wall clock, which receivers compare with their own.
    """
    signed = f"{message_id}.{wall_seconds}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(wall_seconds),
        "webhook-signature": " ".join(_signature(secret, signed) for secret in with_secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
