"""Quotes: the price of planned usage, and whether the balance covers it. Read-only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobs.ledger import pricing
from models.catalog.apps import App
from models.ledger import balances


def quote(app: App, customer: str, rate: str, quantity: int, *, now: datetime) -> dict[str, Any]:
    """`{"units", "available", "enough"}` for `quantity` of the rate's measure.

    Raises:
        Invalid: the rate is unknown.
    """
    units = pricing.rate_of(app, rate).price(quantity)
    available = balances.available(app, customer, now=now)
    return {"units": units, "available": available, "enough": units <= available}
