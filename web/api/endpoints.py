"""Webhook endpoints: URLs of the app that receive events (Standard Webhooks 1.0)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from jobs.outbox import endpoints as jobs
from jobs.outbox.addresses import LONGEST_URL
from models.outbox import endpoints
from web.api.deliveries import Delivery
from web.http.answers import created
from web.http.call import Call
from web.http.fields import Body, Name, NoBody, Page, Shape
from web.http.routes import Answer, Routes
from workers.wakeups import notify_soon

routes = Routes("Endpoints")


class EndpointBody(Body):
    id: Name | None = None
    url: Annotated[str, Field(min_length=1, max_length=LONGEST_URL)]
    events: Annotated[list[str], Field(max_length=100, description="Event types; all by default.")] | None = None
    example = {"id": "main", "url": "https://app.example/hooks/scrip", "events": ["balance.low", "lot.expiring"]}


class Endpoint(Shape):
    id: str
    url: str
    events: list[str]
    status: Literal["enabled", "disabled"]
    disabled_reason: str | None
    failing_since: datetime | None
    old_secret_until: datetime | None
    created_at: datetime
    updated_at: datetime
    example = {
        "id": "main",
        "url": "https://app.example/hooks/scrip",
        "events": ["balance.low", "lot.expiring"],
        "status": "enabled",
        "disabled_reason": None,
        "failing_since": None,
        "old_secret_until": None,
        "created_at": "2026-01-31T12:00:00Z",
        "updated_at": "2026-01-31T12:00:00Z",
    }


class EndpointWithSecret(Endpoint):
    secret: str
    example = {**Endpoint.example, "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDuq1OAjwPjY0="}


class Endpoints(Shape):
    endpoints: list[Endpoint]
    next: str | None


class Deleted(Shape):
    id: str
    deleted: bool
    example = {"id": "main", "deleted": True}


@routes.post("/v1/endpoints", scope="admin", body=EndpointBody, answer=EndpointWithSecret, again=True, errors=(409,))
def create(call: Call) -> Answer:
    """Create a webhook endpoint.

    The endpoint receives events that occur from now on: of the types in `events`, or of all types. The signing secret
    is returned here and by rotation, but not in lists.
    """
    return created(*jobs.create(call.app, call.body, now=call.now))


@routes.get("/v1/endpoints", scope="admin", query=Page, answer=Endpoints)
def page(call: Call) -> Answer:
    """List webhook endpoints.

    An endpoint becomes `disabled` if every delivery to it failed for five days, or if it returned 410 Gone.
    """
    rows, following = endpoints.list_page(call.app.slug, **dict(call.query))
    return {"endpoints": rows, "next": following}


@routes.route("DELETE", "/v1/endpoints/{id}", scope="admin", answer=Deleted, errors=(404,))
def delete(call: Call, id: str) -> Answer:
    """Delete a webhook endpoint.

    Pending deliveries are not sent. The id can be reused.
    """
    return jobs.delete(call.app, id, now=call.now)


@routes.post(
    "/v1/endpoints/{id}/rotate", scope="admin", body=NoBody, answer=EndpointWithSecret, status=200, errors=(404,)
)
def rotate(call: Call, id: str) -> Answer:
    """Rotate the signing secret of a webhook endpoint.

    Messages are signed with both the old and the new secret until `old_secret_until`, one day from now.
    """
    return jobs.rotate(call.app, id, now=call.now)


@routes.post("/v1/endpoints/{id}/enable", scope="admin", body=NoBody, answer=Endpoint, status=200, errors=(404,))
def enable(call: Call, id: str) -> Answer:
    """Enable a disabled webhook endpoint.

    The endpoint receives events that occur from now on. Events that it missed are listed as failed deliveries, which
    can be replayed.
    """
    return jobs.enable(call.app, id, now=call.now)


@routes.post("/v1/endpoints/{id}/test", scope="admin", body=NoBody, answer=Delivery, status=202, errors=(404, 409))
def test(call: Call, id: str) -> Answer:
    """Send a test event to a webhook endpoint.

    The event has the type `endpoint.test` and is sent to this endpoint only, whatever its `events`. The list of
    deliveries shows the result.
    """
    answer = jobs.send_test(call.app, id, now=call.now)
    notify_soon("outbox")
    return answer, 202
