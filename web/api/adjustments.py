"""Adjustments: units that an operator gives or takes, with the reason."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from jobs.ledger import adjustments
from web.http.answers import created
from web.http.fields import MOST_UNITS, Body, DurationText, Name, Shape, Text, refuse
from web.http.routes import Answer, Call, Routes

routes = Routes("Corrections")


def _not_zero(units: int) -> int:
    if units == 0:
        raise refuse("must not be 0")
    return units


class AdjustmentBody(Body):
    id: Name
    customer: Name
    units: Annotated[int, Field(ge=-MOST_UNITS, le=MOST_UNITS), AfterValidator(_not_zero)]
    reason: Text
    type: Literal["bonus", "admin_adjustment"] = "admin_adjustment"
    expires_after: DurationText | None = None
    allow_debt: bool = False
    example = {"id": "sorry-1", "customer": "ada", "units": 50, "reason": "the outage of May", "type": "bonus"}

    @model_validator(mode="after")
    def _expires_only_what_is_given(self) -> AdjustmentBody:
        if self.units < 0 and self.expires_after is not None:
            raise refuse("is for units that are given, not for those that are taken", "expires_after")
        return self


class Adjustment(Shape):
    id: str
    units: int
    balance: int
    entry: int | None
    example = {"id": "sorry-1", "units": 50, "balance": 150, "entry": 43}


@routes.post("/v1/adjustments", scope="admin", body=AdjustmentBody, answer=Adjustment, again=True, errors=(402, 409))
def create(call: Call) -> Answer:
    """Give units, or take them with a number below zero.

    Taking more than is there: 402, unless `allow_debt`.
    """
    return created(*adjustments.adjust(call.app, call.body, now=call.now))
