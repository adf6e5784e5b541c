"""Who calls: an app's key with its scopes, or a token of one customer.

    Authorization: Bearer sk_...

Keys are looked up once in a few seconds and kept in this process meanwhile, so the hot paths pay no query: a key that
is revoked works for at most `CACHE_SECONDS` more.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from flask import Request

from models.access import keys, tokens
from models.catalog import catalog
from models.errors import Forbidden, Unauthorized
from settings import settings
from web.http.limits import Limiter

if TYPE_CHECKING:
    from web.http.routes import Route

CACHE_SECONDS = 5.0
MOST_CACHED = 10_000
SANDBOX_KEY = "sk_sandbox_"
SCOPES = frozenset(keys.SCOPES)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request this is. `customer` is set for a customer's token, which has no scopes.

    `actor` is whom the operation log names: a key by its name, or by its number where it has none.
    """

    app: str
    scopes: frozenset[str] = frozenset()
    key_id: int | None = None
    rate_limit_per_minute: int | None = None
    customer: str | None = None
    actor: str = "sandbox"


class Auth:
    """Finds the caller of a request and judges whether it may. One an application, with its cache of keys."""

    def __init__(self) -> None:
        self._cache: dict[bytes, tuple[Caller, float]] = {}
        self._limiter = Limiter()

    def caller(self, request: Request, route: Route, parts: dict[str, Any]) -> Caller:
        """The caller, allowed to use the route.

        Raises:
            Unauthorized: no key, or none that is known. Forbidden: it may not do this. RateLimited.
        """
        caller = self._find(request.environ.get("HTTP_AUTHORIZATION", ""))
        if caller.customer is not None:
            _judge_token(caller, route, parts)
        elif route.scope not in caller.scopes:
            raise Forbidden(f"the key has no scope {route.scope!r}")
        if caller.rate_limit_per_minute is not None:
            self._limiter.spend(caller.key_id, caller.rate_limit_per_minute)
        return caller

    def _find(self, header: str) -> Caller:
        scheme, _, secret = header.partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            raise Unauthorized("send a key: Authorization: Bearer KEY")
        digest = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
        cached = self._cache.get(digest)
        if cached is not None and cached[1] > time.monotonic():
            return cached[0]
        if secret.count(".") == 2:
            return _bearer_of_token(secret)
        caller = _sandbox_caller(secret) or _holder_of_key(secret)
        self._remember(digest, caller)
        return caller

    def _remember(self, digest: bytes, caller: Caller) -> None:
        if len(self._cache) >= MOST_CACHED:
            self._cache.clear()
        self._cache[digest] = (caller, time.monotonic() + CACHE_SECONDS)


def _sandbox_caller(secret: str) -> Caller | None:
    """In the sandbox every app has a key that needs no making, with all scopes."""
    if not settings.sandbox or not secret.startswith(SANDBOX_KEY):
        return None
    app = secret.removeprefix(SANDBOX_KEY)
    return Caller(app, SCOPES) if app in catalog.current() else None


def _holder_of_key(secret: str) -> Caller:
    key = keys.find(secret)
    if key is None:
        raise Unauthorized("the key is not known")
    if key.app not in catalog.current():
        raise Unauthorized("the key's app is not in the catalog")
    return Caller(key.app, frozenset(key.scopes), key.id, key.rate_limit_per_minute, actor=key.name or f"key {key.id}")


def _bearer_of_token(secret: str) -> Caller:
    token = tokens.read(secret, now=datetime.now(timezone.utc))
    if token is None or token.app not in catalog.current():
        raise Unauthorized("the token is not valid, or no longer")
    return Caller(token.app, customer=token.customer, actor="customer")


def _judge_token(caller: Caller, route: Route, parts: dict[str, Any]) -> None:
    if not route.customer_token:
        raise Forbidden("a customer's token reads that customer's resources and nothing else")
    if "customer" in parts and parts["customer"] != caller.customer:
        raise Forbidden("the token is another customer's")
