"""The price of a request: its units, a quantity at a rate of the catalog, or several of those (`lines`).

A rate with rounding = "carry" has no price of its own: the ledger adds the usage to the customer's total and takes what
the rounded total grows by (models/planning/pricing.py). A usage report is priced when it is accepted. What is stored is
`[units, per, minimum, priced]`, or `[units, per, "carry"]`, or a list of those for `lines`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from models.catalog.apps import App, Rate
from models.errors import Invalid
from models.planning.movements import CarriedLine

MOST_UNITS = 10**15
CARRY = "carry"


@dataclass(slots=True)
class Price:
    """`units` to take, beside those of the `carried` lines. `meta`: what the entry records. `reason`: its rates."""

    units: int
    carried: Sequence[CarriedLine]
    meta: dict[str, Any]
    reason: str | None


def price(app: App, body: dict[str, Any]) -> Price:
    """The price of a body with `units`, with `rate` and `quantity`, or with `lines`.

    Raises:
        Invalid: a rate is unknown, or the price is more than `MOST_UNITS`.
    """
    return _with_metadata(_price(app, body, carry=True), body)


def rounded_up(app: App, body: dict[str, Any]) -> Price:
    """The same price with every line rounded up, whatever the rounding of its rate: the most that it can cost.

    Raises:
        Invalid: a rate is unknown, or the price is more than `MOST_UNITS`.
    """
    return _with_metadata(_price(app, body, carry=False), body)


def stored(app: App, report: dict[str, Any]) -> tuple[str, int]:
    """What is stored of the price of an accepted report, as JSON, and the most that it can cost in units."""
    if "lines" not in report:
        return _stored_line(app.rates[report["rate"]], report["quantity"])
    lines = [_stored_line(app.rates[line["rate"]], line["quantity"]) for line in report["lines"]]
    return f"[{','.join(text for text, _ in lines)}]", sum(units for _, units in lines)


@lru_cache(4096)
def rounded_each(terms: str) -> tuple[int, list[int]] | None:
    """The units and the terms of a report with one rate, by what was stored; None if its fraction is carried.

    Cached, because many reports have the same. Do not change the list.
    """
    *price, last = orjson.loads(terms)
    return None if last == CARRY else (last, price)


def restored(terms: str, rate: str | None, quantity: int | None, lines: Sequence[dict[str, Any]] | None) -> Price:
    """The price of a report by what was stored when it was accepted."""
    prices = orjson.loads(terms)
    if lines is not None:
        return _of_lines([(line["rate"], line["quantity"]) for line in lines], prices)
    assert rate is not None
    assert quantity is not None
    return _of_one(rate, quantity, prices)


def rate_of(app: App, key: str, field: str = "rate") -> Rate:
    """The app's rate of this key. `field`: where the request names it.

    Raises:
        Invalid: the catalog has no such rate.
    """
    rate = app.rates.get(key)
    if rate is None:
        raise Invalid([(field, unknown(app, key))])
    return rate


def unknown(app: App, key: str) -> str:
    """The reason that a rate of this key is refused."""
    return f"unknown rate {key!r}; the app has {', '.join(app.rates) or 'none'}"


def current(rate: Rate, quantity: int, *, carry: bool = True) -> list[Any]:
    """The terms of the rate and, unless the fraction is carried, the units for the quantity."""
    if carry and rate.carries:
        return [rate.units, rate.per, CARRY]
    return [rate.units, rate.per, rate.minimum, rate.price(quantity)]


def _price(app: App, body: dict[str, Any], *, carry: bool) -> Price:
    if body.get("lines") is not None:
        return _price_lines(app, body["lines"], carry)
    if body.get("rate") is None:
        return Price(body["units"], (), {}, None)
    rate = rate_of(app, body["rate"])
    if rate.price(body["quantity"]) > MOST_UNITS:
        raise Invalid([("quantity", f"costs more than {MOST_UNITS} units")])
    return _of_one(rate.key, body["quantity"], current(rate, body["quantity"], carry=carry))


def _price_lines(app: App, lines: Sequence[dict[str, Any]], carry: bool) -> Price:
    unknown_rates = [
        (f"lines[{position}].rate", unknown(app, line["rate"]))
        for position, line in enumerate(lines)
        if line["rate"] not in app.rates
    ]
    if unknown_rates:
        raise Invalid(unknown_rates)
    given = [(line["rate"], line["quantity"]) for line in lines]
    if sum(app.rates[rate].price(quantity) for rate, quantity in given) > MOST_UNITS:
        raise Invalid([("lines", f"cost more than {MOST_UNITS} units")])
    return _of_lines(given, [current(app.rates[rate], quantity, carry=carry) for rate, quantity in given])


def _of_one(rate: str, quantity: int, terms: Sequence[Any]) -> Price:
    units, per, third = terms[:3]
    if third == CARRY:
        meta = {"rate": rate, "quantity": quantity, "price": [units, per, 0], "rounding": CARRY}
        return Price(0, (CarriedLine(rate, quantity * units, per),), meta, rate)
    return Price(terms[3], (), {"rate": rate, "quantity": quantity, "price": [units, per, third]}, rate)


def _of_lines(given: Sequence[tuple[str, int]], terms: Sequence[Sequence[Any]]) -> Price:
    units, carried, lines = 0, [], []
    for position, ((rate, quantity), of_line) in enumerate(zip(given, terms, strict=True)):
        price = _of_one(rate, quantity, of_line)
        units += price.units
        carried += [CarriedLine(line.rate, line.amount, line.per, position) for line in price.carried]
        lines.append({**price.meta, "units": price.units})
    return Price(units, carried, {"lines": lines}, ", ".join(dict.fromkeys(rate for rate, _ in given)))


def _with_metadata(price: Price, body: dict[str, Any]) -> Price:
    if body.get("metadata"):
        price.meta = {**price.meta, "metadata": body["metadata"]}
    return price


def _stored_line(rate: Rate, quantity: int) -> tuple[str, int]:
    units = rate.price(quantity)
    if rate.carries:
        return f'[{rate.units},{rate.per},"carry"]', units
    return f"[{rate.units},{rate.per},{rate.minimum},{units}]", units
