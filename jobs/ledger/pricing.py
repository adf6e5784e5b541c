"""The price of a request: its units, or a quantity at a rate of the catalog."""

from __future__ import annotations

from typing import Any

from models.catalog.apps import App, Rate
from models.errors import Invalid

MOST_UNITS = 10**15


def price(app: App, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The price of a body with `units`, or with `rate` and `quantity`. Returns (units, metadata of the entry).

    Raises:
        Invalid: the rate is unknown, or the price is more than `MOST_UNITS`.
    """
    metadata = {"metadata": body["metadata"]} if body.get("metadata") else {}
    if body.get("rate") is None:
        return body["units"], metadata
    rate = rate_of(app, body["rate"])
    if rate.price(body["quantity"]) > MOST_UNITS:
        raise Invalid([("quantity", f"costs more than {MOST_UNITS} units")])
    terms = {"rate": rate.key, "quantity": body["quantity"], "price": [rate.units, rate.per, rate.minimum]}
    return rate.price(body["quantity"]), {**terms, **metadata}


def rate_of(app: App, key: str) -> Rate:
    """The app's rate of this key.

    Raises:
        Invalid: the catalog has no such rate.
    """
    rate = app.rates.get(key)
    if rate is None:
        raise Invalid([("rate", f"unknown rate {key!r}; the app has {', '.join(app.rates) or 'none'}")])
    return rate
