"""Usage reports as stored: what was reported, the state of the report and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg

from models import arrays, database, pagination
from models.errors import Conflict, NotFound
from models.usage.queue import LANES

OTHER_CONTENT = "SC409"
# Accepting reports is this one statement: it skips known ids, refuses an id with other content, stores and queues.
ACCEPT = f"""
WITH stored AS (
    INSERT INTO usage_report (app, external_id, customer, rate, quantity, lines, price, metadata, occurred_at,
                              received_at)
    SELECT %(app)s, external_id, customer, rate, quantity, lines, price, metadata, occurred_at, %(now)s
    FROM unnest(%(ids)s::text[], %(customers)s::text[], %(rates)s::text[], %(quantities)s::bigint[],
                %(lines)s::jsonb[], %(prices)s::text[], %(metadata)s::jsonb[], %(occurred)s::timestamptz[])
      AS given(external_id, customer, rate, quantity, lines, price, metadata, occurred_at)
    ORDER BY external_id
    ON CONFLICT (app, external_id) DO UPDATE SET quantity = refuse_other_content(excluded.external_id)
      WHERE (usage_report.customer, usage_report.rate, usage_report.quantity, usage_report.lines)
            IS DISTINCT FROM (excluded.customer, excluded.rate, excluded.quantity, excluded.lines)
    RETURNING id, customer
)
INSERT INTO usage_queue (report_id, app, customer, lane, received_at, next_attempt_at)
SELECT id, %(app)s, customer, hashtextextended(customer, 0) & {LANES - 1}, %(now)s, %(now)s FROM stored
"""


def accept(app: str, priced: Sequence[tuple[dict[str, Any], str]], *, now: datetime) -> int:
    """Store and queue the reports whose ids are new, with their prices. Returns how many. The ids must be distinct.

    A repeated report keeps the price that it was accepted at: a price is not content.

    Raises:
        Conflict: an id is stored with another customer, rate, quantity or lines. Nothing is stored.
    """
    reports = [report for report, _ in priced]
    lines = [report.get("lines") for report in reports]
    values = {
        "app": app,
        "now": now,
        "ids": arrays.texts(report["id"] for report in reports),
        "customers": arrays.texts(report["customer"] for report in reports),
        "rates": arrays.texts(report.get("rate") for report in reports),
        "quantities": arrays.ints(report.get("quantity") for report in reports),
        # A shorter array is padded with NULL.
        "lines": arrays.jsons(lines) if any(lines) else "{}",
        "prices": arrays.texts(price for _, price in priced),
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


COLUMNS = """r.id, r.external_id, r.customer, r.rate, r.quantity, r.lines, r.state, r.units, r.shortfall, r.entry_id,
r.received_at, r.settled_at, r.metadata, r.occurred_at, q.error"""
GET = f"""
SELECT {COLUMNS} FROM usage_report r LEFT JOIN usage_queue q ON q.report_id = r.id
WHERE r.app = %s AND r.external_id = %s
"""
REPLAY = """
WITH replayed AS (
    UPDATE usage_report SET state = 'pending', units = 0, shortfall = 0, settled_at = NULL
    WHERE app = %(app)s AND external_id = %(id)s AND state IN ('dead', 'refused') RETURNING id, customer
)
INSERT INTO usage_queue (report_id, app, customer, lane, received_at, next_attempt_at)
SELECT id, %(app)s, customer, hashtextextended(customer, 0) & %(mask)s, %(now)s, %(now)s FROM replayed
ON CONFLICT (report_id) DO UPDATE SET dead = false, solo = false, attempts = 0, error = NULL,
    received_at = excluded.received_at, next_attempt_at = excluded.next_attempt_at
"""


def get(app: str, external_id: str) -> dict[str, Any]:
    """One report as JSON.

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
    """A page of the app's reports as JSON, newest first, and the cursor of the next page (None on the last).

    Raises:
        Invalid: the cursor is not one of this list.
    """
    select = f"SELECT {COLUMNS} FROM usage_report r LEFT JOIN usage_queue q ON q.report_id = r.id"
    filters = {"r.app = %s": app, "r.customer = %s": customer, "r.state = %s": state}
    return pagination.by_id("usage reports", select, "r.id", filters, limit, cursor, _to_json)


def replay(app: str, external_id: str, *, now: datetime) -> None:
    """Queue a dead or refused report again, as if it were received now.

    Raises:
        NotFound: the app has no such report.
        Conflict: the report is pending or settled.
    """
    if database.write(REPLAY, {"app": app, "id": external_id, "now": now, "mask": LANES - 1}).rowcount == 0:
        report = get(app, external_id)
        raise Conflict(f"usage report {external_id!r} is {report['state']}; only dead or refused ones can be replayed")


SHOWN = (
    "id",
    "customer",
    "rate",
    "quantity",
    "lines",
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


def dead_ids(app: str) -> list[str]:
    """The client's ids of all dead reports of the app."""
    sql = "SELECT external_id FROM usage_report WHERE app = %s AND state = 'dead'"
    return [id_ for (id_,) in database.read(sql, [app])]
