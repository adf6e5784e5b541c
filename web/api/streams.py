"""The event stream of a customer. web/server goes on with it after its first events."""

from __future__ import annotations

from flask import Response

from jobs import streams
from web.http.answers import ALWAYS
from web.http.call import Call
from web.http.routes import Routes
from web.streams import events
from web.streams.events import MEDIA_TYPE, WATCH, Watch

routes = Routes("Customers")
# nginx would keep events back.
HEADERS = [*ALWAYS, ("X-Accel-Buffering", "no")]
EVENT = {
    "type": "object",
    "required": ["event", "id", "data"],
    "properties": {
        "event": {"type": "string", "enum": list(events.NAMES)},
        "id": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
DESCRIBE = {
    "parameters": [
        {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "description": "The id of the last event that the client saw.",
            "schema": {"type": "string"},
        }
    ],
    "responses": {
        "200": {"description": "OK", "content": {MEDIA_TYPE: {"schema": EVENT}}},
    },
}


@routes.get("/v1/customers/{customer}/stream", scope="read", customer_token=True, describe=DESCRIBE)
def stream(call: Call, customer: str) -> Response:
    """Follow a customer.

    Server-sent events: `balance` with the balance; in apps with sessions also `session` with the latest session, or
    null, and `eligibility`. Each is sent as it is now, and after each change, within half a second. A client that
    reconnects with `Last-Event-ID` is sent what changed meanwhile. A comment is sent every 15 seconds. The stream of a
    customer token ends when the token expires.
    """
    marks = events.seen(call.request.headers.get("Last-Event-ID", ""))
    first, marks = events.changes(streams.contents(call.app, customer, now=call.now), marks)
    until = call.caller.expires_at if call.caller else None
    call.request.environ[WATCH] = Watch(call.app.slug, customer, marks, until)
    return Response(first, 200, HEADERS, content_type=MEDIA_TYPE)
