"""A customer's figures: what came, what was spent, on what, and this month."""

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
# A refund counts where its deduction counts: by that one's rate and in that one's month.
SUMS = """
SELECT e.type, CASE WHEN e.type = 'refund' THEN d.meta ELSE e.meta END ->> 'rate' AS rate,
       coalesce(d.created_at, e.created_at) >= %(month)s AS this_month,
       sum(e.amount)::bigint, coalesce(sum(e.amount) FILTER (WHERE e.amount > 0), 0)::bigint
FROM entry e LEFT JOIN entry d ON e.type = 'refund' AND d.app = e.app AND d.id = e.reverses_id
WHERE e.account_id = %(account)s GROUP BY 1, 2, 3
"""


def for_customer(app: App, customer: str, *, now: datetime) -> dict[str, Any]:
    """The figures of a customer; zeros for one that Scrip does not know.

    `total_granted` is all that came other than by purchase; what a refund gives back or a won dispute
    reinstates had come before. `total_spent` is deductions less what was refunded of them.
    """
    rows = database.read(ACCOUNT, [app.slug, customer])
    sums = database.read(SUMS, {"account": rows[0][0], "month": _month_start(now)}) if rows else []
    spent = [(rate, this_month, -amount) for type_, rate, this_month, amount, _ in sums if type_ in SPENT]
    return {
        "balance": balances.current(app, customer, now=now)["balance"],
        "total_purchased": sum(came for type_, _, _, _, came in sums if type_ == "purchase"),
        "total_granted": sum(came for type_, _, _, _, came in sums if type_ in GRANTED),
        "total_spent": sum(units for _, _, units in spent),
        "monthly_usage": sum(units for _, this_month, units in spent if this_month),
        "by_rate": _by_rate(spent),
        "last_entry": entries.newest(app.slug, customer),
    }


def _by_rate(spent: Sequence[tuple[str | None, bool, int]]) -> dict[str, int]:
    """Units by the rate they were priced at, in the order of the rates' keys."""
    totals: dict[str, int] = {}
    for rate, _, units in spent:
        if rate is not None:
            totals[rate] = totals.get(rate, 0) + units
    return dict(sorted(totals.items()))


def _month_start(now: datetime) -> datetime:
    return now.astimezone(timezone.utc).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
