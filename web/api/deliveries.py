"""Deliveries: outgoing events, their state at each webhook endpoint, and replay."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from jobs.outbox import endpoints
from models.outbox import deliveries
from web.http.call import Call
from web.http.fields import NoBody, Page, QueryText, Shape
from web.http.routes import Answer, Routes
from workers.wakeups import notify_soon

routes = Routes("Deliveries")
State = Literal["pending", "delivered", "failed"]


class DeliveriesQuery(Page):
    endpoint: QueryText | None = None
    type: QueryText | None = None
    state: State | None = None
    customer: QueryText | None = None


class Delivery(Shape):
    id: int
    message_id: str = Field(description="The `webhook-id` header, the same for every attempt.")
    endpoint: str
    type: str
    customer: str | None
    state: State
    attempts: int
    status_code: int | None
    error: str | None
    created_at: datetime
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    payload: dict[str, Any]
    example = {
        "id": 31,
        "message_id": "msg_2f0c0a4c8a0f4c5f9f6b0e6c7d1f2a3b",
        "endpoint": "main",
        "type": "balance.low",
        "customer": "ada",
        "state": "delivered",
        "attempts": 1,
        "status_code": 200,
        "error": None,
        "created_at": "2026-01-31T12:00:00Z",
        "next_attempt_at": None,
        "delivered_at": "2026-01-31T12:00:01Z",
        "payload": {
            "type": "balance.low",
            "timestamp": "2026-01-31T12:00:00Z",
            "data": {
                "app": "ai-services",
                "customer": "ada",
                "balance": 18,
                "threshold": 20,
                "unit": "credit",
                "entry": 7,
            },
        },
    }


class Deliveries(Shape):
    deliveries: list[Delivery]
    next: str | None


@routes.get("/v1/deliveries", scope="admin", query=DeliveriesQuery, answer=Deliveries)
def page(call: Call) -> Answer:
    """List deliveries.

    Returns the deliveries to the app's webhook endpoints, newest first.
    """
    rows, following = deliveries.list_page(call.app.slug, **dict(call.query))
    return {"deliveries": rows, "next": following}


@routes.post("/v1/deliveries/{id}/replay", scope="admin", body=NoBody, answer=Delivery, status=202, errors=(404, 409))
def replay(call: Call, id: int) -> Answer:
    """Replay a delivery.

    Sends the delivery again, whatever its state, with the same `webhook-id`. Receivers can use the id to discard
    duplicates.
    """
    answer = endpoints.replay(call.app, id, now=call.now)
    notify_soon("outbox")
    return answer, 202
