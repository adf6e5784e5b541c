"""Checkouts: payment pages at the payment provider."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from jobs.payments import checkouts
from web.api.customers import Email
from web.api.payments import Money
from web.http.answers import created
from web.http.call import Call
from web.http.fields import Body, Name, Shape, Text, refuse
from web.http.routes import Answer, Routes

routes = Routes("Checkout")

LONGEST_URL = 2000
MOST_PACKS = 10_000
STATES = (
    "`new`: stored, but the provider has not confirmed it yet; repeat the request. "
    "`open`: the customer can pay at `url`. "
    "`pending`: the payment is being processed. "
    "`paid`: the payment settled; this state is final. "
    "`failed`: the payment failed; create a new checkout to try again. "
    "`expired`: the customer did not pay in time."
)
URL_RULE = "must be an http:// or https:// URL without a user name or password"


def _url(text: str) -> str:
    """A page of the app, to which the provider redirects the customer."""
    if not text.isprintable() or any(character.isspace() for character in text) or "\\" in text:
        raise refuse(URL_RULE)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise refuse(URL_RULE) from None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        raise refuse(URL_RULE)
    return text


Url = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_URL),
    AfterValidator(_url),
    WithJsonSchema({"type": "string", "maxLength": LONGEST_URL, "pattern": "^https?://[^/@\\s]+", "format": "uri"}),
]
PRODUCTS = ("pack", "plan", "stripe_price")


class CheckoutBody(Body):
    id: Name | None = None
    customer: Name
    pack: Text | None = None
    plan: Text | None = None
    stripe_price: Text | None = None
    quantity: Annotated[int, Field(ge=1, le=MOST_PACKS, description="The number of packs; 1 for a plan.")] = 1
    provider: Literal["stripe", "paypal"] | None = None
    success_url: Url
    cancel_url: Url
    email: Email | None = None
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
    body=CheckoutBody,
    answer=Checkout,
    again=True,
    errors=(403, 409),
)
def start(call: Call) -> Answer:
    """Create a checkout.

    Give exactly one of `pack`, `plan` and `stripe_price`, and redirect the customer to `url`. The current price and
    units of the catalog apply, even if the catalog changes before the payment. After a 503 or 409 nothing was sold:
    repeat the request with the same `id` to resume it.
    """
    call.check_owner(call.body["customer"])
    return created(*checkouts.start(call.app, call.body, now=call.now))


@routes.get("/v1/checkouts/{id}", scope="read", customer_token=True, answer=CheckoutState, errors=(404,))
def show(call: Call, id: str) -> Answer:
    """Retrieve a checkout.

    Use it on the page that the customer returns to. The state is `paid` once the provider reported the payment, which
    may be seconds after the customer returns, and `pending` while a payment such as a bank transfer is processed.
    """
    found = checkouts.get(call.app, id)
    call.check_owner(found["customer"])
    return found
