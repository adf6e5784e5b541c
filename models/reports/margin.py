"""Margin: what the units that were spent had been bought for, and what it cost the app to serve them, by rate.

Revenue is the cost basis of the lots that paid: the price of a lot × the units it paid ÷ the units it was granted.
Units that nobody paid for (gifts, debt) bring 0. Cost is the rate's `cost` for each `per` of the quantity that is
noted on the entry, at the catalog's present cost. Of a deduction that was refunded in part, the part that was kept
counts. Sums are exact; revenue and cost are rounded once each, and the margin is the difference of the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from models import database, money
from models.catalog.apps import App, Rate
from models.reports.periods import NO_RATE, Span, amount

# Grouped by price and size of the lots, so that the division can be left to exact fractions: few rows come of many.
# A held unit count that was captured in part served a part of its quantity; use that found too little served it all.
PAID = """
SELECT part.rate, lower(l.currency), l.price_minor, CASE WHEN l.price_minor > 0 THEN l.granted END,
       sum(part.units)::bigint, sum(part.units * part.quantity / part.taken)
FROM (
    SELECT d.rate, d.quantity, d.taken, x.lot_id, -x.amount AS units
    FROM ({deductions}) AS d JOIN allocation x ON x.entry_id = d.id
    UNION ALL
    SELECT d.rate, d.quantity, d.taken, x.lot_id, -x.amount
    FROM entry r JOIN ({deductions}) AS d ON d.id = r.reverses_id JOIN allocation x ON x.entry_id = r.id
    WHERE r.app = %(app)s AND r.type = 'refund'
) AS part LEFT JOIN lot l ON l.id = part.lot_id AND l.price_minor IS NOT NULL
GROUP BY 1, 2, 3, 4
"""
DEDUCTIONS = """
SELECT e.id, e.meta ->> 'rate' AS rate, -e.amount AS taken,
       (e.meta ->> 'quantity')::numeric * CASE WHEN e.actor = 'hold' THEN {share} ELSE 1 END AS quantity
FROM entry e WHERE e.app = %(app)s AND e.type = 'deduction' {within}
"""
# What was taken of what the quantity was priced at: price is [units, per, minimum].
SHARE_CAPTURED = """-e.amount / nullif(greatest(
    (e.meta -> 'price' ->> 2)::numeric,
    ceil((e.meta ->> 'quantity')::numeric * (e.meta -> 'price' ->> 0)::numeric / (e.meta -> 'price' ->> 1)::numeric)
), 0)"""


@dataclass(slots=True)
class Line:
    """One rate in one currency: units, what they were bought for in minor units, the quantity that they served."""

    units: int = 0
    revenue: Fraction = Fraction(0)
    quantity: Fraction | None = None


def rates(app: App, span: Span) -> list[dict[str, Any]]:
    """`{"rate", "currency", "units", "revenue", "cost", "cost_currency", "margin"}` of each rate and currency.

    The most units first. `cost` is None where the catalog gives none, `margin` also where revenue and cost are of two
    currencies; `currency` and `revenue` are None for units that nobody paid for, if no currency is the app's own.

    Raises:
        Invalid: a bad span.
    """
    span.check()
    deductions = DEDUCTIONS.format(share=SHARE_CAPTURED, within=span.within("e.created_at"))
    lines = _lines(app, database.read(PAID.format(deductions=deductions), span.values()))
    ordered = sorted(lines.items(), key=lambda item: (-item[1].units, item[0][0], item[0][1] or ""))
    return [_to_json(app, rate, currency, line) for (rate, currency), line in ordered]


def _lines(app: App, rows: Iterable[tuple[Any, ...]]) -> dict[tuple[str, str | None], Line]:
    lines: dict[tuple[str, str | None], Line] = {}
    for rate, currency, price_minor, granted, units, quantity in rows:
        line = lines.setdefault((rate or NO_RATE, currency or _own_currency(app, rate)), Line())
        line.units += units
        line.revenue += Fraction(price_minor * units, granted) if granted else 0
        if quantity is not None:
            line.quantity = (line.quantity or Fraction(0)) + Fraction(quantity)
    return lines


def _own_currency(app: App, rate: str | None) -> str | None:
    """Where units that nobody paid for are shown: by the currency of the rate's cost, else the only one of the app."""
    known = app.rates.get(rate or "")
    if known is not None and known.cost_currency:
        return known.cost_currency.lower()
    currencies = {pack.currency.lower() for pack in app.packs.values()}
    currencies |= {plan.currency.lower() for plan in app.plans.values()}
    return currencies.pop() if len(currencies) == 1 else None


def _to_json(app: App, key: str, currency: str | None, line: Line) -> dict[str, Any]:
    rate = app.rates.get(key)
    revenue = amount(line.revenue, currency) if currency else None
    cost = _cost(rate, line.quantity)
    cost_currency = rate.cost_currency.lower() if rate and rate.cost_currency else None
    comparable = revenue is not None and cost is not None and currency == cost_currency
    return {
        "rate": key,
        "currency": currency,
        "units": line.units,
        "revenue": revenue,
        "cost": cost,
        "cost_currency": cost_currency,
        "margin": revenue - cost if comparable and revenue is not None and cost is not None else None,
    }


def _cost(rate: Rate | None, quantity: Fraction | None) -> Decimal | None:
    if rate is None or rate.cost is None or rate.cost_currency is None or quantity is None:
        return None
    major = Fraction(rate.cost) * quantity / rate.per
    return amount(major * 10 ** money.exponent(rate.cost_currency), rate.cost_currency)
