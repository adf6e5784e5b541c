"""Whether what somebody offered or paid is the price: an order made in a browser says what its maker wrote there."""

from __future__ import annotations

from models import money
from models.catalog.apps import Pack


def fault(pack: Pack, quantity: int, amount_minor: int, currency: str) -> str | None:
    """What the pack costs, in words, where the amount is less than that or of another currency; None where it is not.

    Amounts of two currencies are never compared: nobody said what one is worth in the other.
    """
    cost_minor = pack.price_minor * quantity
    if currency == pack.currency and amount_minor >= cost_minor:
        return None
    return f"{quantity} × {pack.key}, which cost {money.to_amount(cost_minor, pack.currency)} {pack.currency}"
