"""Refunds of deductions: units given back to the lots they came from."""

from __future__ import annotations

from jobs.ledger import refunds
from web.http.answers import created
from web.http.fields import Body, Name, RowId, Shape, Text, Units
from web.http.routes import Answer, Call, Routes

routes = Routes("Corrections")


class RefundBody(Body):
    id: Name
    entry: RowId
    units: Units | None = None
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
    """Give a deduction back to the lots it came from.

    All of it, or `units`; in total at most once: 409 beyond.
    """
    return created(*refunds.refund(call.app, call.body, now=call.now))
