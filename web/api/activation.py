"""Activation keys: validation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from models.plans import activation
from web.http.call import Call
from web.http.fields import Body, Shape
from web.http.routes import Answer, Routes

routes = Routes("Customers")


class ActivationCheckBody(Body):
    key: Annotated[str, Field(min_length=1, max_length=200, description="The key as the customer entered it.")]
    example = {"key": "7K2QX-9M4TB-0HZ5W-D3RVN-8CEGP"}


class ActivationCheck(Shape):
    valid: bool
    customer: str | None
    plan: str | None
    status: str | None
    example = {"valid": True, "customer": "ada", "plan": "pro", "status": "active"}


@routes.post("/v1/activation/check", scope="read", body=ActivationCheckBody, answer=ActivationCheck, status=200)
def check(call: Call) -> Answer:
    """Check an activation key.

    A key is valid while its subscription is active or trialing and the plan has activation keys. Case, spaces and
    dashes are ignored. For a key that the app did not issue, `valid` is false and the other fields are null.
    """
    return activation.check(call.app, call.body["key"])
