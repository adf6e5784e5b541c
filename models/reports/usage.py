"""Usage: units spent, by rate, customer or day. By rate, each line of a deduction with several counts under its own.

`units` are deductions minus their refunds; a refund counts where its deduction counts. `reports` is the number of
deductions: usage reports, charges, captured holds and sessions that took units. A refunded deduction stays counted.
"""

from __future__ import annotations

from typing import Any, Literal

from models import database
from models.ledger.entries import LINES
from models.reports.periods import NO_RATE, Span, day

Row = tuple[Any, ...]
Group = Literal["rate", "customer", "day"]

# The key of deductions with lines is null: they have several.
KEYS = {
    "rate": f"coalesce(d.meta ->> 'rate', CASE WHEN d.meta ? 'lines' THEN NULL ELSE '{NO_RATE}' END)",
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
BY_LINE = f"SELECT rate, sum(units)::bigint, count(*) FROM ({LINES}) AS l GROUP BY rate"
GROUPED = {
    "rate": "{spent}",
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
    spent = SPENT.format(key=KEYS[group], within_entry=span.within("e.created_at"))
    rows = database.read(GROUPED[group].format(spent=spent), {**span.values(), "limit": limit})
    if group == "rate":
        rows = _by_rate(span, rows)[:limit]
    return [{"key": key, "units": units, "reports": reports} for key, units, reports in rows]


def _by_rate(span: Span, rows: list[Row]) -> list[Row]:
    """The groups with those of the lines, if there are any: the most units first."""
    if any(key is None for key, _, _ in rows):
        where = f"e.app = %(app)s {span.within('e.created_at')}"
        rows = [row for row in rows if row[0] is not None]
        rows += database.read(BY_LINE.format(where=where), span.values())
    sums: dict[str, tuple[int, int]] = {}
    for key, units, reports in rows:
        before = sums.get(key, (0, 0))
        sums[key] = (before[0] + units, before[1] + reports)
    return sorted(((key, *each) for key, each in sums.items()), key=lambda row: (-row[1], row[0]))
