"""Webhook endpoints and their signing secrets.

`enabled`: receives events. `disabled`: failed for too long or returned 410 Gone; must be re-enabled by an operator.
`deleted`: keeps its row for its deliveries; its id can be used again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from models import database, pagination
from models.database import Connection
from models.errors import NotFound
from models.tables import Endpoint, OutboxDelivery

NOT_DELETED = Endpoint.state != "deleted"
# SQL for what the sender runs after every batch of attempts.
LOCK_ROWS = "SELECT 1 FROM endpoint WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
SUCCEEDED = """
UPDATE endpoint SET failing_since = NULL, last_failed_at = NULL WHERE id = ANY(%s) AND failing_since IS NOT NULL
"""
# After a long silence a failure starts a new period: the state of the endpoint in between is not known.
FAILED = """
UPDATE endpoint SET last_failed_at = %(now)s, failing_since = CASE
    WHEN last_failed_at >= %(now)s - %(silence)s THEN failing_since ELSE %(now)s END
WHERE id = ANY(%(ids)s) AND state = 'enabled' RETURNING id, app, external_id, failing_since
"""


def insert(
    conn: Connection, app: str, endpoint_id: str, url: str, events: Sequence[str], secret: str, *, now: datetime
) -> Endpoint | None:
    """Insert the endpoint and return it; None if the app has one with this id."""
    query: Any = Endpoint.insert(
        app=app,
        external_id=endpoint_id,
        url=url,
        events=list(events),
        secret=secret,
        created_at=now,
        updated_at=now,
    )
    inserted = list(query.on_conflict_ignore().returning(Endpoint).execute())
    return inserted[0] if inserted else None


def lock(conn: Connection, app: str, endpoint_id: str) -> Endpoint:
    """Return the endpoint, locked until the end of the transaction.

    Raises:
        NotFound: the app has no endpoint with this id.
    """
    database.require_transaction(conn)
    query = Endpoint.select().where(Endpoint.app == app, Endpoint.external_id == endpoint_id, NOT_DELETED)
    endpoint: Endpoint | None = query.for_update().first()
    if endpoint is None:
        raise NotFound(f"no endpoint {endpoint_id!r}")
    return endpoint


def list_page(app: str, *, limit: int = 50, cursor: str | None = None) -> tuple[list[dict[str, Any]], str | None]:
    """Return endpoints of the app, newest first, without their secrets, and the cursor of the next page.

    Raises:
        Invalid: the cursor is not one of this list.
    """
    (below,) = pagination.decode("endpoints", cursor)
    query = Endpoint.select().where(Endpoint.app == app, NOT_DELETED, Endpoint.id < below)
    rows = list(query.order_by(Endpoint.id.desc()).limit(limit + 1))
    page, following = pagination.cut("endpoints", rows, limit, attrgetter("id"))
    return [to_json(endpoint) for endpoint in page], following


def subscribed_apps(conn: Connection, type_: str) -> list[str]:
    """Return the apps with an enabled endpoint that receives events of the type, in order."""
    receives = (Endpoint.events == []) | Endpoint.events.contains(type_)
    query = Endpoint.select(Endpoint.app).distinct().where(Endpoint.state == "enabled", receives)
    return [endpoint.app for endpoint in query.order_by(Endpoint.app)]


def rotate(conn: Connection, endpoint: Endpoint, secret: str, *, old_until: datetime, now: datetime) -> Endpoint:
    """Replace the secret. Until `old_until`, messages also carry a signature of the previous secret."""
    endpoint.old_secret, endpoint.old_secret_until = endpoint.secret, old_until
    endpoint.secret, endpoint.updated_at = secret, now
    endpoint.save()
    return endpoint


def enable(conn: Connection, endpoint: Endpoint, *, now: datetime) -> Endpoint:
    """Enable the endpoint for events emitted from now on, and reset its failures."""
    endpoint.state, endpoint.updated_at = "enabled", now
    endpoint.disabled_reason = endpoint.failing_since = endpoint.last_failed_at = None
    endpoint.save()
    return endpoint


def close(conn: Connection, row_id: int, state: str, reason: str, *, now: datetime) -> None:
    """Disable or delete the endpoint. Pending deliveries are marked failed and can be replayed."""
    close = Endpoint.update(state=state, disabled_reason=reason, updated_at=now)
    close.where(Endpoint.id == row_id).execute()
    fail = OutboxDelivery.update(state="failed", error=reason, leased_until=None)
    fail.where(OutboxDelivery.endpoint_id == row_id, OutboxDelivery.state == "pending").execute()


def lock_rows(conn: Connection, row_ids: Collection[int]) -> None:
    """Lock these endpoints in the order of their ids, before their deliveries: the order of `lock` and `close`."""
    database.require_transaction(conn)
    conn.execute(LOCK_ROWS, [sorted(row_ids)])


def note_successes(conn: Connection, row_ids: Collection[int]) -> None:
    """Record that these endpoints accepted a delivery."""
    if row_ids:
        conn.execute(SUCCEEDED, [sorted(row_ids)])


def note_failures(
    conn: Connection, row_ids: Collection[int], *, silence: timedelta, now: datetime
) -> list[tuple[int, str, str, datetime]]:
    """Record that all attempts at these endpoints failed.

    `silence`: two failures that lie further apart are not of one period. Returns (row id, app, id, start of the period
    of failures) of the endpoints that are still enabled.
    """
    if not row_ids:
        return []
    return conn.execute(FAILED, {"ids": sorted(row_ids), "silence": silence, "now": now}).fetchall()


def to_json(endpoint: Endpoint) -> dict[str, Any]:
    """Return the endpoint as in responses of the API, without its secret."""
    return {
        "id": endpoint.external_id,
        "url": endpoint.url,
        "events": endpoint.events,
        "status": endpoint.state,
        "disabled_reason": endpoint.disabled_reason,
        "failing_since": endpoint.failing_since,
        "old_secret_until": endpoint.old_secret_until,
        "created_at": endpoint.created_at,
        "updated_at": endpoint.updated_at,
    }
