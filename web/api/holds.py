"""Holds: units set aside before an operation whose cost is not known yet."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from jobs.ledger import holds
from web.http.answers import created
from web.http.fields import Body, Metadata, Name, Priced, Quantity, Shape, Text
from web.http.routes import Answer, Call, Routes

routes = Routes("Holds")


class HoldBody(Priced):
    id: Name
    customer: Name
    expires_in: Annotated[int, Field(ge=60, le=86_400, description="In seconds.")] = holds.DEFAULT_EXPIRY_SECONDS
    reason: Text | None = Field(None, description="What the entry will say; the rate if absent.")
    metadata: Metadata | None = None
    example = {"id": "hold-1", "customer": "ada", "units": 10, "expires_in": 600}


class CaptureBody(Body):
    units: Quantity | None = None
    example = {"units": 7}


class ReleaseBody(Body):
    pass


class Hold(Shape):
    id: str
    units: int
    state: Literal["held", "captured", "released", "expired"]
    expires_at: datetime
    available: int
    example = {"id": "hold-1", "units": 10, "state": "held", "expires_at": "2026-01-31T12:10:00Z", "available": 87}


class ClosedHold(Shape):
    id: str
    state: Literal["captured", "released"]
    units: int
    balance: int
    example = {"id": "hold-1", "state": "captured", "units": 7, "balance": 90}


@routes.post("/v1/holds", scope="write", body=HoldBody, answer=Hold, again=True, errors=(402, 409))
def create(call: Call) -> Answer:
    """Set units aside.

    They are given as `units`, or as `rate` and `quantity`; what is not captured in time is free again.
    """
    return created(*holds.create(call.app, call.body, now=call.now))


@routes.post(
    "/v1/holds/{id}/capture",
    scope="write",
    body=CaptureBody,
    body_required=False,
    answer=ClosedHold,
    status=200,
    errors=(402, 404, 409),
)
def capture(call: Call, id: str) -> Answer:
    """Spend a hold.

    All of it, or `units`: less releases the rest, more takes the rest from what is available. A repeat is answered
    alike.
    """
    return holds.capture(call.app, id, call.body, now=call.now)


@routes.post(
    "/v1/holds/{id}/release",
    scope="write",
    body=ReleaseBody,
    body_required=False,
    answer=ClosedHold,
    status=200,
    errors=(404, 409),
)
def release(call: Call, id: str) -> Answer:
    """Free a hold. A repeat is answered alike."""
    return holds.release(call.app, id, now=call.now)
