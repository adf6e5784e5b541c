"""Endpoints: where an app wants to be told, with the secrets that sign what is sent there.

`enabled` ones are told; a `disabled` one failed for too long or said that it is gone, and waits for a person; a
`deleted` one leaves its row behind for the deliveries that it had, and its id free.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from models import database, pagination
from models.database import Connection
from models.errors import NotFound

COLUMNS = """id, external_id, url, events, state, disabled_reason, failing_since, created_at, updated_at, secret,
old_secret_until"""
INSERT = f"""
INSERT INTO endpoint (app, external_id, url, events, secret, created_at, updated_at)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (app, external_id) WHERE state <> 'deleted' DO NOTHING RETURNING {COLUMNS}
"""
FIND = f"SELECT {COLUMNS} FROM endpoint WHERE app = %s AND external_id = %s AND state <> 'deleted' FOR UPDATE"
LOCK_ROWS = "SELECT 1 FROM endpoint WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
ROTATE = f"""
UPDATE endpoint SET old_secret = secret, old_secret_until = %s, secret = %s, updated_at = %s
WHERE id = %s RETURNING {COLUMNS}
"""
ENABLE = f"""
UPDATE endpoint SET state = 'enabled', disabled_reason = NULL, failing_since = NULL, last_failed_at = NULL,
    updated_at = %s WHERE id = %s RETURNING {COLUMNS}
"""
CLOSE = "UPDATE endpoint SET state = %s, disabled_reason = %s, updated_at = %s WHERE id = %s"
GIVE_UP = """
UPDATE outbox_delivery SET state = 'failed', error = %s, leased_until = NULL
WHERE endpoint_id = %s AND state = 'pending'
"""
SUCCEEDED = """
UPDATE endpoint SET failing_since = NULL, last_failed_at = NULL WHERE id = ANY(%s) AND failing_since IS NOT NULL
"""
# A failure after a long silence begins anew: nothing is known of the time between.
FAILED = """
UPDATE endpoint SET last_failed_at = %(now)s, failing_since = CASE
    WHEN last_failed_at >= %(now)s - %(silence)s THEN failing_since ELSE %(now)s END
WHERE id = ANY(%(ids)s) AND state = 'enabled' RETURNING id, app, external_id, failing_since
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as stored. `events` empty: it is told of everything."""

    row: int
    id: str
    url: str
    events: list[str]
    state: str
    disabled_reason: str | None
    failing_since: datetime | None
    created_at: datetime
    updated_at: datetime
    secret: str
    old_secret_until: datetime | None


def insert(
    conn: Connection, app: str, endpoint_id: str, url: str, events: Sequence[str], secret: str, *, now: datetime
) -> Endpoint | None:
    """The endpoint, made; None if the app has one with this id."""
    row = conn.execute(INSERT, [app, endpoint_id, url, list(events), secret, now, now]).fetchone()
    return Endpoint(*row) if row else None


def lock(conn: Connection, app: str, endpoint_id: str) -> Endpoint:
    """The endpoint, locked until the end of the transaction.

    Raises:
        NotFound: the app has none with this id.
    """
    database.require_transaction(conn)
    row = conn.execute(FIND, [app, endpoint_id]).fetchone()
    if row is None:
        raise NotFound(f"no endpoint {endpoint_id!r}")
    return Endpoint(*row)


def list_page(app: str, *, limit: int = 50, cursor: str | None = None) -> tuple[list[dict[str, Any]], str | None]:
    """Endpoints of the app, newest first, without their secrets, and the cursor of the next page."""
    filters = {"app = %s": app, "state <> %s": "deleted"}
    return pagination.by_id("endpoints", f"SELECT {COLUMNS} FROM endpoint", "id", filters, limit, cursor, _row_to_json)


def rotate(conn: Connection, endpoint: Endpoint, secret: str, *, old_until: datetime, now: datetime) -> Endpoint:
    """Sign with the new secret from now on, and with the one before until `old_until`."""
    row = conn.execute(ROTATE, [old_until, secret, now, endpoint.row]).fetchone()
    assert row is not None
    return Endpoint(*row)


def enable(conn: Connection, endpoint: Endpoint, *, now: datetime) -> Endpoint:
    """Tell it again, of what happens from now on; what it did wrong is forgotten."""
    row = conn.execute(ENABLE, [now, endpoint.row]).fetchone()
    assert row is not None
    return Endpoint(*row)


def close(conn: Connection, row: int, state: str, reason: str, *, now: datetime) -> None:
    """Tell it no more: `disabled` or `deleted`. What waits for it is given up, and can be replayed."""
    conn.execute(CLOSE, [state, reason, now, row])
    conn.execute(GIVE_UP, [reason, row])


def lock_rows(conn: Connection, rows: Collection[int]) -> None:
    """Lock these endpoints in their order, and before deliveries to them: as `lock` and `close` do."""
    database.require_transaction(conn)
    conn.execute(LOCK_ROWS, [sorted(rows)])


def note_successes(conn: Connection, rows: Collection[int]) -> None:
    """These endpoints took something."""
    if rows:
        conn.execute(SUCCEEDED, [sorted(rows)])


def note_failures(
    conn: Connection, rows: Collection[int], *, silence: timedelta, now: datetime
) -> list[tuple[int, str, str, datetime]]:
    """These endpoints took nothing. Returns (row, app, id, since when nothing was taken) of those still enabled."""
    if not rows:
        return []
    return conn.execute(FAILED, {"ids": sorted(rows), "silence": silence, "now": now}).fetchall()


def to_json(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint as the API shows it: without its secret."""
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": endpoint.events,
        "status": endpoint.state,
        "disabled_reason": endpoint.disabled_reason,
        "failing_since": endpoint.failing_since,
        "old_secret_until": endpoint.old_secret_until,
        "created_at": endpoint.created_at,
        "updated_at": endpoint.updated_at,
    }


def _row_to_json(row: tuple[Any, ...]) -> dict[str, Any]:
    return to_json(Endpoint(*row))
