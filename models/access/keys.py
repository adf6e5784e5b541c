"""API keys. A key belongs to one app and has scopes.

Only the SHA-256 hash of a key is stored, so its text can be shown once, on creation. A key has 256 random bits and
cannot be guessed, so a slow password hash would add nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from peewee import fn

from models import database
from models.errors import Invalid, NotFound
from models.tables import ApiKey

SCOPES = ("write", "read", "admin")
PREFIX = "sk_"
SHOWN_CHARACTERS = 10


def create(
    app: str,
    scopes: Iterable[str],
    name: str = "",
    *,
    rate_limit_per_minute: int | None = None,
    now: datetime,
) -> str:
    """Create a key and return its text, which is not stored. `rate_limit_per_minute` None: no limit.

    Raises:
        Invalid: no scope, an unknown scope, or a limit below 1.
    """
    known = _known_scopes(set(scopes))
    if rate_limit_per_minute is not None and rate_limit_per_minute < 1:
        raise Invalid([("rate_limit_per_minute", "must be at least 1")])
    text = PREFIX + secrets.token_urlsafe(32)
    insert = ApiKey.insert(
        app=app,
        name=name,
        prefix=text[:SHOWN_CHARACTERS],
        hash=_hash(text),
        scopes=known,
        rate_limit_per_minute=rate_limit_per_minute,
        created_at=now,
    )
    database.transaction(lambda _: insert.execute())
    return text


def find(text: str) -> ApiKey | None:
    """Return the key with this text; None if there is none, or if it was revoked."""
    key: ApiKey | None = ApiKey.get_or_none(ApiKey.hash == _hash(text), ApiKey.revoked_at.is_null())
    return key


def revoke(key_id: int, *, now: datetime) -> None:
    """Revoke the key. A revoked key keeps the time of its first revocation.

    Web processes stop accepting the key within seconds (web/http/auth.py).

    Raises:
        NotFound: there is no such key.
    """
    update = ApiKey.update(revoked_at=fn.COALESCE(ApiKey.revoked_at, now)).where(ApiKey.id == key_id)
    if database.transaction(lambda _: update.execute()) == 0:
        raise NotFound(f"there is no key {key_id}")


def list_page(app: str | None = None) -> list[dict[str, Any]]:
    """Return all keys of the app, or of all apps, newest first, without their text and hash."""
    keys: Any = ApiKey.select(
        ApiKey.id,
        ApiKey.app,
        ApiKey.name,
        ApiKey.prefix,
        ApiKey.scopes,
        ApiKey.rate_limit_per_minute,
        ApiKey.created_at,
        ApiKey.revoked_at,
    ).order_by(ApiKey.id.desc())
    return list((keys if app is None else keys.where(ApiKey.app == app)).dicts())


def _known_scopes(given: set[str]) -> list[str]:
    """The scopes in the order of `SCOPES`."""
    unknown = sorted(given - set(SCOPES))
    if unknown or not given:
        reason = f"unknown scope: {', '.join(unknown)}" if unknown else "at least one scope is required"
        raise Invalid([("scopes", f"{reason}; the scopes are {', '.join(SCOPES)}")])
    return [scope for scope in SCOPES if scope in given]


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
