"""Compares amounts with the price of a pack. A browser may create an order of any amount.

Amounts in two currencies are never compared: the catalog has no exchange rates.
"""

from __future__ import annotations

from models import money
from models.catalog.apps import Pack


def fault(pack: Pack, quantity: int, amount_minor: int, currency: str) -> str | None:
    """A description of the price if the amount is lower or in another currency, else None."""
    cost_minor = pack.price_minor * quantity
    if currency == pack.currency and amount_minor >= cost_minor:
        return None
    return f"{quantity} × {pack.key}, which cost {money.to_amount(cost_minor, pack.currency)} {pack.currency}"


def quantity(pack: Pack, amount_minor: int, currency: str) -> int | None:
    """How many packs an amount buys if it is a whole multiple of the price, at least one; else None."""
    if currency != pack.currency:
        return None
    if pack.price_minor == 0:
        return 1 if amount_minor == 0 else None
    packs, rest = divmod(amount_minor, pack.price_minor)
    return packs if packs >= 1 and rest == 0 else None


def least_fault(pack: Pack, amount_minor: int, currency: str) -> str | None:
    """A description of the price if the amount is less than the least for one pack, or in another currency."""
    if currency == pack.currency and amount_minor >= pack.least_price_minor:
        return None
    described = fault(pack, 1, -1, pack.currency)
    if pack.least_price_minor < pack.price_minor:
        return f"{described} (at least {money.to_amount(pack.least_price_minor, pack.currency)})"
    return described
