"""Quotes: the price of a usage for a customer, and whether enough units are available."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from jobs.ledger import quotes
from web.http.call import Call
from web.http.fields import MOST_LINES, Line, Query, QueryQuantity, QueryText, Shape, check_amount, parse_digits, refuse
from web.http.routes import Answer, Routes

routes = Routes("Customers")


def _line(text: Any) -> Any:
    rate, separator, quantity = str(text).rpartition(":")
    if not separator:
        raise refuse("must be a rate and a quantity, such as voice_call:123")
    return {"rate": rate, "quantity": parse_digits(quantity)}


_LINE_SCHEMA = {"type": "string", "pattern": "^.{1,500}:[0-9]{1,13}$", "examples": ["voice_call:123"]}
QueryLine = Annotated[Line, BeforeValidator(_line), WithJsonSchema(_LINE_SCHEMA)]


class QuoteQuery(Query):
    rate: QueryText | None = Field(None, description="The catalog rate that prices `quantity`.")
    quantity: QueryQuantity | None = Field(None, description="The quantity to price, in the measure of the rate.")
    lines: list[QueryLine] | None = Field(
        None,
        min_length=1,
        max_length=MOST_LINES,
        description="A rate and its quantity, as `rate:quantity`, in place of `rate` and `quantity`. Repeat the "
        "parameter for several lines.",
    )
    repeatable = ("lines",)

    @model_validator(mode="after")
    def _has_one_amount(self) -> QuoteQuery:
        check_amount({name: value for name, value in self if value is not None})
        return self


class Quote(Shape):
    units: int
    available: int
    enough: bool
    rounded_up: int | None = None
    carried: dict[str, str] | None = None
    example = {"units": 3, "available": 100, "enough": True}


@routes.get("/v1/customers/{customer}/quote", scope="read", customer_token=True, query=QuoteQuery, answer=Quote)
def quote(call: Call, customer: str) -> Answer:
    """Retrieve a quote.

    Returns the price of `quantity` at `rate`, or of all `lines`, in units, and whether the customer has enough
    available units. `units` is what a charge would deduct now. At a rate with rounding `carry`, `rounded_up` is what a
    hold would reserve, and `carried` is, by rate, the part of a unit that the customer has paid for but not used yet.
    """
    return quotes.quote(call.app, customer, dict(call.query), now=call.now)
