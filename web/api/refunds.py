"""Refunds of deductions: units returned to the lots they were taken from."""

from __future__ import annotations

from pydantic import Field

from jobs.ledger import refunds
from web.http.answers import created
from web.http.call import Call
from web.http.fields import Body, Name, RowId, Shape, Text, Units
from web.http.routes import Answer, Routes

routes = Routes("Corrections")


class RefundBody(Body):
    id: Name
    entry: RowId = Field(description="The id of the deduction's ledger entry.")
    units: Units | None = Field(None, description="The number of units to refund; the remaining units by default.")
    reason: Text
    example = {"id": "refund-1", "entry": 42, "reason": "the call broke off"}


class Refund(Shape):
    id: str
    units: int
    balance: int
    entry: int | None
    example = {"id": "refund-1", "units": 3, "balance": 100, "entry": 44}


@routes.post("/v1/refunds", scope="admin", body=RefundBody, answer=Refund, again=True, errors=(404, 409))
def create(call: Call) -> Answer:
    """Refund a deduction.

    Returns the deducted units, or `units` of them, to the lots they were taken from. Returns 409 if the refunds of the
    deduction would exceed its units.
    """
    return created(*refunds.refund(call.app, call.body, now=call.now))
