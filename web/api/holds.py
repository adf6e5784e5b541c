"""Holds: units reserved before an operation whose cost is not known yet."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from jobs.ledger import holds
from web.http.answers import created
from web.http.call import Call
from web.http.fields import Body, Metadata, Name, Priced, Quantity, Shape, Text
from web.http.routes import Answer, Routes

routes = Routes("Holds")


class HoldBody(Priced):
    id: Name
    customer: Name
    expires_in: Annotated[int, Field(ge=60, le=86_400, description="The lifetime, in seconds.")] = (
        holds.DEFAULT_EXPIRY_SECONDS
    )
    reason: Text | None = Field(None, description="The reason of the ledger entry; the rate by default.")
    metadata: Metadata | None = None
    example = {"id": "hold-1", "customer": "ada", "units": 10, "expires_in": 600}


class CaptureBody(Body):
    units: Quantity | None = Field(None, description="The number of units to capture; the whole hold by default.")
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
    """Create a hold.

    Reserves units, given as `units`, as `rate` and `quantity`, or as `lines`. Prices are rounded up, also at rates with
    rounding `carry`. Units that are not captured before `expires_at` are released.
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
    """Capture a hold.

    Deducts the whole hold, or `units`. If `units` is less than the hold, the rest is released; if it is more, the
    difference is deducted from the available units. A repeated request returns the same response.
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
    """Release a hold.

    Makes the held units available again. A repeated request returns the same response.
    """
    return holds.release(call.app, id, now=call.now)
