"""What a request costs: units as they are given, or a quantity at a rate of the catalog."""

from __future__ import annotations

from typing import Any

from models.catalog.apps import App, Rate
from models.errors import Invalid

MOST_UNITS = 10**15


def price(app: App, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """(units, what the entry says of the price) of a body with `units`, or with `rate` and `quantity`.

    Raises:
        Invalid: an unknown rate, or an absurd price.
    """
    metadata = {"metadata": body["metadata"]} if body.get("metadata") else {}
    if body.get("rate") is None:
        return body["units"], metadata
    rate = rate_of(app, body["rate"])
    if rate.price(body["quantity"]) > MOST_UNITS:
        raise Invalid([("quantity", f"comes to more than {MOST_UNITS} units")])
    terms = {"rate": rate.key, "quantity": body["quantity"], "price": [rate.units, rate.per, rate.minimum]}
    return rate.price(body["quantity"]), {**terms, **metadata}


def rate_of(app: App, key: str) -> Rate:
    """The rate, by its key.

    Raises:
        Invalid: the catalog has none of this name.
    """
    rate = app.rates.get(key)
    if rate is None:
        raise Invalid([("rate", f"unknown rate {key!r}; the app has {', '.join(app.rates) or 'none'}")])
    return rate
