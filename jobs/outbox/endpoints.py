"""Endpoints of an app: made, rotated, enabled, deleted, tried out; and what was told to them, told again."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from jobs.outbox import signing
from jobs.outbox.addresses import check_url
from models import database
from models.catalog.apps import App
from models.database import Connection
from models.errors import Conflict, Invalid
from models.outbox import deliveries, endpoints
from models.outbox.endpoints import Endpoint
from models.outbox.messages import EVENT_TYPES

OLD_SECRET_LIVES = timedelta(hours=24)


def create(app: App, body: dict[str, Any], *, now: datetime) -> tuple[dict[str, Any], bool]:
    """Make an endpoint. Returns (the endpoint with its secret, whether it is new).

    The id of one that was deleted is free again. Asked again, the secret is the one that signs now.

    Raises:
        Invalid: a URL that nothing is sent to, or an unknown type among `events`.
        Conflict: the id is another endpoint's.
    """
    url, wanted = body["url"], body.get("events") or []
    _check(url, wanted)
    events = list(dict.fromkeys(wanted))
    endpoint_id = body.get("id") or uuid.uuid4().hex

    def work(conn: Connection) -> tuple[dict[str, Any], bool]:
        made = endpoints.insert(conn, app.slug, endpoint_id, url, events, signing.new_secret(), now=now)
        it = made or endpoints.lock(conn, app.slug, endpoint_id)
        if (it.url, it.events) != (url, events):
            raise Conflict(f"endpoint {endpoint_id!r} is stored with other content", id=endpoint_id)
        return _with_secret(it), made is not None

    return database.transaction(work)


def _check(url: str, events: list[str]) -> None:
    unknown = "must be one of " + ", ".join(EVENT_TYPES)
    errors = [(f"events[{index}]", unknown) for index, type_ in enumerate(events) if type_ not in EVENT_TYPES]
    try:
        check_url(url)
    except ValueError as reason:
        errors.insert(0, ("url", str(reason)))
    if errors:
        raise Invalid(errors)


def rotate(app: App, endpoint_id: str, *, now: datetime) -> dict[str, Any]:
    """Give the endpoint a new secret; the one before signs too for a day. Returns the endpoint with its secret.

    Asked again within that day it answers with the same new secret: the receiver may still know only the old one.

    Raises:
        NotFound: the app has no such endpoint.
    """

    def work(conn: Connection, endpoint: Endpoint) -> dict[str, Any]:
        if endpoint.old_secret_until is not None and endpoint.old_secret_until > now:
            return _with_secret(endpoint)
        until = now + OLD_SECRET_LIVES
        return _with_secret(endpoints.rotate(conn, endpoint, signing.new_secret(), old_until=until, now=now))

    return _with(app, endpoint_id, work)


def enable(app: App, endpoint_id: str, *, now: datetime) -> dict[str, Any]:
    """Tell a disabled endpoint again, of what happens from now on. Returns the endpoint.

    Raises:
        NotFound: the app has no such endpoint.
    """
    return _with(app, endpoint_id, lambda conn, it: endpoints.to_json(endpoints.enable(conn, it, now=now)))


def delete(app: App, endpoint_id: str, *, now: datetime) -> dict[str, Any]:
    """Delete the endpoint; what waits for it is not sent. Returns `{"id", "deleted"}`.

    Raises:
        NotFound: the app has no such endpoint.
    """

    def work(conn: Connection, endpoint: Endpoint) -> dict[str, Any]:
        endpoints.close(conn, endpoint.row, "deleted", "the endpoint was deleted", now=now)
        return {"id": endpoint.id, "deleted": True}

    return _with(app, endpoint_id, work)


def send_test(app: App, endpoint_id: str, *, now: datetime) -> dict[str, Any]:
    """Put a test message in the outbox, for this endpoint alone. Returns the delivery.

    Raises:
        NotFound: the app has no such endpoint. Conflict: it is disabled.
    """

    def work(conn: Connection, endpoint: Endpoint) -> int:
        if endpoint.state != "enabled":
            raise Conflict(f"endpoint {endpoint_id!r} is {endpoint.state}: enable it first", status=endpoint.state)
        data = {"app": app.slug, "customer": None, "endpoint": endpoint.id}
        return deliveries.add_test(conn, app.slug, endpoint.row, data, now=now)

    return deliveries.get(app.slug, _with(app, endpoint_id, work))


def replay(app: App, delivery_id: int, *, now: datetime) -> dict[str, Any]:
    """Send a delivery again, whatever became of it. Returns it.

    Raises:
        NotFound: the app has no such delivery. Conflict: its endpoint is disabled or deleted.
    """
    database.transaction(lambda conn: deliveries.replay(conn, app.slug, delivery_id, now=now))
    return deliveries.get(app.slug, delivery_id)


def _with(app: App, endpoint_id: str, work: Callable[[Connection, Endpoint], Any]) -> Any:
    return database.transaction(lambda conn: work(conn, endpoints.lock(conn, app.slug, endpoint_id)))


def _with_secret(endpoint: Endpoint) -> dict[str, Any]:
    return {**endpoints.to_json(endpoint), "secret": endpoint.secret}
