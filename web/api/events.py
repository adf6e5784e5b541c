"""Events received from payment providers: their state, payload and replay."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from jobs.inbox import events as jobs
from models.inbox import events
from web.http.call import Call
from web.http.fields import NoBody, Page, QueryText, Shape
from web.http.routes import Answer, Routes
from workers.wakeups import notify_soon

routes = Routes("Events")
State = Literal["pending", "done", "ignored", "dead"]


class EventsQuery(Page):
    state: State | None = None
    provider: Literal["stripe", "paypal"] | None = None
    type: QueryText | None = None


class Event(Shape):
    id: int
    event_id: str
    provider: str
    type: str
    state: State
    attempts: int
    error: str | None
    received_at: datetime
    processed_at: datetime | None
    customer: str | None
    example = {
        "id": 7,
        "event_id": "evt_1",
        "provider": "stripe",
        "type": "checkout.session.completed",
        "state": "done",
        "attempts": 1,
        "error": None,
        "received_at": "2026-01-31T12:00:00Z",
        "processed_at": "2026-01-31T12:00:00.021Z",
        "customer": "ada",
    }


class EventInFull(Event):
    payload: dict[str, Any]
    entries: list[dict[str, Any]]
    example = {
        **Event.example,
        "payload": {"id": "evt_1", "type": "checkout.session.completed"},
        "entries": [
            {"id": 1, "amount": 100, "type": "purchase", "key": "payment:1", "created_at": "2026-01-31T12:00:00Z"}
        ],
    }


class Events(Shape):
    events: list[Event]
    next: str | None


@routes.get("/v1/events", scope="admin", query=EventsQuery, answer=Events)
def page(call: Call) -> Answer:
    """List events.

    Returns the events that payment providers sent to the app's receivers, newest first.
    """
    rows, following = events.list_page(call.app.slug, **dict(call.query))
    return {"events": rows, "next": following}


@routes.get("/v1/events/{id}", scope="admin", answer=EventInFull, errors=(404,))
def one(call: Call, id: int) -> Answer:
    """Retrieve an event.

    Returns the event with its payload and the ledger entries that it created.
    """
    return events.get(call.app.slug, id)


@routes.post("/v1/events/{id}/replay", scope="admin", body=NoBody, answer=EventInFull, status=202, errors=(404,))
def replay(call: Call, id: int) -> Answer:
    """Replay an event.

    Applies the event again, whatever its state. Changes that it has already made are not repeated.
    """
    jobs.replay(call.app.slug, id, now=call.now)
    notify_soon("inbox")
    return events.get(call.app.slug, id), 202
