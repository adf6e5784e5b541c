"""Stripe's products: each price that is created without one has its own."""

from __future__ import annotations

from sandbox.store.account import Account, Refused
from sandbox.store.store import Thing
from sandbox.stripe import prices


def of_account(account: Account) -> list[Thing]:
    """The products of the account's prices, the newest first."""
    prices.add_catalog_prices(account)
    found = {price["product"]: price for price in account.each("price")}
    return [_product(price) for price in found.values()]


def need(account: Account, id_: str) -> Thing:
    """A product by id. Raises Refused with 404."""
    price = next(iter(account.each("price", product=id_)), None)
    if price is None:
        raise Refused(f"No such product: '{id_}'", status=404, code="resource_missing", param="id")
    return _product(price)


def _product(price: Thing) -> Thing:
    return {
        "id": price["product"],
        "object": "product",
        "active": True,
        "created": price["created"],
        "default_price": price["id"],
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": {},
        "name": price["_name"],
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": "service",
        "unit_label": None,
        "updated": price["created"],
        "url": None,
    }
