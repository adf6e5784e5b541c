"""Quotes: the price of planned usage, and whether the balance covers it. Read-only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobs.ledger import pricing
from models.catalog.apps import App
from models.ledger import balances, carries
from models.planning.carry import Carry


def quote(app: App, customer: str, usage: dict[str, Any], *, now: datetime) -> dict[str, Any]:
    """`{"units", "available", "enough"}` for a `rate` and `quantity`, or for `lines`.

    `units` is what a charge would take. At a rate whose fraction is carried there are also `rounded_up`, what a hold
    would reserve, and `carried`: by rate, the part of a unit that the customer has paid for and not used yet.

    Raises:
        Invalid: a rate is unknown, or the price exceeds the limit.
    """
    price = pricing.price(app, usage)
    stored = carries.of_customer(app.slug, customer) if price.carried else {}
    totals = {line.rate: stored.get(line.rate) or Carry(0, line.rate) for line in price.carried}
    carried = {rate: str(total.fraction) for rate, total in totals.items()}
    rounded_up = pricing.rounded_up(app, usage).units
    units = price.units + sum(totals[line.rate].add(line.amount, line.per) for line in price.carried)
    available = balances.available(app, customer, now=now)
    return {
        "units": units,
        "available": available,
        "enough": units <= available,
        **({"rounded_up": rounded_up, "carried": carried} if carried else {}),
    }
