"""Deliveries: one message to one endpoint. The rows that are pending are the queue of the senders."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from models import arrays, database, pagination
from models.database import Connection
from models.errors import Conflict, NotFound
from models.outbox.messages import TEST_TYPE

NOBODY = "the endpoint was disabled or deleted"

# An endpoint gets as many at once as it may have in flight, and those with the fewest in flight come first: neither a
# backlog nor slowness of one keeps the others waiting. Locking is a step of its own: a window's rows cannot be locked.
CLAIM = """
WITH open AS (
    SELECT e.id, (SELECT count(*) FROM outbox_delivery AS d
                  WHERE d.endpoint_id = e.id AND d.leased_until > %(now)s) AS in_flight
    FROM endpoint e WHERE e.state = 'enabled' AND (e.failing_since IS NOT NULL) = %(failing)s
), due AS (
    SELECT d.id, d.next_attempt_at,
           open.in_flight + row_number() OVER (PARTITION BY open.id ORDER BY d.next_attempt_at, d.id) AS turn
    FROM open CROSS JOIN LATERAL (
        SELECT id, next_attempt_at FROM outbox_delivery
        WHERE endpoint_id = open.id AND state = 'pending' AND next_attempt_at <= %(now)s
        ORDER BY next_attempt_at, id LIMIT greatest(0, %(each)s - open.in_flight)) AS d
), taken AS (
    SELECT id FROM outbox_delivery
    WHERE id IN (SELECT id FROM due ORDER BY turn, next_attempt_at, id LIMIT %(limit)s)
      AND state = 'pending' AND next_attempt_at <= %(now)s FOR UPDATE SKIP LOCKED
)
UPDATE outbox_delivery d SET next_attempt_at = %(until)s, leased_until = %(until)s, attempts = d.attempts + 1
FROM taken, outbox_message m, endpoint e
WHERE d.id = taken.id AND m.id = d.message_id AND e.id = d.endpoint_id
RETURNING d.id, d.leased_until, d.attempts, e.id, e.url, e.secret,
          CASE WHEN e.old_secret_until > %(now)s THEN e.old_secret END, m.uid, m.type, m.created_at, m.data
"""
# A sender that was away for longer than its lease may still say that it succeeded, and nothing else.
RECORD = """
UPDATE outbox_delivery d SET state = new.state, next_attempt_at = new.next_attempt_at, leased_until = NULL,
    status_code = new.status_code, error = new.error,
    delivered_at = CASE WHEN new.state = 'delivered' THEN %(now)s::timestamptz END
FROM unnest(%(ids)s::bigint[], %(leases)s::timestamptz[], %(states)s::text[], %(nexts)s::timestamptz[],
            %(codes)s::int[], %(errors)s::text[])
  AS new(id, lease, state, next_attempt_at, status_code, error)
WHERE d.id = new.id AND (new.state = 'delivered' OR (d.state = 'pending' AND d.leased_until = new.lease))
"""
ABANDON = """
UPDATE outbox_delivery d SET state = 'failed', error = %s, leased_until = NULL FROM endpoint e
WHERE d.state = 'pending' AND d.next_attempt_at <= %s AND e.id = d.endpoint_id AND e.state <> 'enabled'
"""
SHOWN = """
SELECT d.id, m.uid, e.external_id, m.type, m.customer, d.state, d.attempts, d.status_code, d.error, d.created_at,
       CASE WHEN d.state = 'pending' THEN d.next_attempt_at END, d.delivered_at, m.created_at, m.data
FROM outbox_delivery d JOIN outbox_message m ON m.id = d.message_id JOIN endpoint e ON e.id = d.endpoint_id
"""
FIND = """
SELECT d.state, e.state FROM outbox_delivery d JOIN endpoint e ON e.id = d.endpoint_id
WHERE d.app = %s AND d.id = %s FOR UPDATE OF d
"""
AGAIN = """
UPDATE outbox_delivery SET state = 'pending', attempts = 0, next_attempt_at = %s, leased_until = NULL,
    status_code = NULL, error = NULL, delivered_at = NULL WHERE id = %s
"""
TEST = f"""
WITH made AS (
    INSERT INTO outbox_message (app, type, data, created_at)
    VALUES (%(app)s, '{TEST_TYPE}', %(data)s::json, %(now)s) RETURNING id
)
INSERT INTO outbox_delivery (app, message_id, endpoint_id, next_attempt_at, created_at)
SELECT %(app)s, id, %(endpoint)s, %(now)s, %(now)s FROM made RETURNING id
"""
PRUNE = """
WITH old AS (
    SELECT m.id FROM outbox_message m WHERE m.created_at < %(before)s
      AND NOT EXISTS (SELECT 1 FROM outbox_delivery d WHERE d.message_id = m.id AND d.state = 'pending')
      AND NOT (m.type = 'lot.expiring' AND EXISTS (
            SELECT 1 FROM lot WHERE lot.id = (m.data ->> 'lot')::bigint AND (lot.open OR lot.expires_at > %(now)s)))
    ORDER BY m.created_at LIMIT %(limit)s
), gone AS (DELETE FROM outbox_delivery d USING old WHERE d.message_id = old.id)
DELETE FROM outbox_message m USING old WHERE m.id = old.id
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery that a sender has taken until `leased_until`; `attempts` counts the one it is about to make."""

    id: int
    leased_until: datetime
    attempts: int
    endpoint: int
    url: str
    secret: str
    old_secret: str | None
    message: uuid.UUID
    type: str
    created_at: datetime
    data: dict[str, Any]

    @property
    def message_id(self) -> str:
        """The webhook-id, the same at each attempt and each replay."""
        return message_id(self.message)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt. `next_attempt_at` matters while `state` is pending."""

    delivery: Delivery
    state: str
    next_attempt_at: datetime
    status_code: int | None
    error: str | None


