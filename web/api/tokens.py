"""Customer tokens: short-lived credentials for a customer's browser, issued by the app's backend."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated, Literal

from pydantic import Field

from models.access import tokens
from web.http.call import Call
from web.http.fields import Body, Shape
from web.http.routes import Answer, Routes

routes = Routes("Customers")
LONGEST_SECONDS = int(tokens.LONGEST.total_seconds())


Can = Annotated[
    list[Literal["read", "checkout", "sessions", "subscriptions", "redeem", "top_up"]],
    Field(min_length=1, max_length=len(tokens.ABILITIES)),
]


class TokenBody(Body):
    expires_in: Annotated[int, Field(ge=60, le=LONGEST_SECONDS, description="The lifetime, in seconds.")] = (
        LONGEST_SECONDS
    )
    can: Can = Field(
        ["read", "checkout"],
        description="What the token can do for its customer. `sessions`, `redeem` and `top_up` are reserved.",
    )
    example = {"can": ["read", "checkout"], "expires_in": 900}


class Token(Shape):
    token: str
    expires_at: datetime
    example = {"token": "eyJhbGciOiJIUzI1NiJ9...", "expires_at": "2026-01-31T13:00:00Z"}


@routes.post("/v1/customers/{customer}/tokens", scope="write", body=TokenBody, body_required=False, answer=Token)
def create(call: Call, customer: str) -> Answer:
    """Create a customer token.

    The token acts for this customer only: `read` reads, `checkout` buys, `subscriptions` reads subscriptions and opens
    the provider's customer portal. It is valid for at most one hour of wall-clock time
    and cannot be revoked.
    """
    lifetime = timedelta(seconds=call.body["expires_in"])
    token, expires_at = tokens.create(
        call.app.slug, customer, can=call.body["can"], lifetime=lifetime, now=datetime.now(timezone.utc)
    )
    return {"token": token, "expires_at": expires_at}, 201
