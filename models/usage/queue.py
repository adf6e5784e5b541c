"""The queue of usage reports that are not settled.

While a report is not settled, a small row of `usage_queue` exists for it: settling deletes that row and leaves the
report's own update HOT. A dead report keeps its queue row, marked `dead`.

A **lane** holds all reports of some customers. A drain locks the lane, not the rows: two drains never share an account,
so neither waits for the other's locks, and the reports of one customer are settled in the order of their acceptance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.errors import LockNotAvailable

from models import arrays, database
from models.database import Connection

LANES = 16
LANE_LOCK = 7_265_910


@dataclass(slots=True)
class Report:
    """A report to settle. `price`: what was stored when it was accepted; None if an earlier version accepted it.

    A report with `lines` has no rate and no quantity of its own.
    """

    id: int
    app: str
    external_id: str
    customer: str
    rate: str | None
    quantity: int | None
    lines: list[dict[str, Any]] | None
    price: str | None
    metadata: dict[str, Any] | None
    occurred_at: datetime | None
    received_at: datetime


@dataclass(slots=True)
class Settlement:
    """The result of a report. `state` is `settled` or `refused`; `entry_id` is None where no units were taken."""

    report_id: int
    state: str
    units: int
    shortfall: int
    entry_id: int | None


# Lanes are tried in random order, up to the first that is due and free. OFFSET 0 keeps the lock out of the subquery:
# a lane with nothing to settle is not locked.
CLAIM_LANE = f"""
SELECT lane FROM (
    SELECT lane FROM (SELECT lane FROM generate_series(0, {LANES - 1}) AS lane ORDER BY random()) AS lanes
    WHERE EXISTS (SELECT 1 FROM usage_queue q WHERE q.lane = lanes.lane AND NOT q.dead AND q.next_attempt_at <= %s)
    OFFSET 0
) AS due
WHERE pg_try_advisory_xact_lock({LANE_LOCK}, lane) LIMIT 1
"""
DUE_LANE = f"""
SELECT lane FROM generate_series(0, {LANES - 1}) AS lane
WHERE EXISTS (SELECT 1 FROM usage_queue q WHERE q.lane = lane.lane AND NOT q.dead AND q.next_attempt_at <= %s)
ORDER BY random() LIMIT 1
"""
LONGEST_WAIT = "2s"
DUE_IDS = """
SELECT report_id, solo FROM usage_queue WHERE lane = %s AND NOT dead AND next_attempt_at <= %s
ORDER BY report_id LIMIT %s
"""
TAKE = """
DELETE FROM usage_queue q USING usage_report r
WHERE q.report_id = ANY(%s::bigint[]) AND NOT q.dead AND q.next_attempt_at <= %s AND r.id = q.report_id
RETURNING r.id, r.app, r.external_id, r.customer, r.rate, r.quantity, r.lines, r.price, r.metadata,
          r.occurred_at, q.received_at
"""
SETTLE = """
UPDATE usage_report r SET state = new.state, units = new.units, shortfall = new.shortfall, entry_id = new.entry_id,
                          settled_at = %s
FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[])
  AS new(id, state, units, shortfall, entry_id)
WHERE r.id = new.id
"""


def claim_lane(conn: Connection, now: datetime) -> int | None:
    """Lock a lane that has a due report, until the end of the transaction. None if there is none, or all are locked."""
    database.require_transaction(conn)
    row = conn.execute(CLAIM_LANE, [now], prepare=True).fetchone()
    return row[0] if row else None


def wait_for_lane(conn: Connection, now: datetime) -> int | None:
    """Wait for a due lane that another drain has locked. None if no lane is due, or after `LONGEST_WAIT`.

    Without the wait, a report could be missed by two drains: by the one that found the lane empty and still holds its
    lock, and by the one that was woken up for the report and found the lane locked. Only the sweep would find it.
    """
    row = conn.execute(DUE_LANE, [now], prepare=True).fetchone()
    return int(row[0]) if row and _wait_for(conn, row[0]) else None


def lock_lane(conn: Connection, lane: int) -> bool:
    """Lock the lane until the end of the transaction. False if another drain holds it for longer than `LONGEST_WAIT`.

    The wait is needed: each drain holds a lane while it looks for due reports, so drains that only tried the lock would
    keep one another from settling anything.
    """
    database.require_transaction(conn)
    row = conn.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [LANE_LOCK, lane], prepare=True).fetchone()
    return bool(row and row[0]) or _wait_for(conn, lane)


def _wait_for(conn: Connection, lane: int) -> bool:
    database.require_transaction(conn)
    try:
        with conn.transaction():
            conn.execute(f"SET LOCAL lock_timeout = '{LONGEST_WAIT}'")
            conn.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LANE_LOCK, lane])
            conn.execute("SET LOCAL lock_timeout TO DEFAULT")
    except LockNotAvailable:
        return False
    return True


def due_ids(conn: Connection, lane: int, now: datetime, limit: int) -> list[int]:
    """The oldest due reports of the lane, up to the first isolated one; if that is the oldest, it alone."""
    ids: list[int] = []
    for report_id, solo in conn.execute(DUE_IDS, [lane, now, limit], prepare=True):
        if solo and ids:
            break
        ids.append(report_id)
        if solo:
            break
    return ids


def take(conn: Connection, ids: Iterable[int], *, now: datetime) -> list[Report]:
    """Remove the reports that are still due from the queue. Returns them oldest first; a rollback restores them."""
    rows = conn.execute(TAKE, [arrays.ints(ids), now], prepare=True, binary=True).fetchall()
    rows.sort()  # by id: the ids are distinct, so no other column is compared
    return [Report(*row) for row in rows]


def settle(conn: Connection, settlements: Sequence[Settlement], *, now: datetime) -> None:
    """Store the results on the reports."""
    conn.execute(
        SETTLE,
        [
            now,
            arrays.ints([s.report_id for s in settlements]),
            arrays.texts([s.state for s in settlements]),
            arrays.ints([s.units for s in settlements]),
            arrays.ints([s.shortfall for s in settlements]),
            arrays.ints([s.entry_id for s in settlements]),
        ],
        prepare=True,
    )
