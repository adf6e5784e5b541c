"""Subscriptions: what a customer has, and requests to change it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from jobs.plans import requests
from models.plans import listing
from web.api.payments import Money
from web.http.call import Call
from web.http.fields import Body, NoBody, Page, Shape, Text
from web.http.routes import Answer, Routes

routes = Routes("Subscriptions")
MOST_SEATS = 10_000


class SubscriptionItem(Shape):
    plan: str
    quantity: int
    units: int = Field(description="The units of one month, of all seats.")


class PendingChange(Shape):
    plan: str | None
    quantity: int | None
    items: list[SubscriptionItem]
    at: datetime | None = Field(description="When it comes; null while it waits for its payment.")
    waits_for: Literal["payment", "period_end"]


class SubscriptionState(Shape):
    id: int
    customer: str
    plan: str | None
    items: list[SubscriptionItem]
    status: str
    provider: str
    provider_id: str
    cycle_start: datetime | None
    cycle_end: datetime | None
    trial_end: datetime | None
    cancel_at: datetime | None
    ended_at: datetime | None
    granted_at: datetime | None
    next_grant_at: datetime | None = Field(description="When units that are paid for already are granted next.")
    pending_change: PendingChange | None
    paused_until: datetime | None
    open_invoice_url: str | None = Field(description="The provider's page on which an open invoice can be paid.")
    example = {
        "id": 1,
        "customer": "ada",
        "plan": "pro",
        "items": [{"plan": "pro", "quantity": 2, "units": 2000}],
        "status": "active",
        "provider": "stripe",
        "provider_id": "sub_1",
        "cycle_start": "2026-01-31T12:00:00Z",
        "cycle_end": "2026-02-28T12:00:00Z",
        "trial_end": None,
        "cancel_at": None,
        "ended_at": None,
        "granted_at": "2026-01-31T12:00:00Z",
        "next_grant_at": None,
        "pending_change": None,
        "paused_until": None,
        "open_invoice_url": None,
    }


class Owed(Shape):
    start: datetime
    end: datetime
    plan: str
    units: int
    why: str


class SubscriptionInFull(SubscriptionState):
    owed: list[Owed]
    example = {
        **SubscriptionState.example,
        "owed": [
            {
                "start": "2026-01-31T12:00:00Z",
                "end": "2026-02-28T12:00:00Z",
                "plan": "pro",
                "units": 2000,
                "why": "pro: paid by in_1",
            }
        ],
    }


class Subscriptions(Shape):
    subscriptions: list[SubscriptionState]
    next: str | None
    example = {"subscriptions": [SubscriptionState.example], "next": None}


class CancelBody(Body):
    at: Literal["period_end", "now"]
    example = {"at": "period_end"}


class ChangeBody(Body):
    plan: Text
    quantity: Annotated[int, Field(ge=1, le=MOST_SEATS, description="The seats; as many as now by default.")] | None = (
        None
    )
    preview: bool = Field(False, description="Return what the change would cost and grant, and change nothing.")
    example = {"plan": "pro", "quantity": 3}


class Now(Shape):
    money: Money
    units: int


class Renewal(Now):
    at: datetime | None


class ChangePreview(Shape):
    plan: str
    quantity: int
    now: Now
    renewal: Renewal
    example = {
        "plan": "pro",
        "quantity": 3,
        "now": {"money": {"amount": "14.50", "currency": "usd"}, "units": 500},
        "renewal": {"money": {"amount": "87.00", "currency": "usd"}, "units": 3000, "at": "2026-02-28T12:00:00Z"},
    }


@routes.get(
    "/v1/customers/{customer}/subscriptions",
    scope="read",
    customer_token=True,
    can=("subscriptions",),
    query=Page,
    answer=Subscriptions,
)
def of_customer(call: Call, customer: str) -> Answer:
    """List a customer's subscriptions.

    Returns the subscriptions newest first, including those that have ended.
    """
    rows, following = listing.for_customer(call.app.slug, customer, **dict(call.query), now=call.now)
    return {"subscriptions": rows, "next": following}


@routes.get(
    "/v1/subscriptions/{id}",
    scope="read",
    customer_token=True,
    can=("subscriptions",),
    answer=SubscriptionInFull,
    errors=(404,),
)
def one(call: Call, id: int) -> Answer:
    """Retrieve a subscription.

    `owed` has every period that it was owed units for up to now, with the reason.
    """
    found = listing.get(call.app.slug, id, now=call.now)
    call.check_owner(found["customer"])
    return found


@routes.post(
    "/v1/subscriptions/{id}/cancel",
    scope="write",
    body=CancelBody,
    answer=SubscriptionState,
    status=202,
    errors=(404, 409),
)
def cancel(call: Call, id: int) -> Answer:
    """Cancel a subscription.

    It ends with its period, or `now`. The response is the subscription as it is stored: it changes when the provider's
    webhook arrives. Returns 409 if it has ended.
    """
    return requests.cancel(call.app, id, call.body["at"], now=call.now), 202


@routes.post(
    "/v1/subscriptions/{id}/resume", scope="write", body=NoBody, answer=SubscriptionState, status=202, errors=(404, 409)
)
def resume(call: Call, id: int) -> Answer:
    """Resume a subscription.

    Undoes a cancellation at the period's end before it comes. Returns 409 if the subscription has ended or is not to
    end.
    """
    return requests.resume(call.app, id, now=call.now), 202


@routes.post(
    "/v1/subscriptions/{id}/change",
    scope="write",
    body=ChangeBody,
    answer=SubscriptionState,
    status=202,
    more={200: ChangePreview},
    errors=(404, 409),
)
def change(call: Call, id: int) -> Answer:
    """Change a subscription.

    Changes the plan, its quantity or both. More units in total are billed at once, and granted when that is paid.
    Other changes take effect when the present period ends. A change to the present plan and quantity drops one that was
    to come. The response is the subscription as it is stored: it changes when the provider's webhook arrives. With
    `preview`, nothing changes: it returns money and units now and at the renewal, with 200. Returns 409 if the
    subscription is so already, or if its state does not allow it.
    """
    plan, quantity = call.body["plan"], call.body.get("quantity")
    if call.body["preview"]:
        return requests.preview(call.app, id, plan, quantity, now=call.now)
    return requests.change(call.app, id, plan, quantity, now=call.now), 202
