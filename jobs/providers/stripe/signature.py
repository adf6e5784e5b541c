"""Verifies Stripe's signatures without Stripe's library, so the web process does not import it.

The scheme is Stripe's published one: the header `t=SECONDS,v1=HEX[,v1=HEX...]` signs `SECONDS.BODY` with HMAC-SHA256
(https://docs.stripe.com/webhooks#verify-manually). In addition, several secrets are tried, for rotations, and times
too far in the future are rejected like times too far in the past.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from jobs.providers import event_body
from models.errors import BadRequest

TOLERANCE_SECONDS = 300


def verify(raw: bytes, header: str, secrets: Iterable[str], now_wall: datetime) -> dict[str, Any]:
    """The event in `raw`, if it was signed with one of `secrets` within five minutes of `now_wall` (wall clock).

    Raises:
        BadRequest: the header is malformed, no secret matches, the time is too old or too new, or `raw` is not an event
            with an `id` and a `type`.
    """
    timestamp, signatures = _parts(header)
    signed = timestamp.encode() + b"." + raw
    if not any(_signs(secret, signed, signatures) for secret in secrets):
        raise BadRequest("the signature does not match the body with any webhook secret of the app")
    if abs(now_wall.timestamp() - int(timestamp)) > TOLERANCE_SECONDS:
        raise BadRequest(f"the signature's time differs from the server's by more than {TOLERANCE_SECONDS} s")
    return event_body.read(raw, "id", "type")


def _parts(header: str) -> tuple[str, list[bytes]]:
    """The timestamp and the v1 signatures."""
    pairs = [part.strip().partition("=") for part in header.split(",")]
    timestamps = [value for name, _, value in pairs if name == "t"]
    signatures = [value.encode("utf-8", "surrogatepass") for name, _, value in pairs if name == "v1"]
    if len(timestamps) != 1 or not signatures:
        raise BadRequest("the header Stripe-Signature is missing or not of the form t=...,v1=...")
    timestamp = timestamps[0]
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise BadRequest("the time t in Stripe-Signature is not a number of seconds")
    return timestamp, signatures


def _signs(secret: str, signed: bytes, signatures: list[bytes]) -> bool:
    expected = hmac.digest(secret.encode(), signed, "sha256").hex().encode()
    return any(hmac.compare_digest(expected, signature) for signature in signatures)