def claim(*, now: datetime, until: datetime, failing: bool, each: int, limit: int) -> list[Delivery]:
    """Take up to `limit` due deliveries, in a commit of its own: to endpoints that are failing, or to all others.

    each: how many one endpoint may have in flight; two senders that claim at the same moment may give it twice that.
    """
    values = {"now": now, "until": until, "failing": failing, "each": each, "limit": limit}
    return [Delivery(*row) for row in database.write(CLAIM, values).fetchall()]


def record(conn: Connection, outcomes: Sequence[Outcome], *, now: datetime) -> None:
    """Write what became of deliveries that were claimed."""
    conn.execute(
        RECORD,
        {
            "now": now,
            "ids": arrays.ints([it.delivery.id for it in outcomes]),
            "leases": arrays.times([it.delivery.leased_until for it in outcomes]),
            "states": arrays.texts([it.state for it in outcomes]),
            "nexts": arrays.times([it.next_attempt_at for it in outcomes]),
            "codes": arrays.ints([it.status_code for it in outcomes]),
            "errors": arrays.texts([it.error for it in outcomes]),
        },
        prepare=True,
    )


def abandon(*, now: datetime) -> int:
    """Give up what is due to endpoints that were disabled or deleted at the moment it was told. Returns how many."""
    return database.write(ABANDON, [NOBODY, now]).rowcount


def add_test(conn: Connection, app: str, endpoint: int, data: dict[str, Any], *, now: datetime) -> int:
    """A test message to one endpoint, whatever it wants. Returns the delivery's id."""
    values = {"app": app, "endpoint": endpoint, "data": orjson.dumps(data).decode(), "now": now}
    row = conn.execute(TEST, values).fetchone()
    assert row is not None
    return int(row[0])


def replay(conn: Connection, app: str, delivery_id: int, *, now: datetime) -> None:
    """Send it again, whatever became of it, under the same webhook-id.

    Raises:
        NotFound: the app has no such delivery. Conflict: its endpoint is disabled or deleted.
    """
    database.require_transaction(conn)
    row = conn.execute(FIND, [app, delivery_id]).fetchone()
    if row is None:
        raise NotFound(f"no delivery {delivery_id}")
    if row[1] != "enabled":
        raise Conflict(f"the endpoint of delivery {delivery_id} is {row[1]}", status=row[1])
    conn.execute(AGAIN, [now, delivery_id])


def get(app: str, delivery_id: int) -> dict[str, Any]:
    """One delivery with what it carries.

    Raises:
        NotFound: the app has no such delivery.
    """
    rows = database.read(f"{SHOWN} WHERE d.app = %s AND d.id = %s", [app, delivery_id])
    if not rows:
        raise NotFound(f"no delivery {delivery_id}")
    return _to_json(rows[0])


def list_page(
    app: str,
    *,
    endpoint: str | None = None,
    type: str | None = None,
    state: str | None = None,
    customer: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """Deliveries of the app, newest first, and the cursor of the next page."""
    filters = {
        "d.app = %s": app,
        "m.app = %s": app,
        "e.external_id = %s": endpoint,
        "m.type = %s": type,
        "d.state = %s": state,
        "m.customer = %s": customer,
    }
    return pagination.by_id("deliveries", SHOWN, "d.id", filters, limit, cursor, _to_json)


def prune(conn: Connection, *, before: datetime, limit: int, now: datetime) -> int:
    """Forget up to `limit` messages told before then, with their deliveries. Returns how many.

    What is still pending stays; and so does that a lot was told to expire, while it may: the row keeps it from being
    told again, however early the app wants to know.
    """
    return conn.execute(PRUNE, {"before": before, "limit": limit, "now": now}).rowcount


def message_id(uid: uuid.UUID) -> str:
    """The webhook-id of a message."""
    return f"msg_{uid.hex}"


def payload(type_: str, told_at: Any, data: dict[str, Any]) -> dict[str, Any]:
    """What is sent, by Standard Webhooks."""
    return {"type": type_, "timestamp": told_at, "data": data}


def _to_json(row: tuple[Any, ...]) -> dict[str, Any]:
    names = (
        "id message_id endpoint type customer state attempts status_code error created_at next_attempt_at delivered_at"
    )
    *values, told_at, data = row
    to_json = dict(zip(names.split(), values, strict=True))
    to_json["message_id"] = message_id(to_json["message_id"])
    to_json["payload"] = payload(to_json["type"], told_at, data)
    return to_json
