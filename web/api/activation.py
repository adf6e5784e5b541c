"""Activation keys: is this one good?"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from models.plans import activation
from web.http.fields import Body, Shape
from web.http.routes import Answer, Call, Routes

routes = Routes("Customers")


class ActivationCheckBody(Body):
    key: Annotated[str, Field(min_length=1, max_length=200, description="As the customer typed it.")]
    example = {"key": "7K2QX-9M4TB-0HZ5W-D3RVN-8CEGP"}


class ActivationCheck(Shape):
    valid: bool
    customer: str | None
    plan: str | None
    status: str | None
    example = {"valid": True, "customer": "ada", "plan": "pro", "status": "active"}


@routes.post("/v1/activation/check", scope="read", body=ActivationCheckBody, answer=ActivationCheck, status=200)
def check(call: Call) -> Answer:
    """Tell whether an activation key is good, and whose it is.

    It is good while its subscription is active or trialing and the plan has activation keys. Case, spaces and dashes do
    not matter. Of a key that the app did not make nothing is known: `valid` is false, the rest null.
    """
    return activation.check(call.app, call.body["key"])
