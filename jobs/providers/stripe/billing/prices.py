"""Prices at Stripe."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.providers.stripe import client
from jobs.providers.stripe.objects import Object
from models.catalog.apps import App


@dataclass(frozen=True, slots=True)
class Price:
    """A price of one seat or pack. `amount_minor` None: it has tiers. `interval`: such as ("month", 1), None: once."""

    id: str
    amount_minor: int | None
    currency: str
    interval: tuple[str, int] | None


def price(app: App, price_id: str) -> Price:
    """The price.

    Raises:
        ProviderAway.
        ProviderRefused: among others, Stripe does not know it.
    """
    return read(client.call(app, lambda v1: v1.prices.retrieve(price_id)))


def read(found: Object) -> Price:
    """The price of its object."""
    recurring = found.get("recurring")
    every = (str(recurring["interval"]), int(recurring.get("interval_count") or 1)) if recurring else None
    amount = found.get("unit_amount")
    return Price(str(found["id"]), amount if isinstance(amount, int) else None, str(found["currency"]).lower(), every)
