"""The queue of the senders: pending deliveries, claimed with a lease, and the results of their attempts.

SQL over sets of rows. A claimed delivery whose sender crashes is due again when its lease expires.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from models import arrays, database
from models.database import Connection
from models.outbox.messages import message_id

NOT_ENABLED = "the endpoint was disabled or deleted"

# An endpoint gets at most as many deliveries as it may have in flight, and endpoints with the fewest in flight come
# first, so that a backlog or a slow endpoint does not delay the others. PostgreSQL cannot lock rows in a query with a
# window function: `taken` locks them.
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
# A sender whose lease has expired may still record a success, and nothing else.
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
PRUNE = """
WITH old AS (
    SELECT m.id FROM outbox_message m WHERE m.created_at < %(before)s
      AND NOT EXISTS (SELECT 1 FROM outbox_delivery d WHERE d.message_id = m.id AND d.state = 'pending')
      AND NOT (m.type = 'lot.expiring' AND EXISTS (
            SELECT 1 FROM lot WHERE lot.id = (m.data ->> 'lot')::bigint AND (lot.open OR lot.expires_at > %(now)s)))
    ORDER BY m.created_at LIMIT %(limit)s
), deleted AS (DELETE FROM outbox_delivery d USING old WHERE d.message_id = old.id)
DELETE FROM outbox_message m USING old WHERE m.id = old.id
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery that a sender has leased until `leased_until`. `attempts` includes the one that it is about to make.

    `endpoint`: the row id of the endpoint. `old_secret`: the previous secret, while it is still in use.
    """

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
        """The webhook-id, the same for each attempt and each replay."""
        return message_id(self.message)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an attempt. `next_attempt_at` is used while `state` is pending."""

    delivery: Delivery
    state: str
    next_attempt_at: datetime
    status_code: int | None
    error: str | None


def claim(*, now: datetime, until: datetime, failing: bool, each: int, limit: int) -> list[Delivery]:
    """Lease up to `limit` due deliveries until `until`, in a commit of its own.

    failing: claim from the endpoints that are failing, or else from all others.
    each: how many deliveries one endpoint may have in flight. Two senders that claim at the same moment may double it.
    """
    values = {"now": now, "until": until, "failing": failing, "each": each, "limit": limit}
    return [Delivery(*row) for row in database.write(CLAIM, values).fetchall()]


def record(conn: Connection, outcomes: Sequence[Outcome], *, now: datetime) -> None:
    """Store the results of claimed deliveries."""
    conn.execute(
        RECORD,
        {
            "now": now,
            "ids": arrays.ints([outcome.delivery.id for outcome in outcomes]),
            "leases": arrays.times([outcome.delivery.leased_until for outcome in outcomes]),
            "states": arrays.texts([outcome.state for outcome in outcomes]),
            "nexts": arrays.times([outcome.next_attempt_at for outcome in outcomes]),
            "codes": arrays.ints([outcome.status_code for outcome in outcomes]),
            "errors": arrays.texts([outcome.error for outcome in outcomes]),
        },
        prepare=True,
    )


def abandon(*, now: datetime) -> int:
    """Fail due deliveries whose endpoint was disabled or deleted while they were being stored. Returns how many."""
    return database.write(ABANDON, [NOT_ENABLED, now]).rowcount


def prune(conn: Connection, *, before: datetime, limit: int, now: datetime) -> int:
    """Delete up to `limit` messages that were created before `before`, with their deliveries. Returns how many.

    Kept are messages with a pending delivery, and `lot.expiring` of a lot that can still expire: its row prevents a
    second message, whatever `expiring_within` is.
    """
    return conn.execute(PRUNE, {"before": before, "limit": limit, "now": now}).rowcount
