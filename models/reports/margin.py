"""Margin by rate: what customers paid for the units that were spent, and what serving them cost the app.

Revenue is the cost basis of the lots that paid: price of the lot × units it paid ÷ units granted. Units without a price
(gifts, debt) earn 0. Cost is the rate's current `cost` in the catalog for each `per` of the quantity that the entry
records. Of a partly refunded deduction, the part that was not refunded counts. Sums are exact; revenue and cost are
rounded once each, and the margin is the difference of the rounded figures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from models import database, money
from models.catalog.apps import App, Rate
from models.ledger.entries import LINES
from models.reports.periods import NO_RATE, Span, amount

# Stands for the rates of a deduction with lines. No rate has an empty key.
SEVERAL = ""
# Grouped by price and size of the lots, which gives few rows, so that Python can divide exactly.
# A hold that was captured in part served that part of its quantity; usage with a shortfall served all of its quantity.
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
# What a lot paid of a deduction with lines is divided among them in proportion to their units.
PAID_LINES = """
SELECT line.rate, lower(l.currency), l.price_minor, CASE WHEN l.price_minor > 0 THEN l.granted END,
       line.units::bigint, line.net::bigint, sum(part.units)::bigint, sum(part.units * line.quantity / line.net)
FROM (
    SELECT id, rate, units, net,
           {quantity} * net / CASE WHEN actor = 'hold' THEN nullif(priced, 0) ELSE taken END AS quantity
    FROM ({lines}) AS l WHERE net > 0
) AS line JOIN (
    SELECT e.id, x.lot_id, -x.amount AS units FROM entry e JOIN allocation x ON x.entry_id = e.id
    WHERE {where} AND e.meta ? 'lines'
    UNION ALL
    SELECT e.id, x.lot_id, -x.amount FROM entry e JOIN entry r ON r.app = e.app AND r.reverses_id = e.id
    JOIN allocation x ON x.entry_id = r.id WHERE {where} AND e.meta ? 'lines' AND r.type = 'refund'
) AS part ON part.id = line.id
LEFT JOIN lot l ON l.id = part.lot_id AND l.price_minor IS NOT NULL
GROUP BY 1, 2, 3, 4, 5, 6
"""
DEDUCTIONS = """
SELECT e.id, coalesce(e.meta ->> 'rate', CASE WHEN e.meta ? 'lines' THEN '{several}' END) AS rate, -e.amount AS taken,
       CASE WHEN e.meta ->> 'rounding' = 'carry' THEN {carried} ELSE (e.meta ->> 'quantity')::numeric END
         * CASE WHEN e.actor = 'hold' THEN {share} ELSE 1 END AS quantity
FROM entry e WHERE e.app = %(app)s AND e.type = 'deduction' {within}
"""
# At a carried rate most small usage has no entry: an entry stands for the quantity that its units pay for.
CARRIED = """(e.meta -> 'carried' -> (e.meta ->> 'rate') ->> 'units')::numeric
    * (e.meta -> 'price' ->> 1)::numeric / (e.meta -> 'price' ->> 0)::numeric"""
QUANTITY_OF_LINE = """CASE WHEN line ->> 'rounding' = 'carry'
    THEN (line ->> 'units')::numeric * (line -> 'price' ->> 1)::numeric / (line -> 'price' ->> 0)::numeric
    ELSE (line ->> 'quantity')::numeric END"""
# The captured part of the quantity's price. `price` is [units, per, minimum].
SHARE_CAPTURED = """-e.amount / nullif(greatest(
    (e.meta -> 'price' ->> 2)::numeric,
    ceil((e.meta ->> 'quantity')::numeric * (e.meta -> 'price' ->> 0)::numeric / (e.meta -> 'price' ->> 1)::numeric)
), 0)"""


@dataclass(slots=True)
class Line:
    """One rate in one currency: units, their revenue in minor units, and the quantity that they served."""

    units: Fraction = Fraction(0)
    revenue: Fraction = Fraction(0)
    quantity: Fraction | None = None


def rates(app: App, span: Span) -> list[dict[str, Any]]:
    """`{"rate", "currency", "units", "revenue", "cost", "cost_currency", "margin"}` for each rate and currency.

    Most units first. `cost` is None if the catalog gives none; `margin` also if revenue and cost differ in currency.
    `currency` and `revenue` are None for units without a price, if neither rate nor app determines a currency.

    Raises:
        Invalid: the span is invalid.
    """
    span.check()
    within = span.within("e.created_at")
    deductions = DEDUCTIONS.format(share=SHARE_CAPTURED, carried=CARRIED, several=SEVERAL, within=within)
    rows = database.read(PAID.format(deductions=deductions), span.values())
    paid = [(*row[:4], 1, 1, *row[4:]) for row in rows if row[0] != SEVERAL]
    if len(paid) < len(rows):
        where = f"e.app = %(app)s AND e.type = 'deduction' {within}"
        of_lines = PAID_LINES.format(lines=LINES.format(where=where), quantity=QUANTITY_OF_LINE, where=where)
        paid += database.read(of_lines, span.values())
    lines = _lines(app, paid)
    ordered = sorted(lines.items(), key=lambda item: (-item[1].units, item[0][0], item[0][1] or ""))
    return [_to_json(app, rate, currency, line) for (rate, currency), line in ordered]


def _lines(app: App, rows: Iterable[tuple[Any, ...]]) -> dict[tuple[str, str | None], Line]:
    """The rows by rate and currency. Of the units that a row's lots paid, `part` ÷ `whole` are of its rate."""
    lines: dict[tuple[str, str | None], Line] = {}
    for rate, currency, price_minor, granted, part, whole, paid, quantity in rows:
        line = lines.setdefault((rate or NO_RATE, currency or _own_currency(app, rate)), Line())
        units = Fraction(paid * part, whole)
        line.units += units
        line.revenue += units * price_minor / granted if granted else 0
        if quantity is not None:
            line.quantity = (line.quantity or Fraction(0)) + Fraction(quantity)
    return lines


def _own_currency(app: App, rate: str | None) -> str | None:
    """The currency in which units without a price are listed: that of the rate's cost, else the app's only one."""
    cataloged = app.rates.get(rate or "")
    if cataloged is not None and cataloged.cost_currency:
        return cataloged.cost_currency.lower()
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
        "units": round(line.units),
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
