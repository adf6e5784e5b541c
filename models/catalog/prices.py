"""Checks an amount against the price of a pack. An order that was created in a browser may name any amount."""

from __future__ import annotations

from models import money
from models.catalog.apps import Pack


def fault(pack: Pack, quantity: int, amount_minor: int, currency: str) -> str | None:
    """A description of the price if the amount is lower or in another currency, else None.

    Amounts in two currencies are never compared: the catalog has no exchange rates.
    """
    cost_minor = pack.price_minor * quantity
    if currency == pack.currency and amount_minor >= cost_minor:
        return None
    return f"{quantity} × {pack.key}, which cost {money.to_amount(cost_minor, pack.currency)} {pack.currency}"
