"""Usage reports as stored, and the queue of those that are not settled.

A report's row says what was reported and what became of it. While it is not settled a small row in `usage_queue` stands
beside it: settling deletes that one and leaves the report's own update HOT. A dead report keeps its queue row, marked.

A **lane** holds all reports of some customers. A drain locks the lane, not the rows: two drains never share an account,
so neither waits for the other's locks, and one customer's reports settle in the order they came.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.errors import LockNotAvailable

from models import arrays, database, pagination
from models.database import Connection
from models.errors import Conflict, NotFound

LANES = 16
LANE_LOCK = 7_265_910
OTHER_CONTENT = "SC409"


@dataclass(slots=True)
class Report:
    """A report as the drain reads it."""

    id: int
    app: str
    external_id: str
    customer: str
    rate: str
    quantity: int
    metadata: dict[str, Any] | None
    occurred_at: datetime | None
    received_at: datetime


@dataclass(slots=True)
class Settlement:
    """What became of a report. `state` is `settled` or `refused`."""

    report_id: int
    state: str
    units: int
    shortfall: int
    entry_id: int | None


# One statement dedupes, refuses an id with other content, stores and queues: it is the whole of accepting a report.
ACCEPT = f"""
WITH stored AS (
    INSERT INTO usage_report (app, external_id, customer, rate, quantity, metadata, occurred_at, received_at)
    SELECT %(app)s, external_id, customer, rate, quantity, metadata, occurred_at, %(now)s
    FROM unnest(%(ids)s::text[], %(customers)s::text[], %(rates)s::text[], %(quantities)s::bigint[],
                %(metadata)s::jsonb[], %(occurred)s::timestamptz[])
      AS given(external_id, customer, rate, quantity, metadata, occurred_at)
    ORDER BY external_id
    ON CONFLICT (app, external_id) DO UPDATE SET quantity = refuse_other_content(excluded.external_id)
      WHERE (usage_report.customer, usage_report.rate, usage_report.quantity)
            IS DISTINCT FROM (excluded.customer, excluded.rate, excluded.quantity)
    RETURNING id, customer
)
INSERT INTO usage_queue (report_id, app, customer, lane, received_at, next_attempt_at)
SELECT id, %(app)s, customer, hashtextextended(customer, 0) & {LANES - 1}, %(now)s, %(now)s FROM stored
"""


def accept(app: str, reports: Sequence[dict[str, Any]], *, now: datetime) -> int:
    """Store and queue the reports whose ids are new, in one commit; returns how many. The ids are distinct.

    Raises:
        Conflict: an id is stored with another customer, rate or quantity; nothing is stored.
    """
    values = {
        "app": app,
        "now": now,
        "ids": arrays.texts(report["id"] for report in reports),
        "customers": arrays.texts(report["customer"] for report in reports),
        "rates": arrays.texts(report["rate"] for report in reports),
        "quantities": arrays.ints(report["quantity"] for report in reports),
        "metadata": arrays.jsons(report.get("metadata") for report in reports),
        "occurred": arrays.times(report.get("occurred_at") for report in reports),
    }
    try:
        return database.write(ACCEPT, values).rowcount
    except psycopg.Error as error:
        if error.sqlstate != OTHER_CONTENT:
            raise
        external_id = error.diag.message_primary
        raise Conflict(f"usage report {external_id!r} is stored with other content", id=external_id) from None


# --- the drain's side

# In random order, and no further than the first lane that is due and free. OFFSET 0 keeps the lock out of the inner
# part: a lane with nothing to settle is not locked.
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
RETURNING r.id, r.app, r.external_id, r.customer, r.rate, r.quantity, r.metadata, r.occurred_at, q.received_at
"""
SETTLE = """
UPDATE usage_report r SET state = new.state, units = new.units, shortfall = new.shortfall, entry_id = new.entry_id,
                          settled_at = %s
FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[])
  AS new(id, state, units, shortfall, entry_id)
WHERE r.id = new.id
"""


def claim_lane(conn: Connection, now: datetime) -> int | None:
    """Take a lane that has a report to settle until the end of the transaction; None if all such lanes are taken."""
    database.require_transaction(conn)
    row = conn.execute(CLAIM_LANE, [now], prepare=True).fetchone()
    return row[0] if row else None


