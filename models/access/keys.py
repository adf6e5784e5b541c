"""API keys. A key belongs to one app and has scopes; only its hash is stored, so it is shown once.

A key is 256 random bits: nobody guesses it, so a plain SHA-256 is enough and a look-up costs next to nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models import database
from models.errors import Invalid, NotFound

SCOPES = ("write", "read", "admin")
PREFIX = "sk_"
SHOWN_CHARACTERS = 10


@dataclass(frozen=True, slots=True)
class Key:
    """A key that works. `rate_limit_per_minute` None: as many requests as it likes."""

    id: int
    app: str
    scopes: frozenset[str]
    rate_limit_per_minute: int | None
    name: str = ""


def create(
    app: str,
    scopes: Iterable[str],
    name: str = "",
    *,
    rate_limit_per_minute: int | None = None,
    now: datetime,
) -> str:
    """Make a key and return its text, which is stored nowhere.

    Raises:
        Invalid: no scope, an unknown one, or a limit below 1.
    """
    wanted = _scopes(scopes)
    if rate_limit_per_minute is not None and rate_limit_per_minute < 1:
        raise Invalid([("rate_limit_per_minute", "must be at least 1")])
    text = PREFIX + secrets.token_urlsafe(32)
    database.write(
        "INSERT INTO api_key (app, name, prefix, hash, scopes, rate_limit_per_minute, created_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [app, name, text[:SHOWN_CHARACTERS], _hash(text), wanted, rate_limit_per_minute, now],
    )
    return text


def find(text: str) -> Key | None:
    """The key with this text; None if there is none, or it was revoked."""
    rows = database.read(
        "SELECT id, app, scopes, rate_limit_per_minute, name FROM api_key WHERE hash = %s AND revoked_at IS NULL",
        [_hash(text)],
    )
    if not rows:
        return None
    key_id, app, scopes, limit, name = rows[0]
    return Key(key_id, app, frozenset(scopes), limit, name)


def revoke(key_id: int, *, now: datetime) -> None:
    """End a key; one that has ended stays as it is. Web processes follow within seconds (web/http/auth.py).

    Raises:
        NotFound: there is no such key.
    """
    sql = "UPDATE api_key SET revoked_at = coalesce(revoked_at, %s) WHERE id = %s"
    if database.write(sql, [now, key_id]).rowcount == 0:
        raise NotFound(f"there is no key {key_id}")


def list_page(app: str | None = None) -> list[dict[str, Any]]:
    """All keys of the app, or of all apps, newest first, without their secrets."""
    names = ("id", "app", "name", "prefix", "scopes", "rate_limit_per_minute", "created_at", "revoked_at")
    rows = database.read(
        f"SELECT {', '.join(names)} FROM api_key WHERE %s::text IS NULL OR app = %s ORDER BY id DESC", [app, app]
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


def _scopes(given: Iterable[str]) -> list[str]:
    wanted = [scope for scope in SCOPES if scope in set(given)]
    unknown = sorted(set(given) - set(SCOPES))
    if unknown or not wanted:
        reason = f"no such scope: {', '.join(unknown)}" if unknown else "give at least one"
        raise Invalid([("scopes", f"{reason}; there are {', '.join(SCOPES)}")])
    return wanted


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
