"""Authentication: an app's key with its scopes, or a token of one customer.

    Authorization: Bearer sk_...

Each process caches keys for `CACHE_SECONDS`, so that hot paths run no query for them. A revoked key therefore works for
at most `CACHE_SECONDS` more.
"""

from __future__ import annotations

import hashlib
import time
from datetime import datetime, timezone
from typing import Any

from flask import Request

from models.access import keys, tokens
from models.catalog import catalog
from models.errors import Forbidden, Unauthorized
from settings import settings
from web.http.call import Caller
from web.http.limits import Limiter
from web.http.routes import Route

CACHE_SECONDS = 5.0
MOST_CACHED = 10_000
SANDBOX_KEY = "sk_sandbox_"
SCOPES = frozenset(keys.SCOPES)


class Auth:
    """Authenticates and authorizes requests. One instance per application, with its cache of keys."""

    def __init__(self) -> None:
        self._cache: dict[bytes, tuple[Caller, float]] = {}
        self._limiter = Limiter()

    def caller(self, request: Request, route: Route, parts: dict[str, Any]) -> Caller:
        """The authenticated caller, authorized for the route.

        Raises:
            Unauthorized: the key or token is missing, unknown or expired.
            Forbidden: the key lacks the scope, or the token does not cover the resource.
            RateLimited: the key exceeded its rate limit.
        """
        caller = self._find(request.environ.get("HTTP_AUTHORIZATION", ""))
        if caller.customer is not None:
            _check_token(caller, route, parts)
        elif route.scope not in caller.scopes:
            raise Forbidden(f"the key lacks the scope {route.scope!r}")
        if caller.rate_limit_per_minute is not None:
            self._limiter.spend(caller.key_id, caller.rate_limit_per_minute)
        return caller

    def _find(self, header: str) -> Caller:
        scheme, _, secret = header.partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            raise Unauthorized("the Authorization header is missing: send Authorization: Bearer KEY")
        digest = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
        cached = self._cache.get(digest)
        if cached is not None and cached[1] > time.monotonic():
            return cached[0]
        if secret.count(".") == 2:
            return _token_caller(secret)
        caller = _sandbox_caller(secret) or _key_caller(secret)
        self._remember(digest, caller)
        return caller

    def _remember(self, digest: bytes, caller: Caller) -> None:
        if len(self._cache) >= MOST_CACHED:
            self._cache.clear()
        self._cache[digest] = (caller, time.monotonic() + CACHE_SECONDS)


def _sandbox_caller(secret: str) -> Caller | None:
    """In the sandbox every app has a built-in key with all scopes."""
    if not settings.sandbox or not secret.startswith(SANDBOX_KEY):
        return None
    app = secret.removeprefix(SANDBOX_KEY)
    return Caller(app, SCOPES) if app in catalog.current() else None


def _key_caller(secret: str) -> Caller:
    key = keys.find(secret)
    if key is None:
        raise Unauthorized("the key is unknown or revoked")
    if key.app not in catalog.current():
        raise Unauthorized("the key's app is not in the catalog")
    return Caller(key.app, frozenset(key.scopes), key.id, key.rate_limit_per_minute, actor=key.name or f"key {key.id}")


def _token_caller(secret: str) -> Caller:
    token = tokens.read(secret, now=datetime.now(timezone.utc))
    if token is None or token.app not in catalog.current():
        raise Unauthorized("the customer token is invalid or expired")
    return Caller(token.app, customer=token.customer, actor="customer", can=token.can, expires_at=token.expires_at)


def _check_token(caller: Caller, route: Route, parts: dict[str, Any]) -> None:
    if not route.customer_token:
        raise Forbidden("this endpoint does not accept customer tokens")
    if not caller.can & set(route.can):
        raise Forbidden(f"the customer token cannot do this: it needs {' or '.join(route.can)} in `can`")
    if "customer" in parts and parts["customer"] != caller.customer:
        raise Forbidden("the customer token belongs to another customer")
