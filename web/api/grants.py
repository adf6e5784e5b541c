"""Grants on login: the units that a plan owes a customer now."""

from __future__ import annotations

from jobs.plans import grants
from web.http.call import Call
from web.http.fields import NoBody, Shape
from web.http.routes import Answer, Routes

routes = Routes("Customers")


class Granted(Shape):
    granted: int
    example = {"granted": 1000}


@routes.post("/v1/customers/{customer}/grants", scope="write", body=NoBody, answer=Granted, status=200)
def grant_owed(call: Call, customer: str) -> Answer:
    """Grant the units that the customer's plan owes now.

    Call it on login, for example. Units that the schedule or an invoice has already granted are not granted again;
    `granted` is then 0.
    """
    return {"granted": grants.grant_owed(call.app, customer, now=call.now)}
