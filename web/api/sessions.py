"""Gated sessions: eligibility, start, heartbeat, end and waiting."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from jobs.sessions import gate, sessions
from models.sessions import listing
from web.http.call import Call
from web.http.fields import Body, Metadata, Name, NoBody, Page, Shape
from web.http.routes import Answer, Routes

routes = Routes("Sessions")

Reason = Literal["tier", "active_session", "cooldown", "balance"]
State = Literal["waiting", "active", "ended", "cancelled", "refused"]
EndedBy = Literal["client", "heartbeat", "balance", "limit"]
LONGEST_SECONDS = 604_800
LONGEST_SUMMARY = 20_000


class StartBody(Body):
    id: Name | None = None
    customer: Name
    wait: bool = Field(False, description="Whether to wait if only the cooldown or the balance blocks the start.")
    metadata: Metadata | None = Field(None, description="Stored with the session, such as `persona` or `character_id`.")
    example = {"id": "session-1", "customer": "ada", "metadata": {"persona": "calm"}}


class EndBody(Body):
    seconds: Annotated[int, Field(ge=0, le=LONGEST_SECONDS)] | None = Field(
        None, description="The duration in seconds, used as given; by default measured by the server."
    )
    summary: Annotated[str, Field(max_length=LONGEST_SUMMARY)] | None = None
    example = {"seconds": 312, "summary": "Breathing exercises."}


class SessionsQuery(Page):
    state: State | None = None


class Eligibility(Shape):
    eligible: bool
    reasons: list[Reason]
    eligible_at: datetime | None
    cooldown_seconds: int
    available: int
    server_time: datetime
    free: bool
    session: str | None = Field(description="The id of an active session that blocks the start.")
    waiting: str | None = Field(description="The id of a waiting session.")
    example = {
        "eligible": False,
        "reasons": ["cooldown"],
        "eligible_at": "2026-01-31T12:10:00Z",
        "cooldown_seconds": 312,
        "available": 1,
        "server_time": "2026-01-31T12:04:48Z",
        "free": False,
        "session": None,
        "waiting": None,
    }


class Started(Shape):
    id: str
    state: Literal["active"]
    available: int
    started_at: datetime
    ends_by: datetime
    free: bool
    example = {
        "id": "session-1",
        "state": "active",
        "available": 15,
        "started_at": "2026-01-31T12:00:00Z",
        "ends_by": "2026-01-31T12:15:00Z",
        "free": False,
    }


class Waits(Shape):
    id: str
    state: Literal["waiting"]
    starts_at: datetime | None
    reasons: list[Reason]
    example = {"id": "session-2", "state": "waiting", "starts_at": "2026-01-31T12:10:00Z", "reasons": ["cooldown"]}


class Heard(Shape):
    id: str
    remaining_seconds: int
    ends_by: datetime
    example = {"id": "session-1", "remaining_seconds": 480, "ends_by": "2026-01-31T12:15:00Z"}


class Ended(Shape):
    id: str
    state: Literal["ended"]
    units: int
    shortfall: int
    balance: int
    duration_seconds: int
    cooldown_until: datetime | None
    ended_by: EndedBy
    example = {
        "id": "session-1",
        "state": "ended",
        "units": 6,
        "shortfall": 0,
        "balance": 9,
        "duration_seconds": 312,
        "cooldown_until": None,
        "ended_by": "client",
    }


class Cancelled(Shape):
    id: str
    state: Literal["cancelled"]
    example = {"id": "session-2", "state": "cancelled"}


class Session(Shape):
    id: str
    customer: str
    state: State
    free: bool
    created_at: datetime
    started_at: datetime | None
    ends_by: datetime | None
    ended_at: datetime | None
    ended_by: EndedBy | None
    units: int
    shortfall: int
    duration_seconds: int | None
    entry: int | None
    cooldown_until: datetime | None
    summary: str | None
    metadata: dict[str, Any]
    example = {
        "id": "session-1",
        "customer": "ada",
        "state": "ended",
        "free": False,
        "created_at": "2026-01-31T12:00:00Z",
        "started_at": "2026-01-31T12:00:00Z",
        "ends_by": "2026-01-31T12:15:00Z",
        "ended_at": "2026-01-31T12:05:12Z",
        "ended_by": "client",
        "units": 6,
        "shortfall": 0,
        "duration_seconds": 312,
        "entry": 12,
        "cooldown_until": None,
        "summary": "Breathing exercises.",
        "metadata": {"persona": "calm"},
    }


class Sessions(Shape):
    sessions: list[Session]
    next: str | None


@routes.get(
    "/v1/customers/{customer}/eligibility", scope="read", customer_token=True, answer=Eligibility, errors=(422,)
)
def eligibility(call: Call, customer: str) -> Answer:
    """Retrieve a customer's eligibility.

    Returns whether a session may start now, and if not, the reasons and the time from which it may. `cooldown_seconds`
    is the rest of the cooldown: show a countdown from it, or to `eligible_at` relative to `server_time`.
    """
    return gate.eligibility(call.app, customer, now=call.now)


@routes.post(
    "/v1/sessions", scope="write", body=StartBody, answer=Started, again=True, more={202: Waits}, errors=(402, 409, 429)
)
def start(call: Call) -> Answer:
    """Start a session.

    Checks eligibility and deducts or holds the units in one transaction. If several conditions fail, the first of these
    is returned: tier 403, active session 409, cooldown 429, balance 402; `reasons` lists all. With `wait`, if only the
    cooldown or the balance blocks the start, returns 202 and starts the session once neither does. While a session is
    waiting, a start returns that session, and starts it if nothing blocks it any longer.
    """
    return sessions.start(call.app, call.body, now=call.now)


@routes.post("/v1/sessions/{id}/heartbeat", scope="write", body=NoBody, answer=Heard, status=200, errors=(404, 409))
def heartbeat(call: Call, id: str) -> Answer:
    """Send a heartbeat.

    After its first heartbeat, a session without heartbeats for the app's `heartbeat_timeout` is ended automatically.
    """
    return sessions.heartbeat(call.app, id, now=call.now)


@routes.post(
    "/v1/sessions/{id}/end",
    scope="write",
    body=EndBody,
    body_required=False,
    answer=Ended,
    status=200,
    errors=(404, 409),
)
def end(call: Call, id: str) -> Answer:
    """End a session.

    Deducts the price of the session. A repeated request, or a request after the session ended automatically, returns
    the same response.
    """
    return sessions.end(call.app, id, call.body, now=call.now)


@routes.post("/v1/sessions/{id}/cancel", scope="write", body=NoBody, answer=Cancelled, status=200, errors=(404, 409))
def cancel(call: Call, id: str) -> Answer:
    """Cancel a waiting session.

    A repeated request returns the same response.
    """
    return sessions.cancel(call.app, id, now=call.now)


@routes.get("/v1/sessions/{id}", scope="read", customer_token=True, answer=Session, errors=(404,))
def one(call: Call, id: str) -> Answer:
    """Retrieve a session."""
    found = listing.get(call.app.slug, id)
    call.check_owner(found["customer"])
    return found


@routes.get(
    "/v1/customers/{customer}/sessions", scope="read", customer_token=True, query=SessionsQuery, answer=Sessions
)
def page(call: Call, customer: str) -> Answer:
    """List a customer's sessions.

    Returns the sessions newest first.
    """
    found, following = listing.list_page(call.app.slug, customer, **dict(call.query))
    return {"sessions": found, "next": following}
