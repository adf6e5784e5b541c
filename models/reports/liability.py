"""Liability: units that customers may still spend, and what was paid for them.

Outstanding is what remains in lots that are not past their expiry, and all that is held. Units of a disputed payment
count until they are taken back. Debt is what customers owe, and lowers nothing.
"""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from typing import Any

from models import database, money
from models.catalog.apps import App

# One statement, one moment: the row without a price class is the whole. Price and size of the lots make few classes,
# so that the division can be left to exact fractions.
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
    """`{"units", "cost_basis": [money], "customers"}`, as of `now`; `cost_basis` is the unspent share of the prices."""
    units = customers = 0
    basis: dict[str, Fraction] = {}
    for is_whole, currency, price_minor, granted, part, owners in database.read(
        OUTSTANDING, {"app": app.slug, "now": now}
    ):
        if is_whole:
            units, customers = part, owners
        elif currency is not None:
            basis[currency] = basis.get(currency, Fraction(0)) + Fraction(price_minor * part, granted)
    paid = [money.as_json(round(minor), currency) for currency, minor in sorted(basis.items())]
    return {"units": units, "cost_basis": paid, "customers": customers}
