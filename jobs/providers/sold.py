"""Parts of the facts about payments: the lines that were sold, and what an amount consists of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of an amount that the provider reports, in minor units of the payment's currency."""

    tax_minor: int | None = None
    discount_minor: int | None = None
    fee_minor: int | None = None


NO_PARTS = Parts()


@dataclass(frozen=True, slots=True, kw_only=True)
class PackLine:
    """A line of a session or an invoice that sold a pack of the catalog. `reference`: the provider's id of the line.

    `amount_minor`: what was paid for it, if that is known.
    """

    reference: str
    price_id: str
    quantity: int
    amount_minor: int | None = None
