"""Liability: the units that customers can still spend, and what they paid for them.

Outstanding units are those that remain in lots that have not expired, plus all held units. Units of a disputed payment
count until they are clawed back. Debt does not reduce the liability.
"""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from typing import Any

from models import database, money
from models.catalog.apps import App

# One statement for a consistent snapshot; the row of the empty grouping set is the total. The rest is grouped by price
# and size of the lots, which gives few rows, so that Python can divide exactly.
OUTSTANDING = """
SELECT grouping(l.currency) = 1, l.currency, l.price_minor, l.granted, coalesce(sum(l.units), 0)::bigint,
       count(DISTINCT l.account_id)
FROM (
    SELECT l.account_id, CASE WHEN l.price_minor > 0 THEN lower(l.currency) END AS currency,
           CASE WHEN l.price_minor > 0 THEN l.price_minor END AS price_minor,
           CASE WHEN l.price_minor > 0 THEN l.granted END AS granted,
           l.held + CASE WHEN l.expires_at <= %(now)s THEN 0 ELSE l.remaining END AS units
    FROM lot l JOIN account a ON a.id = l.account_id WHERE l.open AND a.app = %(app)s
) AS l WHERE l.units > 0 GROUP BY GROUPING SETS ((l.currency, l.price_minor, l.granted), ())
"""


def outstanding(app: App, *, now: datetime) -> dict[str, Any]:
    """`{"units", "cost_basis": [money], "customers"}` at `now`. `cost_basis`: the unspent share of the lots' prices."""
    units = customers = 0
    basis: dict[str, Fraction] = {}
    for is_total, currency, price_minor, granted, part, owners in database.read(
        OUTSTANDING, {"app": app.slug, "now": now}
    ):
        if is_total:
            units, customers = part, owners
        elif currency is not None:
            basis[currency] = basis.get(currency, Fraction(0)) + Fraction(price_minor * part, granted)
    paid = [money.as_json(round(minor), currency) for currency, minor in sorted(basis.items())]
    return {"units": units, "cost_basis": paid, "customers": customers}
