"""Checkout: where a customer pays."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from jobs.payments import checkouts
from web.api.customers import Email
from web.api.payments import Money
from web.http.answers import created
from web.http.fields import Body, Name, Shape, Text, refuse
from web.http.routes import Answer, Call, Routes

routes = Routes("Checkout")

LONGEST_URL = 2000
MOST_PACKS = 10_000
STATES = (
    "`new`: stored, and the provider has not answered yet: send the same request again. "
    "`open`: the customer can pay at `url`. "
    "`pending`: the money is on its way. "
    "`paid`: the payment has come; this is final. "
    "`failed`: the payment did not come off; a new checkout may try again. "
    "`expired`: it was not paid in time."
)
URL_RULE = "must be an http:// or https:// URL without a user name or password"


def _url(text: str) -> str:
    """A page of the app's own, which the provider will send the customer to."""
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
SOLD = ("pack", "plan", "stripe_price")


class CheckoutBody(Body):
    id: Name | None = None
    customer: Name
    pack: Text | None = None
    plan: Text | None = None
    stripe_price: Text | None = None
    quantity: Annotated[int, Field(ge=1, le=MOST_PACKS, description="Of packs; a plan is sold once.")] = 1
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
    def _sells_one_thing(self) -> CheckoutBody:
        given = [name for name in SOLD if getattr(self, name) is not None]
        if not given:
            raise refuse("is required, unless a plan or a stripe_price is given", "pack")
        if len(given) > 1:
            raise refuse(f"cannot be given together with {given[0]}", given[1])
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
    url: str | None = Field(description="Where the customer pays, while it is `open`.")
    payment: int | None = Field(description="The payment that paid it; null for a plan's.")
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
    """Send a customer to pay for a pack or a plan.

    Give exactly one of `pack`, `plan` and `stripe_price`, and send the customer to `url`. What the catalog promises now
    holds for this checkout, whatever it says when the money comes. On 503 and 409 nothing was sold: send the same
    request again, with the same `id`, and it goes on where it was.
    """
    call.only(call.body["customer"])
    return created(*checkouts.start(call.app, call.body, now=call.now))


@routes.get("/v1/checkouts/{id}", scope="read", customer_token=True, answer=CheckoutState, errors=(404,))
def show(call: Call, id: str) -> Answer:
    """Show a checkout, for the page that a customer comes back to.

    It is `paid` as soon as its payment is known here, which may be seconds after the customer's return; `pending` while
    the money is on its way, as by bank transfer.
    """
    found = checkouts.get(call.app, id)
    call.only(found["customer"])
    return found
