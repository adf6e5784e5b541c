"""The catalog: what an app sells and charges for."""

from __future__ import annotations

from typing import Any

from models.access.tokens import ABILITIES
from web.http.call import Call
from web.http.fields import Shape
from web.http.routes import Answer, Routes

routes = Routes("Catalog")


class Catalog(Shape):
    app: str
    name: str
    unit: str
    packs: dict[str, dict[str, Any]]
    rates: dict[str, dict[str, Any]]
    plans: dict[str, dict[str, Any]]
    example = {
        "app": "ai-services",
        "name": "AI Services",
        "unit": "credit",
        "packs": {
            "starter": {
                "units": 100,
                "price": {"amount": "10.00", "currency": "usd"},
                "price_per_unit": {"amount": "0.10", "currency": "usd"},
                "expires_after": None,
                "requires_tier": None,
                "refundable": True,
                "limit_per_customer": 0,
            }
        },
        "rates": {"voice_call": {"units": 1, "per": 60, "measure": "second", "minimum": 0, "rounding": "each"}},
        "plans": {},
    }


@routes.get("/v1/catalog", scope="read", customer_token=True, can=ABILITIES, answer=Catalog)
def catalog(call: Call) -> Answer:
    """Retrieve the catalog.

    Returns the packs, rates and plans of the app. Any customer token may read them.
    """
    call.owner_checked = True  # the same for all customers
    return call.app.public()
