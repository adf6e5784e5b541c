"""Activation keys: a subscriber enters one into a program to prove that the subscription pays for it.

A key is 25 characters of Crockford's base32, 125 random bits, in groups of five: `7K2QX-9M4TB-...`. A subscription has
one key. It is stored in plain text because its owner may read it again, and it is valid while the subscription is.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from models.catalog.apps import App
from models.database import Connection
from models.plans.facts import PAYING
from models.plans.subscriptions import Subscription
from models.tables import Account, ActivationKey
from models.tables import Subscription as SubscriptionRow

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
GROUPS = 5
GROUP_CHARACTERS = 5
# Characters that are often misread, and separators of the groups.
MISREAD = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, "–": None, "—": None, "_": None})

UNKNOWN = {"valid": False, "customer": None, "plan": None, "status": None}


def ensure(conn: Connection, app: App, subscription: Subscription, *, now: datetime) -> None:
    """Store a key for a locked subscription that is active or trialing and whose plan has keys, unless it has one.

    The key is committed with the caller's transaction.
    """
    plan = app.plans.get(subscription.plan or "")
    if plan is None or not plan.activation_key or subscription.status not in PAYING or subscription.account_id is None:
        return
    key = make()
    row = ActivationKey.insert(
        app=app.slug,
        account_id=subscription.account_id,
        subscription_id=subscription.id,
        key=key,
        hash=digest(key),
        created_at=now,
    )
    row.on_conflict(conflict_target=(ActivationKey.subscription_id,), action="IGNORE").execute()


def make() -> str:
    """A new key."""
    groups = ("".join(secrets.choice(ALPHABET) for _ in range(GROUP_CHARACTERS)) for _ in range(GROUPS))
    return "-".join(groups)


def check(app: App, key: str) -> dict[str, Any]:
    """`{"valid", "customer", "plan", "status"}`, the last three None for a key that the app did not make.

    Case, spaces and dashes do not matter, and O is read as 0, I and L as 1. A key is valid while its subscription is
    active or trialing and its plan has activation keys.
    """
    columns = (Account.customer, SubscriptionRow.plan, SubscriptionRow.status)
    joined = ActivationKey.select(*columns).join(Account, on=(Account.id == ActivationKey.account_id))
    joined = joined.join_from(ActivationKey, SubscriptionRow, on=(SubscriptionRow.id == ActivationKey.subscription_id))
    row = joined.where(ActivationKey.app == app.slug, ActivationKey.hash == digest(key)).dicts().first()
    if row is None:
        return UNKNOWN
    plan = app.plans.get(row["plan"] or "")
    valid = row["status"] in PAYING and plan is not None and plan.activation_key
    return {"valid": valid, **row}


def of_accounts(ids: Sequence[int]) -> dict[int, str]:
    """The key to show, by account: the newest that is valid, else the newest. Accounts without a key are absent."""
    joined = ActivationKey.select(ActivationKey.account_id, ActivationKey.key).join(
        SubscriptionRow, on=(SubscriptionRow.id == ActivationKey.subscription_id)
    )
    newest = joined.distinct(ActivationKey.account_id).order_by(
        ActivationKey.account_id, SubscriptionRow.status.in_(PAYING).desc(), SubscriptionRow.id.desc()
    )
    keys = newest.where(ActivationKey.account_id.in_(ids)).objects() if ids else ()
    return {key.account_id: key.key for key in keys}


def digest(key: str) -> bytes:
    """The hash that a key is looked up by; the same for every way to type it."""
    plain = "".join(key.split()).upper().translate(MISREAD)
    return hashlib.sha256(plain.encode()).digest()
