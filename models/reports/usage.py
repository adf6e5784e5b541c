"""Usage: units spent, by rate, customer or day. By rate, each line of a deduction with several counts under its own.

`units` are deductions minus their refunds; a refund counts where its deduction counts. `reports` is the number of
deductions: usage reports, charges, captured holds and sessions that took units. A refunded deduction stays counted.
"""

from __future__ import annotations

from typing import Any, Literal

from models import database
from models.ledger.entries import LINES
from models.reports.periods import NO_RATE, Span, day

Group = Literal["rate", "customer", "day"]

KEYS = {
    "rate": f"coalesce(d.meta ->> 'rate', '{NO_RATE}')",
    "customer": "d.account_id",
    "day": day("d.created_at"),
}
# Most entries are deductions, so they are scanned once; the few refunds are joined to their deductions.
SPENT = """
SELECT {key} AS key, sum(d.units)::bigint AS units, sum(d.reports)::bigint AS reports FROM (
    SELECT e.account_id, e.meta, e.created_at, -e.amount AS units, 1 AS reports FROM entry e
    WHERE e.app = %(app)s AND e.type = 'deduction' {within_entry}
    UNION ALL
    SELECT e.account_id, e.meta, e.created_at, -r.amount, 0 FROM entry r
    JOIN entry e ON e.app = r.app AND e.id = r.reverses_id AND e.type = 'deduction'
    WHERE r.app = %(app)s AND r.type = 'refund' {within_entry}
) AS d GROUP BY 1
"""
# A deduction with lines has no rate of its own.
ONE_RATE = "AND (e.meta ->> 'rate' IS NOT NULL OR NOT coalesce(e.meta ? 'lines', false))"
BY_LINE = f"SELECT rate, sum(units)::bigint, count(*) FROM ({LINES}) AS l GROUP BY rate"
GROUPED = {
    "rate": """
        SELECT key, sum(units)::bigint AS units, sum(reports)::bigint FROM ({spent} UNION ALL {by_line}) AS s
        GROUP BY key ORDER BY units DESC, key LIMIT %(limit)s""",
    "day": "SELECT key, units, reports FROM ({spent}) AS s ORDER BY key LIMIT %(limit)s",
    "customer": """
        SELECT a.customer, s.units, s.reports FROM ({spent}) AS s JOIN account a ON a.id = s.key
        ORDER BY s.units DESC, a.customer LIMIT %(limit)s""",
}


def groups(span: Span, group: Group, *, limit: int | None = None) -> list[dict[str, Any]]:
    """`{"key", "units", "reports"}` for each group: days in order, other groups with the most units first.

    Deductions without a rate are listed under `other`.

    Raises:
        Invalid: the span is invalid.
    """
    span.check()
    within = span.within("e.created_at")
    spent = SPENT.format(key=KEYS[group], within_entry=f"{within} {ONE_RATE}" if group == "rate" else within)
    by_line = BY_LINE.format(where=f"e.app = %(app)s {within}")
    rows = database.read(GROUPED[group].format(spent=spent, by_line=by_line), {**span.values(), "limit": limit})
    return [{"key": key, "units": units, "reports": reports} for key, units, reports in rows]
