"""The bodies of PayPal's transmissions, each by its id: PayPal's signature alone does not identify a body."""

from __future__ import annotations

import hashlib
from datetime import datetime

from models import database

CLAIM = """
INSERT INTO paypal_transmission (app, id, body_hash, created_at) VALUES (%s, %s, %s, %s)
ON CONFLICT (app, id) DO UPDATE SET body_hash = paypal_transmission.body_hash
RETURNING body_hash
"""
PRUNE = """
DELETE FROM paypal_transmission WHERE (app, id) IN (
    SELECT app, id FROM paypal_transmission WHERE created_at < %s LIMIT %s)
"""


def claim(app: str, transmission_id: str, body: bytes, *, now: datetime) -> bool:
    """Store the body of a transmission, in a commit of its own. False if another body is stored under its id.

    Of two bodies at the same time one is stored.
    """
    digest = hashlib.sha256(body).digest()
    ((stored,),) = database.write(CLAIM, [app, transmission_id, digest, now]).fetchall()
    return bytes(stored) == digest


def prune(*, before: datetime, limit: int) -> int:
    """Delete up to `limit` transmissions received before `before`. Returns how many."""
    return database.write(PRUNE, [before, limit]).rowcount
