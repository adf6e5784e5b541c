"""A customer's totals: units purchased, granted and spent, in all, this month and by rate."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from models import database
from models.catalog.apps import App
from models.ledger import balances, entries

GRANTED = ("subscription_grant", "bonus", "admin_adjustment")
SPENT = ("deduction", "refund")

ACCOUNT = "SELECT id FROM account WHERE app = %s AND customer = %s"
# A refund counts by the rate and in the month of its deduction.
SUMS = """
SELECT e.type, CASE WHEN e.type = 'refund' THEN d.meta ELSE e.meta END ->> 'rate' AS rate,
       coalesce(d.created_at, e.created_at) >= %(month)s AS this_month,
       sum(e.amount)::bigint, coalesce(sum(e.amount) FILTER (WHERE e.amount > 0), 0)::bigint,
       bool_or(e.meta ->> 'rate' IS NULL AND e.meta ? 'lines')
FROM entry e LEFT JOIN entry d ON e.type = 'refund' AND d.app = e.app AND d.id = e.reverses_id
WHERE e.account_id = %(account)s GROUP BY 1, 2, 3
"""
LINES = f"""
SELECT rate, sum(units)::bigint FROM ({entries.LINES.format(where="e.account_id = %(account)s")}) AS l GROUP BY rate
"""


def for_customer(app: App, customer: str, *, now: datetime) -> dict[str, Any]:
    """The totals of a customer as JSON; zeros for an unknown customer. Months are UTC.

    `total_granted`: units added other than by purchase; refunds and reinstatements do not count, because their units
    were counted when they were first added. `total_spent`: deductions minus their refunds.
    """
    rows = database.read(ACCOUNT, [app.slug, customer])
    sums = database.read(SUMS, {"account": rows[0][0], "month": _month_start(now)}) if rows else []
    lines = database.read(LINES, {"account": rows[0][0]}) if any(has_lines for *_, has_lines in sums) else []
    spent = [(rate, this_month, -amount) for type_, rate, this_month, amount, *_ in sums if type_ in SPENT]
    return {
        "balance": balances.current(app, customer, now=now)["balance"],
        "total_purchased": sum(added for type_, _, _, _, added, _ in sums if type_ == "purchase"),
        "total_granted": sum(added for type_, _, _, _, added, _ in sums if type_ in GRANTED),
        "total_spent": sum(units for _, _, units in spent),
        "monthly_usage": sum(units for _, this_month, units in spent if this_month),
        "by_rate": _by_rate([*((rate, units) for rate, _, units in spent), *lines]),
        "last_entry": entries.newest(app.slug, customer),
    }


def _by_rate(spent: Sequence[tuple[str | None, int]]) -> dict[str, int]:
    """Units spent by rate, sorted by the rate's key."""
    totals: dict[str, int] = {}
    for rate, units in spent:
        if rate is not None:
            totals[rate] = totals.get(rate, 0) + units
    return dict(sorted(totals.items()))


def _month_start(now: datetime) -> datetime:
    return now.astimezone(timezone.utc).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