def wait_for_lane(conn: Connection, now: datetime) -> int | None:
    """Take a due lane that another drain has, as soon as that one lets go; None if none is due, or it takes too long.

    Without the wait a report could be missed by both: by the drain that had just found the lane empty and still held
    it, and by the one that was rung for the report and found the lane taken. The sweep would find it, much later.
    """
    row = conn.execute(DUE_LANE, [now], prepare=True).fetchone()
    return int(row[0]) if row and _wait_for(conn, row[0]) else None


def lock_lane(conn: Connection, lane: int) -> bool:
    """Take the lane until the end of the transaction; False if another drain keeps it for too long.

    It waits its turn: drains that only looked whether the lane is free would keep one another from settling anything,
    as each of them holds it while it looks for what is due.
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
    """The oldest due reports of the lane, up to one that has to be tried alone; that one alone when it is the first."""
    ids: list[int] = []
    for report_id, solo in conn.execute(DUE_IDS, [lane, now, limit], prepare=True):
        if solo and ids:
            break
        ids.append(report_id)
        if solo:
            break
    return ids


def take(conn: Connection, ids: Iterable[int], *, now: datetime) -> list[Report]:
    """Take those of the reports that are due still off the queue, oldest first; a rollback puts them back."""
    rows = conn.execute(TAKE, [arrays.ints(ids), now], prepare=True, binary=True).fetchall()
    rows.sort()  # by their ids, which differ
    return [Report(*row) for row in rows]


def settle(conn: Connection, settlements: Sequence[Settlement], *, now: datetime) -> None:
    """Write on each report what became of it."""
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


# --- reading, and trying again

COLUMNS = """r.id, r.external_id, r.customer, r.rate, r.quantity, r.state, r.units, r.shortfall, r.entry_id,
r.received_at, r.settled_at, r.metadata, r.occurred_at, q.error"""
GET = f"""
SELECT {COLUMNS} FROM usage_report r LEFT JOIN usage_queue q ON q.report_id = r.id
WHERE r.app = %s AND r.external_id = %s
"""
REPLAY = """
WITH again AS (
    UPDATE usage_report SET state = 'pending', units = 0, shortfall = 0, settled_at = NULL
    WHERE app = %(app)s AND external_id = %(id)s AND state IN ('dead', 'refused') RETURNING id, customer
)
INSERT INTO usage_queue (report_id, app, customer, lane, received_at, next_attempt_at)
SELECT id, %(app)s, customer, hashtextextended(customer, 0) & %(mask)s, %(now)s, %(now)s FROM again
ON CONFLICT (report_id) DO UPDATE SET dead = false, solo = false, attempts = 0, error = NULL,
    received_at = excluded.received_at, next_attempt_at = excluded.next_attempt_at
"""


def get(app: str, external_id: str) -> dict[str, Any]:
    """One report as the API shows it.

    Raises:
        NotFound: the app has no such report.
    """
    rows = database.read(GET, [app, external_id])
    if not rows:
        raise NotFound(f"no usage report {external_id!r}")
    return _to_json(rows[0])


def list_page(
    app: str, *, customer: str | None = None, state: str | None = None, limit: int = 50, cursor: str | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """Reports of the app, newest first, and the cursor of the next page."""
    select = f"SELECT {COLUMNS} FROM usage_report r LEFT JOIN usage_queue q ON q.report_id = r.id"
    filters = {"r.app = %s": app, "r.customer = %s": customer, "r.state = %s": state}
    return pagination.by_id("usage reports", select, "r.id", filters, limit, cursor, _to_json)


def replay(app: str, external_id: str, *, now: datetime) -> None:
    """Queue a dead or refused report again; it is judged as received now.

    Raises:
        NotFound: the app has no such report.
        Conflict: it is pending or settled.
    """
    if database.write(REPLAY, {"app": app, "id": external_id, "now": now, "mask": LANES - 1}).rowcount == 0:
        report = get(app, external_id)
        raise Conflict(f"usage report {external_id!r} is {report['state']}; only dead or refused ones can be replayed")


SHOWN = (
    "id",
    "customer",
    "rate",
    "quantity",
    "state",
    "units",
    "shortfall",
    "entry",
    "received_at",
    "settled_at",
    "metadata",
    "occurred_at",
    "error",
)


def _to_json(row: tuple[Any, ...]) -> dict[str, Any]:
    report = dict(zip(SHOWN, row[1:], strict=True))
    return {**report, "metadata": report["metadata"] or {}}
