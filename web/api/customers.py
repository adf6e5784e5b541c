"""Customers: their data, balance and statistics."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from jobs import customers as changes
from models import customers
from models.ledger import balances, explain, stats
from web.api.entries import Entry
from web.http.call import Call
from web.http.fields import Body, Page, Query, Shape, Time, refuse
from web.http.routes import Answer, Routes

routes = Routes("Customers")

Tier = Annotated[str, Field(min_length=1, max_length=64)]


def _email(text: str) -> str:
    name, _, host = text.partition("@")
    if not name or not host or "@" in host or any(character.isspace() for character in text):
        raise refuse("must be an email address, such as ada@example.com")
    return text


Email = Annotated[str, Field(max_length=320), AfterValidator(_email)]
Zone = Annotated[str, Field(min_length=1, max_length=64)]


class Subscription(Shape):
    plan: str | None
    status: str
    provider: str
    provider_id: str
    cycle_start: datetime
    cycle_end: datetime
    granted_at: datetime | None


class Customer(Shape):
    customer: str
    tier: str | None
    email: str | None
    timezone: str | None
    created_at: datetime
    updated_at: datetime
    provider_customers: dict[str, str]
    subscription: Subscription | None
    activation_key: str | None
    example = {
        "customer": "ada",
        "tier": "pro",
        "email": "ada@example.com",
        "timezone": "Europe/London",
        "created_at": "2026-01-31T12:00:00Z",
        "updated_at": "2026-01-31T12:00:00Z",
        "provider_customers": {"stripe": "cus_1"},
        "subscription": None,
        "activation_key": None,
    }


class Customers(Shape):
    customers: list[Customer]
    next: str | None


class CustomersQuery(Page):
    query: str | None = Field(None, max_length=320, description="Part of the customer's id or email address.")


class CustomerPatch(Body):
    tier: Tier | None = Field(None, description="The tier while no plan with a tier is active; null clears it.")
    email: Email | None = None
    timezone: Zone | None = Field(None, description="A tz database name, such as Europe/Berlin.")
    keeps_null = True
    example = {"tier": "firewall", "email": "ada@example.com", "timezone": "Europe/London"}


class Lot(Shape):
    id: int
    source: str
    granted: int
    remaining: int
    held: int
    expires_at: datetime | None
    frozen: bool


class ExpiringNext(Shape):
    units: int
    at: datetime


class BalanceQuery(Query):
    as_of: Time | None = Field(None, description="A past time; the balance at that time is returned.")


class Balance(Shape):
    customer: str
    unit: str
    balance: int
    held: int
    available: int
    debt: int
    lots: list[Lot]
    expiring_next: ExpiringNext | None
    as_of: datetime
    updated_at: datetime | None
    example = {
        "customer": "ada",
        "unit": "credit",
        "balance": 97,
        "held": 0,
        "available": 97,
        "debt": 0,
        "lots": [
            {
                "id": 1,
                "source": "pack:starter",
                "granted": 100,
                "remaining": 97,
                "held": 0,
                "expires_at": None,
                "frozen": False,
            }
        ],
        "expiring_next": None,
        "as_of": "2026-01-31T12:00:00Z",
        "updated_at": "2026-01-31T12:00:00Z",
    }


class Stats(Shape):
    balance: int
    total_purchased: int
    total_granted: int
    total_spent: int
    monthly_usage: int
    by_rate: dict[str, int]
    last_entry: Entry | None


class CarriedPart(Shape):
    units: int
    before: str
    after: str


class Took(Shape):
    entry: int | None
    type: str
    reason: str
    units: int
    at: datetime
    carried: dict[str, CarriedPart] | None = None


class LotExplained(Lot):
    payment: str | None
    payment_id: int | None
    subscription: str | None
    effective_at: datetime
    note: str | None
    took: list[Took]


class CarriedTotal(Shape):
    charged: int
    used: str
    ahead: str


class Explanation(Shape):
    customer: str
    balance: int
    debt: int
    lots: list[LotExplained]
    carried: dict[str, CarriedTotal]


@routes.get("/v1/customers", scope="read", query=CustomersQuery, answer=Customers)
def search(call: Call) -> Answer:
    """List customers.

    Returns the customers of the app, newest first.
    """
    found, following = customers.list_page(call.app, **dict(call.query), now=call.now)
    return {"customers": found, "next": following}


@routes.get("/v1/customers/{customer}", scope="read", customer_token=True, answer=Customer, errors=(404,))
def one(call: Call, customer: str) -> Answer:
    """Retrieve a customer.

    `tier` is the tier of the plan while the subscription is active or trialing, else the tier that was set.
    """
    return customers.get(call.app, customer, now=call.now)


@routes.patch("/v1/customers/{customer}", scope="write", body=CustomerPatch, answer=Customer)
def patch(call: Call, customer: str) -> Answer:
    """Update a customer.

    Sets the fields that the request contains; null clears a field. Creates the customer if it does not exist.
    """
    return changes.patch(call.app, customer, call.body, now=call.now)


@routes.get(
    "/v1/customers/{customer}/balance",
    scope="read",
    customer_token=True,
    query=BalanceQuery,
    answer=Balance,
)
def balance(call: Call, customer: str) -> Answer:
    """Retrieve a balance.

    Returns the customer's current balance, or with `as_of` the balance at a past time.
    """
    if call.query.as_of is None:
        return balances.current(call.app, customer, now=call.now)
    return balances.as_of(call.app, customer, call.query.as_of, now=call.now)


@routes.get("/v1/customers/{customer}/stats", scope="read", customer_token=True, answer=Stats)
def figures(call: Call, customer: str) -> Answer:
    """Retrieve a customer's statistics.

    Returns the units that the customer bought, received otherwise and spent. `monthly_usage` covers the current
    calendar month in UTC.
    """
    return stats.for_customer(call.app, customer, now=call.now)


@routes.get("/v1/customers/{customer}/explain", scope="read", customer_token=True, answer=Explanation)
def explanation(call: Call, customer: str) -> Answer:
    """Explain a balance.

    Returns all lots of the customer, including spent ones, with the entries that used them. For each lot, `granted`
    equals `remaining` plus `held` plus the sum of `took`.
    """
    return explain.for_customer(call.app, customer, now=call.now)
