"""Charges: units taken while the caller waits."""

from __future__ import annotations

from pydantic import Field

from jobs.ledger import charges
from web.http.answers import created
from web.http.fields import Metadata, Name, Priced, Shape, Text
from web.http.routes import Answer, Call, Routes

routes = Routes("Charges")


class ChargeBody(Priced):
    id: Name
    customer: Name
    reason: Text | None = Field(None, description="What the entry will say; the rate if absent.")
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
    """Take units now, all or nothing.

    What they are is given as `units`, or as `rate` and `quantity`. Too little: 402 with `balance`, which is what is
    available, and `required`; nothing is taken.
    """
    return created(*charges.charge(call.app, call.body, now=call.now))
