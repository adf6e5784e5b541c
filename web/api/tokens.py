"""Customer tokens: short-lived credentials for a customer's browser, issued by the app's backend."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated

from pydantic import Field

from models.access import tokens
from web.http.call import Call
from web.http.fields import Body, Shape
from web.http.routes import Answer, Routes

routes = Routes("Customers")
LONGEST_SECONDS = int(tokens.LONGEST.total_seconds())


class TokenBody(Body):
    expires_in: Annotated[int, Field(ge=60, le=LONGEST_SECONDS, description="The lifetime, in seconds.")] = (
        LONGEST_SECONDS
    )
    example = {"expires_in": 900}


class Token(Shape):
    token: str
    expires_at: datetime
    example = {"token": "eyJhbGciOiJIUzI1NiJ9...", "expires_at": "2026-01-31T13:00:00Z"}


@routes.post("/v1/customers/{customer}/tokens", scope="write", body=TokenBody, body_required=False, answer=Token)
def create(call: Call, customer: str) -> Answer:
    """Create a customer token.

    The token gives access to the resources of this customer only. It is valid for at most one hour of wall-clock time
    and cannot be revoked.
    """
    lifetime = timedelta(seconds=call.body["expires_in"])
    token, expires_at = tokens.create(call.app.slug, customer, lifetime=lifetime, now=datetime.now(timezone.utc))
    return {"token": token, "expires_at": expires_at}, 201
