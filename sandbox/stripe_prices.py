"""Stripe's prices: made by the API, with a checkout, or known from the app's catalog by their id."""

from __future__ import annotations

from models import catalog
from sandbox import wording
from sandbox.account import Account, Refused, new_id
from sandbox.forms import whole
from sandbox.store import Thing

INTERVALS = ("day", "week", "month", "year")


def chosen(account: Account, given: Thing, param: str) -> Thing:
    """The price of a line: made from `price_data`, or the one with the id `price`. Raises Refused."""
    data = given.get("price_data")
    if isinstance(data, dict):
        return create(account, data, f"{param}[price_data]")
    id_ = str(given.get("price", ""))
    return account.get("price", id_) or _of_catalog(account, id_) or account.need("price", id_, f"{param}[price]")


def create(account: Account, data: Thing, param: str = "price_data") -> Thing:
    """A price from parameters. Raises Refused."""
    product = data.get("product_data")
    name = product.get("name") if isinstance(product, dict) else None
    if not (name or data.get("product")):
        raise Refused("You must pass product or product_data[name].", param=f"{param}[product_data]")
    currency = str(data.get("currency", ""))
    if len(currency) != 3 or not currency.isalpha():
        raise Refused(f"Invalid currency: {currency}.", param=f"{param}[currency]")
    recurring = data.get("recurring")
    if recurring and recurring.get("interval") not in INTERVALS:
        raise Refused(f"Invalid interval: must be one of {', '.join(INTERVALS)}", param=f"{param}[recurring]")
    each = whole(data, "unit_amount")
    return account.save(_made(account, new_id("price"), name or data["product"], each, currency, recurring))


def _made(account: Account, id_: str, name: str, each: int, currency: str, recurring: Thing | None) -> Thing:
    count = int((recurring or {}).get("interval_count", 1))
    return {
        "id": id_,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": account.now,
        "currency": currency.lower(),
        "livemode": False,
        "metadata": {},
        "nickname": None,
        "product": new_id("prod"),
        "recurring": recurring
        and {"interval": recurring["interval"], "interval_count": count, "usage_type": "licensed"},
        "tax_behavior": "unspecified",
        "type": "recurring" if recurring else "one_time",
        "unit_amount": each,
        "unit_amount_decimal": str(each),
        "_name": name,
    }


def _of_catalog(account: Account, id_: str) -> Thing | None:
    """The price that the app's catalog knows by this id, as if it had been made at Stripe."""
    app = next((app for app in catalog.current() if app.slug == account.name), None)
    if app is None or not id_:
        return None
    pack, plan = app.pack_by_stripe_price(id_), app.plan_by_stripe_price(id_)
    if pack:
        name = f"{app.name}: {wording.count(pack.units, app.unit)}"
        return account.save(_made(account, id_, name, pack.price_minor, pack.currency, None))
    if plan:
        name, monthly = f"{app.name}: {wording.count(plan.units, app.unit)} a month", {"interval": "month"}
        return account.save(_made(account, id_, name, plan.price_minor, plan.currency, monthly))
    return None
