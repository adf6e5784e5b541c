"""The outbox: what is to be told to the app's endpoints, written in the transaction of what it tells of.

    tell(conn, [Message(app.slug, "payment.settled", customer, {"payment": payment_id})], now=now)

A message that no endpoint wants is not stored. The rows are the queue: jobs/outbox/sender.py sends what is due.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from models import arrays, database

EVENT_TYPES = (
    "balance.low",
    "balance.exhausted",
    "lot.expiring",
    "lot.expired",
    "payment.settled",
    "payment.reversed",
    "grant.monthly",
    "session.started",
    "session.ended",
    "session.exhausted",
    "event.dead",
)
TEST_TYPE = "endpoint.test"

# Endpoints are looked up by the statement itself, so that one which another process has just made is heard.
TELL = """
WITH wanting AS (
    SELECT id, app, events FROM endpoint WHERE state = 'enabled' AND app = ANY(%(apps)s::text[])
), made AS (
    INSERT INTO outbox_message (app, type, customer, data, key, created_at)
    SELECT app, type, customer, data, key, %(now)s
    FROM unnest(%(apps)s::text[], %(types)s::text[], %(customers)s::text[], %(data)s::json[], %(keys)s::text[])
      WITH ORDINALITY AS told(app, type, customer, data, key, position)
    WHERE EXISTS (SELECT 1 FROM wanting WHERE wanting.app = told.app
                  AND (cardinality(wanting.events) = 0 OR told.type = ANY(wanting.events)))
    ORDER BY position
    ON CONFLICT (app, key) WHERE key IS NOT NULL DO NOTHING
    RETURNING id, app, type
)
INSERT INTO outbox_delivery (app, message_id, endpoint_id, next_attempt_at, created_at)
SELECT made.app, made.id, wanting.id, %(now)s, %(now)s
FROM made JOIN wanting ON wanting.app = made.app
  AND (cardinality(wanting.events) = 0 OR made.type = ANY(wanting.events))
ORDER BY made.id, wanting.id
"""
IS_DUE = "SELECT EXISTS (SELECT 1 FROM outbox_delivery WHERE state = 'pending' AND next_attempt_at <= %s)"


@dataclass(slots=True)
class Message:
    """What is told. `data` holds ids and figures, ready for JSON; `key` given: told once in the app."""

    app: str
    type: str
    customer: str | None
    data: dict[str, Any]
    key: str = ""


def emit(conn: psycopg.Connection[Any], messages: Sequence[Message], *, now: datetime) -> None:
    """Store the messages, inside the caller's transaction, with a delivery for each endpoint that wants them."""
    if not messages:
        return
    conn.execute(
        TELL,
        {
            "now": now,
            "apps": arrays.texts([it.app for it in messages]),
            "types": arrays.texts([it.type for it in messages]),
            "customers": arrays.texts([it.customer for it in messages]),
            "data": arrays.jsons([{"app": it.app, "customer": it.customer, **it.data} for it in messages]),
            "keys": arrays.texts([it.key or None for it in messages]),
        },
        prepare=True,
    )


def is_due(*, now: datetime) -> bool:
    """Whether a delivery waits to be sent."""
    return bool(database.read(IS_DUE, [now])[0][0])
