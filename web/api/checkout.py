"""Checkouts: payment pages at the payment provider."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from jobs.payments import checkouts
from web.api.customers import Email
from web.api.payments import Money
from web.http.answers import created
from web.http.call import Call
from web.http.fields import Body, Name, Query, Shape, Text, refuse
from web.http.routes import Answer, Routes
from web.http.urls import Url

routes = Routes("Checkout")

MOST_QUANTITY = 10_000
STATES = (
    "`new`: stored, but the provider has not confirmed it yet; repeat the request. "
    "`open`: the customer can pay at `url`. "
    "`pending`: the payment is being processed. "
    "`paid`: the payment settled; this state is final. "
    "`failed`: the payment failed; create a new checkout to try again. "
    "`expired`: the customer did not pay in time."
)
PRODUCTS = ("pack", "plan", "stripe_price")


MOST_METADATA_KEYS = 40
METADATA_KEY = re.compile(r"[^\[\]\x00-\x1f\x7f-\x9f]{1,40}")
LONGEST_METADATA_VALUE = 500


def _metadata(value: dict[str, str]) -> dict[str, str]:
    """Metadata within the limits of Stripe, of which Scrip needs some keys."""
    if len(value) > MOST_METADATA_KEYS:
        raise refuse(f"must have at most {MOST_METADATA_KEYS} keys")
    for key, text in value.items():
        if METADATA_KEY.fullmatch(key) is None:
            raise refuse("must have keys of 1 to 40 characters, without [ and ] and control characters")
        if not 0 < len(text) <= LONGEST_METADATA_VALUE:
            raise refuse(f"must have values of 1 to {LONGEST_METADATA_VALUE} characters")
    return value


CheckoutMetadata = Annotated[
    dict[str, str],
    AfterValidator(_metadata),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": MOST_METADATA_KEYS,
            "propertyNames": {"pattern": f"^{METADATA_KEY.pattern}$"},
            "additionalProperties": {"type": "string", "minLength": 1, "maxLength": LONGEST_METADATA_VALUE},
        }
    ),
]


class CheckoutBody(Body):
    id: Name | None = None
    customer: Name
    pack: Text | None = None
    plan: Text | None = None
    stripe_price: Text | None = None
    quantity: Annotated[int, Field(ge=1, le=MOST_QUANTITY, description="Packs, or seats of a plan.")] = 1
    provider: Literal["stripe", "paypal"] | None = None
    success_url: Url
    cancel_url: Url
    email: Email | None = None
    metadata: CheckoutMetadata | None = Field(
        None, description="Copied to the provider's payment or subscription, beside Scrip's own keys."
    )
    another: bool = Field(False, description="Sell a plan that the customer has already.")
    example = {
        "id": "order-1",
        "customer": "ada",
        "pack": "starter",
        "success_url": "https://app.example/thanks",
        "cancel_url": "https://app.example/packs",
    }

    @model_validator(mode="after")
    def _has_one_product(self) -> CheckoutBody:
        products = [name for name in PRODUCTS if getattr(self, name) is not None]
        if not products:
            raise refuse("is required unless plan or stripe_price is given", "pack")
        if len(products) > 1:
            raise refuse(f"cannot be combined with {products[0]}", products[1])
        return self


class Checkout(Shape):
    id: str
    url: str
    provider: Literal["stripe", "paypal"]
    example = {"id": "order-1", "url": "https://checkout.stripe.com/c/pay/cs_1", "provider": "stripe"}


class CheckoutQuery(Query):
    customer: Name | None = Field(None, description="The customer whose token gave the id.")


class CheckoutState(Shape):
    id: str
    customer: str
    state: Literal["new", "open", "pending", "paid", "failed", "expired"] = Field(description=STATES)
    provider: Literal["stripe", "paypal"]
    pack: str | None
    plan: str | None
    quantity: int
    units: int
    money: Money
    url: str | None = Field(description="The payment page while the checkout is `open`, else null.")
    payment: int | None = Field(description="The id of the payment; null for a plan.")
    created_at: datetime
    example = {
        "id": "order-1",
        "customer": "ada",
        "state": "paid",
        "provider": "stripe",
        "pack": "starter",
        "plan": None,
        "quantity": 1,
        "units": 100,
        "money": {"amount": "10.00", "currency": "usd"},
        "url": None,
        "payment": 1,
        "created_at": "2026-01-31T12:00:00Z",
    }


@routes.post(
    "/v1/checkout",
    scope="write",
    customer_token=True,
    can=("checkout",),
    body=CheckoutBody,
    answer=Checkout,
    again=True,
    errors=(403, 409),
)
def start(call: Call) -> Answer:
    """Create a checkout.

    Give exactly one of `pack`, `plan` and `stripe_price`, and redirect the customer to `url`. The current price and
    units of the catalog apply, even if the catalog changes before the payment. After a 503 or 409 nothing was sold:
    repeat the request with the same `id` to resume it. A plan that the customer has already is 409
    `already-subscribed`, a pack that the customer cannot buy again 409 `limit-reached`. An `id` given with a customer
    token is private to that customer.
    """
    call.check_owner(call.body["customer"])
    return created(*checkouts.start(call.app, call.body, now=call.now, is_own_id=call.is_token))


@routes.get(
    "/v1/checkouts/{id}",
    scope="read",
    customer_token=True,
    can=("read", "checkout"),
    query=CheckoutQuery,
    answer=CheckoutState,
    errors=(404,),
)
def show(call: Call, id: str) -> Answer:
    """Retrieve a checkout.

    Use it on the page that the customer returns to. The state is `paid` once the provider reported the payment, which
    may be seconds after the customer returns, and `pending` while a payment such as a bank transfer is processed. With
    a key, `customer` finds a checkout whose `id` that customer's token gave.
    """
    owner = call.own_customer or call.query.customer
    found = checkouts.get(call.app, id, owner=owner, is_token=call.is_token)
    call.check_owner(found["customer"])
    return found
