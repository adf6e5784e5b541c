"""Signing what goes out, by Standard Webhooks 1.0 (https://www.standardwebhooks.com): secrets and the three headers."""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Iterable

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """A secret as receivers configure it: `whsec_` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers(message_id: str, body: bytes, with_secrets: Iterable[str], *, wall_seconds: int) -> dict[str, str]:
    """The headers that let a receiver check the body: one signature a secret, so that either of two will do.

    wall_seconds: Unix time by the real clock, which receivers compare with their own.
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
