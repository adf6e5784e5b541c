"""Adjustments: units that an operator credits or debits, with a reason."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from jobs.ledger import adjustments
from web.http.answers import created
from web.http.call import Call
from web.http.fields import MOST_UNITS, Body, DurationText, Name, Shape, Text, refuse
from web.http.routes import Answer, Routes

routes = Routes("Corrections")


def _not_zero(units: int) -> int:
    if units == 0:
        raise refuse("must not be 0")
    return units


class AdjustmentBody(Body):
    id: Name
    customer: Name
    units: Annotated[
        int,
        Field(ge=-MOST_UNITS, le=MOST_UNITS, description="Positive to credit units, negative to debit them."),
        AfterValidator(_not_zero),
    ]
    reason: Text
    type: Literal["bonus", "admin_adjustment"] = "admin_adjustment"
    expires_after: DurationText | None = Field(None, description="The lifetime of credited units, such as `30d`.")
    allow_debt: bool = Field(False, description="Whether a debit may exceed the available units.")
    example = {"id": "sorry-1", "customer": "ada", "units": 50, "reason": "the outage of May", "type": "bonus"}

    @model_validator(mode="after")
    def _expires_only_credits(self) -> AdjustmentBody:
        if self.units < 0 and self.expires_after is not None:
            raise refuse("is not allowed with negative units", "expires_after")
        return self


class Adjustment(Shape):
    id: str
    units: int
    balance: int
    entry: int | None
    example = {"id": "sorry-1", "units": 50, "balance": 150, "entry": 43}


@routes.post("/v1/adjustments", scope="admin", body=AdjustmentBody, answer=Adjustment, again=True, errors=(402, 409))
def create(call: Call) -> Answer:
    """Create an adjustment.

    Credits units to a customer, or debits them if `units` is negative. A debit of more than the available units returns
    402, unless `allow_debt` is true.
    """
    return created(*adjustments.adjust(call.app, call.body, now=call.now))
