"""Grants on login: what a plan owes a customer now."""

from __future__ import annotations

from jobs.plans import grants
from web.http.fields import NoBody, Shape
from web.http.routes import Answer, Call, Routes

routes = Routes("Customers")


class Granted(Shape):
    granted: int
    example = {"granted": 1000}


@routes.post("/v1/customers/{customer}/grants", scope="write", body=NoBody, answer=Granted, status=200)
def grant_owed(call: Call, customer: str) -> Answer:
    """Grant what the customer's plan owes now, as on login.

    What the schedule or an invoice granted already is not granted again: 0.
    """
    return {"granted": grants.grant_owed(call.app, customer, now=call.now)}
