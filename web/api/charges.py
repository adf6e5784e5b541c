"""Charges: units deducted synchronously."""

from __future__ import annotations

from pydantic import Field

from jobs.ledger import charges
from web.http.answers import created
from web.http.call import Call
from web.http.fields import Metadata, Name, Priced, Shape, Text
from web.http.routes import Answer, Routes

routes = Routes("Charges")


class ChargeBody(Priced):
    id: Name
    customer: Name
    reason: Text | None = Field(None, description="The reason of the ledger entry; the rate by default.")
    metadata: Metadata | None = None
    example = {"id": "charge-1", "customer": "ada", "rate": "voice_call", "quantity": 123}


class Charge(Shape):
    id: str
    units: int
    balance: int
    entry: int | None
    example = {"id": "charge-1", "units": 3, "balance": 97, "entry": 42}


@routes.post("/v1/charges", scope="write", body=ChargeBody, answer=Charge, again=True, errors=(402, 409))
def create(call: Call) -> Answer:
    """Create a charge.

    Deducts all units or none. Give the amount as `units`, as `rate` and `quantity`, or as `lines`: up to 20 rates with
    their quantities, which become one entry. If too few units are available, returns 402 with `balance` (the available
    units) and `required`, and deducts nothing.
    """
    return created(*charges.charge(call.app, call.body, now=call.now))
