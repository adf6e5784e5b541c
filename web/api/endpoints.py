"""Endpoints: where the app is told of what happens, by Standard Webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from jobs.outbox import endpoints as jobs
from jobs.outbox.addresses import LONGEST_URL
from models.outbox import endpoints
from web.api.deliveries import Delivery
from web.http.answers import created
from web.http.fields import Body, Name, NoBody, Page, Shape
from web.http.routes import Answer, Call, Routes
from workers.wakeups import notify_soon

routes = Routes("Endpoints")


class EndpointBody(Body):
    id: Name | None = None
    url: Annotated[str, Field(min_length=1, max_length=LONGEST_URL)]
    events: Annotated[list[str], Field(max_length=100, description="Absent or empty: all.")] | None = None
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
    """Make an endpoint.

    It is told of what happens from now on: of the types in `events`, or of all. The secret that signs is in this answer
    and in no list.
    """
    return created(*jobs.create(call.app, call.body, now=call.now))


@routes.get("/v1/endpoints", scope="admin", query=Page, answer=Endpoints)
def page(call: Call) -> Answer:
    """List endpoints.

    One is `disabled` when every delivery to it has failed for five days, or it answered 410 Gone.
    """
    rows, following = endpoints.list_page(call.app.slug, **dict(call.query))
    return {"endpoints": rows, "next": following}


@routes.route("DELETE", "/v1/endpoints/{id}", scope="admin", answer=Deleted, errors=(404,))
def delete(call: Call, id: str) -> Answer:
    """Delete an endpoint.

    What waits for it is not sent. Its id may be used again.
    """
    return jobs.delete(call.app, id, now=call.now)


@routes.post(
    "/v1/endpoints/{id}/rotate",
    scope="admin",
    body=NoBody,
    answer=EndpointWithSecret,
    status=200,
    errors=(404,),
)
def rotate(call: Call, id: str) -> Answer:
    """Give an endpoint a new secret.

    The old one signs too until `old_secret_until`, a day from now.
    """
    return jobs.rotate(call.app, id, now=call.now)


@routes.post(
    "/v1/endpoints/{id}/enable",
    scope="admin",
    body=NoBody,
    answer=Endpoint,
    status=200,
    errors=(404,),
)
def enable(call: Call, id: str) -> Answer:
    """Tell a disabled endpoint again.

    Of what happens from now on; what it missed is among the failed deliveries, each of which can be replayed.
    """
    return jobs.enable(call.app, id, now=call.now)


@routes.post(
    "/v1/endpoints/{id}/test",
    scope="admin",
    body=NoBody,
    answer=Delivery,
    status=202,
    errors=(404, 409),
)
def test(call: Call, id: str) -> Answer:
    """Send a test message.

    Its type is `endpoint.test`; it goes to this endpoint alone, whatever it wants. What became of it is in the list of
    deliveries.
    """
    answer = jobs.send_test(call.app, id, now=call.now)
    notify_soon("outbox")
    return answer, 202
