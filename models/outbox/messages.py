"""The outbox: events for the app's endpoints, stored in the transaction that causes them.

    emit(conn, [Message(app.slug, "payment.settled", customer, {"payment": payment_id})], now=now)

An event that no endpoint receives is not stored. The rows are the queue from which jobs/outbox/sender.py sends.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from models import arrays, database
from models.database import Connection

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
    "subscription.started",
    "subscription.changed",
    "subscription.past_due",
    "subscription.ended",
    "customer.tier_changed",
    "checkout.paid",
    "checkout.failed",
    "checkout.expired",
)
TEST_TYPE = "endpoint.test"

# The statement itself looks up the endpoints, so that an endpoint that another process has just created is included.
EMIT = """
WITH subscribed AS (
    SELECT id, app, events FROM endpoint WHERE state = 'enabled' AND app = ANY(%(apps)s::text[])
), inserted AS (
    INSERT INTO outbox_message (app, type, customer, data, key, created_at)
    SELECT app, type, customer, data, key, %(now)s
    FROM unnest(%(apps)s::text[], %(types)s::text[], %(customers)s::text[], %(data)s::json[], %(keys)s::text[])
      WITH ORDINALITY AS emitted(app, type, customer, data, key, position)
    WHERE EXISTS (SELECT 1 FROM subscribed WHERE subscribed.app = emitted.app
                  AND (cardinality(subscribed.events) = 0 OR emitted.type = ANY(subscribed.events)))
    ORDER BY position
    ON CONFLICT (app, key) WHERE key IS NOT NULL DO NOTHING
    RETURNING id, app, type
)
INSERT INTO outbox_delivery (app, message_id, endpoint_id, next_attempt_at, created_at)
SELECT inserted.app, inserted.id, subscribed.id, %(now)s, %(now)s
FROM inserted JOIN subscribed ON subscribed.app = inserted.app
  AND (cardinality(subscribed.events) = 0 OR inserted.type = ANY(subscribed.events))
ORDER BY inserted.id, subscribed.id
"""
IS_DUE = "SELECT EXISTS (SELECT 1 FROM outbox_delivery WHERE state = 'pending' AND next_attempt_at <= %s)"


@dataclass(slots=True)
class Message:
    """An outgoing event. `data` must be JSON-serialisable. With `key`, the event is emitted at most once per app."""

    app: str
    type: str
    customer: str | None
    data: dict[str, Any]
    key: str = ""


def emit(conn: Connection, messages: Sequence[Message], *, now: datetime) -> None:
    """Store the messages in the caller's transaction, with a delivery for each endpoint that receives their type."""
    if not messages:
        return
    conn.execute(
        EMIT,
        {
            "now": now,
            "apps": arrays.texts([message.app for message in messages]),
            "types": arrays.texts([message.type for message in messages]),
            "customers": arrays.texts([message.customer for message in messages]),
            "data": arrays.jsons(
                [{"app": message.app, "customer": message.customer, **message.data} for message in messages],
                orjson.OPT_UTC_Z,
            ),
            "keys": arrays.texts([message.key or None for message in messages]),
        },
        prepare=True,
    )


def is_due(*, now: datetime) -> bool:
    """Whether a delivery is due."""
    return bool(database.read(IS_DUE, [now])[0][0])


def message_id(uid: uuid.UUID) -> str:
    """The webhook-id of a message."""
    return f"msg_{uid.hex}"


def payload(type_: str, timestamp: Any, data: dict[str, Any]) -> dict[str, Any]:
    """The body of a webhook as defined by Standard Webhooks."""
    return {"type": type_, "timestamp": timestamp, "data": data}
