"""Payments: amounts, units and their redemption, and refunds at the provider."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from jobs.payments import refunds
from models.payments import listing
from web.http.call import Call
from web.http.fields import Body, Name, Page, Shape, Text
from web.http.routes import Answer, Routes

routes = Routes("Payments")


class Money(Shape):
    amount: str
    currency: str
    example = {"amount": "9.99", "currency": "usd"}


class Payment(Shape):
    id: int
    customer: str
    provider: str
    reference: str
    aliases: list[str]
    pack: str | None
    plan: str | None
    quantity: int
    money: Money | None
    refunded: Money | None
    disputed: Money | None
    tax: Money | None
    discount: Money | None
    fee: Money | None
    units: int
    state: Literal["pending", "settled", "partly_refunded", "refunded", "disputed", "failed"]
    credit: Literal["unredeemed", "partly_redeemed", "redeemed", "refunded", "expired"] | None
    entry: int | None
    subscription: str | None
    created_at: datetime
    updated_at: datetime
    example = {
        "id": 1,
        "customer": "ada",
        "provider": "stripe",
        "reference": "pi_1",
        "aliases": ["cs_test_1"],
        "pack": "starter",
        "plan": None,
        "quantity": 1,
        "money": {"amount": "10.00", "currency": "usd"},
        "refunded": {"amount": "0.00", "currency": "usd"},
        "disputed": {"amount": "0.00", "currency": "usd"},
        "tax": {"amount": "0.00", "currency": "usd"},
        "discount": {"amount": "0.00", "currency": "usd"},
        "fee": None,
        "units": 100,
        "state": "settled",
        "credit": "partly_redeemed",
        "entry": 1,
        "subscription": None,
        "created_at": "2026-01-31T12:00:00Z",
        "updated_at": "2026-01-31T12:00:00Z",
    }


class Payments(Shape):
    payments: list[Payment]
    next: str | None
    example = {"payments": [Payment.example], "next": None}


class PaymentRefundBody(Body):
    id: Name
    amount: Text | None = Field(
        None, max_length=30, description="A decimal in the currency of the payment; by default the remaining amount."
    )
    reason: Text
    example = {"id": "refund-1", "amount": "5.00", "reason": "it did not help"}


class PaymentRefund(Shape):
    id: str
    payment: int
    money: Money | None
    state: Literal["pending", "succeeded", "failed"]
    reference: str
    example = {
        "id": "refund-1",
        "payment": 1,
        "money": {"amount": "5.00", "currency": "usd"},
        "state": "succeeded",
        "reference": "re_1",
    }


@routes.get("/v1/customers/{customer}/payments", scope="read", customer_token=True, query=Page, answer=Payments)
def of_customer(call: Call, customer: str) -> Answer:
    """List a customer's payments.

    Returns the payments newest first. `credit` is the state of the purchased units: `unredeemed` if none were used,
    `partly_redeemed` if some were, `redeemed` if all were, `expired` if the rest expired, `refunded` if they were
    clawed back, and null if none were granted yet.
    """
    rows, following = listing.for_customer(call.app, customer, **dict(call.query), now=call.now)
    return {"payments": rows, "next": following}


@routes.get("/v1/payments/{id}", scope="read", customer_token=True, answer=Payment, errors=(404,))
def one(call: Call, id: int) -> Answer:
    """Retrieve a payment."""
    found = listing.get(call.app, id, now=call.now)
    call.check_owner(found["customer"])
    return found


@routes.post(
    "/v1/payments/{id}/refund",
    scope="admin",
    body=PaymentRefundBody,
    answer=PaymentRefund,
    status=202,
    again=True,
    errors=(404, 409),
)
def refund(call: Call, id: int) -> Answer:
    """Refund a payment.

    Refunds the remaining amount, or `amount`, at the payment provider. The units are clawed back when the provider
    reports the refund. `state` is the state of the refund at the provider and `reference` is its id there. Returns 409
    if the pack is not refundable, or if `amount` exceeds the remaining amount.
    """
    answer, is_new = refunds.refund(call.app, id, call.body, actor=call.actor, now=call.now)
    return answer, 202 if is_new else 200
