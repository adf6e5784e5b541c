"""Quotes: the price of a usage for a customer, and whether enough units are available."""

from __future__ import annotations

from jobs.ledger import quotes
from web.http.call import Call
from web.http.fields import Query, QueryQuantity, QueryText, Shape
from web.http.routes import Answer, Routes

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
    """Retrieve a quote.

    Returns the price of `quantity` at `rate` in units, and whether the customer has enough available units.
    """
    return quotes.quote(call.app, customer, call.query.rate, call.query.quantity, now=call.now)
