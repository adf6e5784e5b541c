"""One request as a view sees it: `Call`, and the authenticated `Caller`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Request

from models.catalog import catalog
from models.catalog.apps import App
from models.errors import Forbidden
from web.http import bodies


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated party. `customer` is set for a customer token, which has no scopes but abilities (`can`), and
    expires by the wall clock.

    `actor` is the name in the operation log: of a key its name, or `key N` if it has none.
    """

    app: str
    scopes: frozenset[str] = frozenset()
    key_id: int | None = None
    rate_limit_per_minute: int | None = None
    customer: str | None = None
    actor: str = "sandbox"
    can: frozenset[str] = frozenset()
    expires_at: datetime | None = None


class Call:
    """One request. `body` and `query` are the values that the route's models validated."""

    __slots__ = ("body", "caller", "now", "owner_checked", "query", "request")

    def __init__(self, request: Request, caller: Caller | None, now: datetime) -> None:
        self.request = request
        self.caller = caller
        self.now = now
        self.body: dict[str, Any] = {}
        self.query: Any = None
        self.owner_checked = caller is None or caller.customer is None

    @property
    def app(self) -> App:
        """The app of the caller's key or token."""
        assert self.caller is not None, "a route without a scope has no app"
        return catalog.current()[self.caller.app]

    @property
    def actor(self) -> str:
        """The caller's name for the operation log."""
        assert self.caller is not None
        return self.caller.actor

    @property
    def own_customer(self) -> str | None:
        """The customer of a customer token; None for a key."""
        return self.caller.customer if self.caller else None

    @property
    def is_token(self) -> bool:
        """Whether the caller has a customer token."""
        return self.own_customer is not None

    def check_owner(self, customer: str) -> None:
        """Check that a customer token belongs to `customer`. A key may read every customer of its app.

        Raises:
            Forbidden: the token belongs to another customer.
        """
        assert self.caller is not None
        if self.caller.customer not in (None, customer):
            raise Forbidden("the customer token belongs to another customer")
        self.owner_checked = True

    def raw(self) -> bytes:
        """The unparsed request body, at most 1 MiB; for routes without a body model."""
        return bodies.raw(self.request)
