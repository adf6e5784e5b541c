"""Activation keys: what a subscriber types into a program to show that the subscription pays for it.

A key is 25 characters of Crockford's base32, 125 random bits, in groups of five: `7K2QX-9M4TB-...`. It is made once a
subscription, kept readable because its owner may ask to see it again, and as good as its subscription.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from models import database
from models.catalog.apps import App
from models.database import Connection
from models.plans.subscription import PAYING, Subscription

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
GROUPS = 5
GROUP_CHARACTERS = 5
# What people read for something else, and what they put between the groups.
MISREAD = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, "–": None, "—": None, "_": None})

MAKE = """
INSERT INTO activation_key (app, account_id, subscription_id, key, hash, created_at)
VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (subscription_id) DO NOTHING
"""
CHECK = """
SELECT a.customer, s.plan, s.status FROM activation_key k
JOIN account a ON a.id = k.account_id JOIN subscription s ON s.id = k.subscription_id
WHERE k.app = %s AND k.hash = %s
"""
# Of each customer the newest key that is alive; where none is, the newest.
NEWEST = """
SELECT DISTINCT ON (k.account_id) k.account_id, k.key FROM activation_key k
JOIN subscription s ON s.id = k.subscription_id WHERE k.account_id = ANY(%s)
ORDER BY k.account_id, s.status = ANY(%s) DESC, s.id DESC
"""
UNKNOWN = {"valid": False, "customer": None, "plan": None, "status": None}


def ensure(conn: Connection, app: App, subscription: Subscription, *, now: datetime) -> None:
    """Make the key of a locked subscription that is active or trialing and whose plan has one, unless it has its key.

    What else happens in the transaction commits with it.
    """
    plan = app.plans.get(subscription.plan or "")
    if plan is not None and plan.activation_key and subscription.status in PAYING:
        key = make()
        conn.execute(MAKE, [app.slug, subscription.account_id, subscription.id, key, digest(key), now])


def make() -> str:
    """A new key."""
    groups = ("".join(secrets.choice(ALPHABET) for _ in range(GROUP_CHARACTERS)) for _ in range(GROUPS))
    return "-".join(groups)


def check(app: App, key: str) -> dict[str, Any]:
    """`{"valid", "customer", "plan", "status"}`, the last three None for a key that the app did not make.

    Case, spaces and dashes do not matter, and O is read as 0, I and L as 1. A key is valid while its subscription is
    active or trialing and its plan has activation keys: the rule of the plan's tier.
    """
    rows = database.read(CHECK, [app.slug, digest(key)])
    if not rows:
        return UNKNOWN
    customer, plan, status = rows[0]
    known = app.plans.get(plan or "")
    valid = status in PAYING and known is not None and known.activation_key
    return {"valid": valid, "customer": customer, "plan": plan, "status": status}


def of_accounts(ids: Sequence[int]) -> dict[int, str]:
    """The key to show, by account; accounts that never had one are missing."""
    return dict(database.read(NEWEST, [list(ids), list(PAYING)])) if ids else {}


def digest(key: str) -> bytes:
    """What a key is looked up by, however it was typed."""
    plain = "".join(key.split()).upper().translate(MISREAD)
    return hashlib.sha256(plain.encode()).digest()
