"""Quotes: what a use would cost this customer, and whether it can be paid."""

from __future__ import annotations

from jobs.ledger import quotes
from web.http.fields import Query, QueryQuantity, QueryText, Shape
from web.http.routes import Answer, Call, Routes

routes = Routes("Customers")


class QuoteQuery(Query):
    rate: QueryText
    quantity: QueryQuantity


class Quote(Shape):
    units: int
    available: int
    enough: bool
    example = {"units": 3, "available": 100, "enough": True}


@routes.get("/v1/customers/{customer}/quote", scope="read", customer_token=True, query=QuoteQuery, answer=Quote)
def quote(call: Call, customer: str) -> Answer:
    """Tell what a use would cost, and whether there is enough."""
    return quotes.quote(call.app, customer, call.query.rate, call.query.quantity, now=call.now)
