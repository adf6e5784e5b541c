"""Operations on webhook endpoints: create, rotate, enable, delete, test; and the replay of a delivery."""

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
from models.outbox.messages import EVENT_TYPES
from models.tables import Endpoint

OLD_SECRET_LIFETIME = timedelta(hours=24)


def create(app: App, body: dict[str, Any], *, now: datetime) -> tuple[dict[str, Any], bool]:
    """Create an endpoint. Returns (the endpoint with its secret, whether it is new).

    The id of a deleted endpoint can be used again. A repeated request returns the current secret.

    Raises:
        Invalid: the URL is not allowed, or `events` has an unknown type.
        Conflict: the id is stored with another URL or other events.
    """
    url, types = body["url"], body.get("events") or []
    _check(url, types)
    events = list(dict.fromkeys(types))
    endpoint_id = body.get("id") or uuid.uuid4().hex

    def work(conn: Connection) -> tuple[dict[str, Any], bool]:
        inserted = endpoints.insert(conn, app.slug, endpoint_id, url, events, signing.new_secret(), now=now)
        endpoint = inserted or endpoints.lock(conn, app.slug, endpoint_id)
        if (endpoint.url, endpoint.events) != (url, events):
            raise Conflict(f"endpoint {endpoint_id!r} is stored with other content", id=endpoint_id)
        return _with_secret(endpoint), inserted is not None

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
    """Replace the endpoint's secret. Returns the endpoint with its new secret.

    For 24 hours messages also carry a signature of the previous secret. A repeated request within this time returns
    the same new secret, because the receiver may still have only the previous one.

    Raises:
        NotFound: the app has no such endpoint.
    """

    def work(conn: Connection, endpoint: Endpoint) -> dict[str, Any]:
        if endpoint.old_secret_until is not None and endpoint.old_secret_until > now:
            return _with_secret(endpoint)
        until = now + OLD_SECRET_LIFETIME
        return _with_secret(endpoints.rotate(conn, endpoint, signing.new_secret(), old_until=until, now=now))

    return _with_locked(app, endpoint_id, work)


def enable(app: App, endpoint_id: str, *, now: datetime) -> dict[str, Any]:
    """Enable a disabled endpoint for events emitted from now on. Returns the endpoint.

    Raises:
        NotFound: the app has no such endpoint.
    """

    def work(conn: Connection, endpoint: Endpoint) -> dict[str, Any]:
        return endpoints.to_json(endpoints.enable(conn, endpoint, now=now))

    return _with_locked(app, endpoint_id, work)


def delete(app: App, endpoint_id: str, *, now: datetime) -> dict[str, Any]:
    """Delete the endpoint. Its pending deliveries fail. Returns `{"id", "deleted"}`.

    Raises:
        NotFound: the app has no such endpoint.
    """

    def work(conn: Connection, endpoint: Endpoint) -> dict[str, Any]:
        endpoints.close(conn, endpoint.id, "deleted", "the endpoint was deleted", now=now)
        return {"id": endpoint.external_id, "deleted": True}

    return _with_locked(app, endpoint_id, work)


def send_test(app: App, endpoint_id: str, *, now: datetime) -> dict[str, Any]:
    """Store a test message for this endpoint only. Returns the delivery.

    Raises:
        NotFound: the app has no such endpoint. Conflict: it is disabled.
    """

    def work(conn: Connection, endpoint: Endpoint) -> int:
        if endpoint.state != "enabled":
            raise Conflict(f"endpoint {endpoint_id!r} is {endpoint.state}: enable it first", status=endpoint.state)
        data = {"app": app.slug, "customer": None, "endpoint": endpoint.external_id}
        return deliveries.add_test(conn, app.slug, endpoint.id, data, now=now)

    return deliveries.get(app.slug, _with_locked(app, endpoint_id, work))


def replay(app: App, delivery_id: int, *, now: datetime) -> dict[str, Any]:
    """Send a delivery again, in whatever state it is. Returns the delivery.

    Raises:
        NotFound: the app has no such delivery. Conflict: its endpoint is disabled or deleted.
    """
    database.transaction(lambda conn: deliveries.replay(conn, app.slug, delivery_id, now=now))
    return deliveries.get(app.slug, delivery_id)


def _with_locked(app: App, endpoint_id: str, work: Callable[[Connection, Endpoint], Any]) -> Any:
    return database.transaction(lambda conn: work(conn, endpoints.lock(conn, app.slug, endpoint_id)))


def _with_secret(endpoint: Endpoint) -> dict[str, Any]:
    return {**endpoints.to_json(endpoint), "secret": endpoint.secret}
