"""Stripe's prices and products: created by the API or with a checkout, or taken from the app's catalog."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal

from models.catalog import catalog
from models.catalog.apps import App, Plan
from sandbox import formatting
from sandbox.store.account import Account, Refused, new_id
from sandbox.store.store import Thing
from sandbox.stripe.forms import metadata, whole

INTERVALS = ("day", "week", "month", "year")
# Stripe's longest interval: three years.
LONGEST = {"day": 1095, "week": 156, "month": 36, "year": 3}
# The end of a catalog's price id, such as `_year` or `_2weeks`, names its interval.
INTERVAL_OF_ID = re.compile(r"_(\d{0,4})(day|week|month|year)s?$")


def chosen(account: Account, given: Thing, param: str) -> Thing:
    """The price of a line item: created from `price_data`, or the one with the id `price`. Raises Refused."""
    data = given.get("price_data")
    if isinstance(data, dict):
        return create(account, data, f"{param}[price_data]")
    return known(account, str(given.get("price", "")), f"{param}[price]")


def known(account: Account, id_: str, param: str = "id") -> Thing:
    """The price with this id, of the account or of the app's catalog. Raises Refused with 404."""
    return account.get("price", id_) or _of_catalog(account, id_) or account.need("price", id_, param)


def others(account: Account, price: Thing) -> list[Thing]:
    """The recurring prices that a subscription can change to from `price`, without those of the catalog's plans.

    Each checkout with `price_data` creates a price; of equal prices only one is returned.
    """
    plans = {_terms(_plan_price(account, plan)) for plan in _plans(account)}
    found = {_terms(other): other for other in reversed(account.each("price", currency=price["currency"]))}
    return [
        other for terms, other in reversed(found.items()) if other["recurring"] and terms not in (_terms(price), *plans)
    ]


def other_plans(account: Account, subscription: Thing) -> list[tuple[str, Thing]]:
    """The catalog's plans that the subscription can change to, as (key, price)."""
    present = subscription["items"]["data"][0]["price"]
    found = [(plan.key, _plan_price(account, plan)) for plan in _plans(account)]
    return [
        (key, price)
        for key, price in found
        if price["currency"] == subscription["currency"]
        and price["id"] != present["id"]
        and (key != subscription["metadata"].get("plan") or _terms(price)[1:] != _terms(present)[1:])
    ]


def of_plan(account: Account, key: str) -> Thing:
    """The price of a plan of the app's catalog. Raises Refused with 404 if there is no such plan."""
    plans = {plan.key: plan for plan in _plans(account)}
    if key not in plans:
        choice = f"The plans are {', '.join(plans)}." if plans else "It has no plans."
        raise Refused(f"The catalog has no plan {key[:50]!r}. {choice}", status=404, param="plan")
    return account.save(_plan_price(account, plans[key]))


def _plans(account: Account) -> list[Plan]:
    app = _app(account)
    return list(app.plans.values()) if app else []


def _plan_price(account: Account, plan: Plan) -> Thing:
    """The plan's `stripe_price`, or a price as a checkout creates it, with a stable id."""
    id_ = plan.stripe_price or _default_id(account, plan)
    app = _app(account)
    assert app is not None
    return account.get("price", id_) or _of_plan(account, app, plan, id_)


def offers(account: Account, subscription: Thing, item: Thing) -> list[tuple[str, Thing]]:
    """All prices of the catalog's plans that the item can have, as (key of the plan, price), the present one first.

    A checkout with `price_data` creates a price of its own: it counts as that of its plan.
    """
    present = item["price"]
    is_only = len(subscription["items"]["data"]) == 1
    by_metadata = subscription["metadata"].get("plan") if is_only else None
    named = plan_of(account, present["id"]) or by_metadata or present["_name"]
    found = [(plan.key, price) for plan in _plans(account) for price in _prices_of(account, plan)]
    others_ = [
        (key, price)
        for key, price in found
        if price["currency"] == subscription["currency"]
        and price["id"] != present["id"]
        and (key != named or _terms(price)[1:] != _terms(present)[1:])
    ]
    return [(named, present), *others_]


def plan_of(account: Account, price_id: str) -> str | None:
    """The key of the catalog's plan that has this price, or None."""
    return next((plan.key for plan in _plans(account) if price_id in _ids_of(account, plan)), None)


def _prices_of(account: Account, plan: Plan) -> list[Thing]:
    app = _app(account)
    assert app is not None
    return [account.get("price", id_) or _of_plan(account, app, plan, id_) for id_ in _ids_of(account, plan)]


def _ids_of(account: Account, plan: Plan) -> tuple[str, ...]:
    return plan.prices or (_default_id(account, plan),)


def _default_id(account: Account, plan: Plan) -> str:
    """The stable id of a plan's price that has no `stripe_price` in the catalog."""
    return f"price_{account.name}_{plan.key}_{plan.price_minor}"


def _terms(price: Thing) -> tuple[object, ...]:
    recurring = price["recurring"] or {}
    return price["_name"], price["unit_amount"], recurring.get("interval"), recurring.get("interval_count")


def create(account: Account, data: Thing, param: str = "price_data") -> Thing:
    """Create a price from the API's parameters. Raises Refused."""
    product = data.get("product_data")
    name = product.get("name") if isinstance(product, dict) else _name_of(account, data.get("product"))
    if not (name or data.get("product")):
        raise Refused("You must pass product or product_data[name].", param=f"{param}[product_data]")
    currency = str(data.get("currency", ""))
    if len(currency) != 3 or not currency.isalpha():
        raise Refused(f"Invalid currency: {currency}.", param=f"{param}[currency]")
    recurring = _recurring(data.get("recurring"), f"{param}[recurring]")
    unit_amount = whole(data, "unit_amount")
    price = _price(account, new_id("price"), name or data["product"], unit_amount, currency, recurring)
    price.update(metadata=metadata(data), nickname=data.get("nickname"))
    return account.save({**price, "product": data.get("product") or price["product"]})


def _recurring(given: object, param: str) -> Thing | None:
    """The interval of a price, or None for a price sold once. Raises Refused."""
    if not given:
        return None
    if not isinstance(given, dict) or given.get("interval") not in INTERVALS:
        raise Refused(f"Invalid interval: must be one of {', '.join(INTERVALS)}", param=param)
    interval, count = given["interval"], whole(given, "interval_count", 1, 1)
    if count > LONGEST[interval]:
        raise Refused(f"An interval has at most {LONGEST[interval]} {interval}s.", param=f"{param}[interval_count]")
    return {"interval": interval, "interval_count": count}


def _name_of(account: Account, product: str | None) -> str | None:
    known = next(iter(account.each("price", product=product)), None) if product else None
    return known["_name"] if known else None


def _price(account: Account, id_: str, name: str, unit_amount: int, currency: str, recurring: Thing | None) -> Thing:
    count = (recurring or {}).get("interval_count", 1)
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
        "unit_amount": unit_amount,
        "unit_amount_decimal": str(unit_amount),
        "_name": name,
    }


def _app(account: Account) -> App | None:
    return next((app for app in catalog.current() if app.slug == account.name), None)


def _of_catalog(account: Account, id_: str) -> Thing | None:
    """The price of the app's catalog with this `stripe_price`, created at its first use; or None."""
    app = _app(account)
    if app is None or not id_:
        return None
    pack, plan = app.pack_by_stripe_price(id_), app.plan_by_stripe_price(id_)
    if pack:
        name = f"{app.name}: {formatting.count(pack.units, app.unit)}"
        return account.save(_price(account, id_, name, pack.price_minor, pack.currency, None))
    return account.save(_of_plan(account, app, plan, id_)) if plan else None


def _of_plan(account: Account, app: App, plan: Plan, id_: str) -> Thing:
    """A price of the plan. The end of a further price's id (`price_pro_year`) names its interval; else it is monthly.

    The catalog states only the price of a month: other intervals cost their share of twelve months.
    """
    match = INTERVAL_OF_ID.search(id_) if id_ != plan.stripe_price else None
    interval, count = (match[2], int(match[1] or 1)) if match else ("month", 1)
    months = {"day": Decimal(12) / 365, "week": Decimal(12) / 52, "month": Decimal(1), "year": Decimal(12)}[interval]
    minor = int((plan.price_minor * months * count).quantize(Decimal(1), ROUND_HALF_UP))
    per = "month" if interval in ("month", "year") else interval
    name = f"{app.name}: {formatting.count(plan.units, app.unit)} a {per}"
    return _price(account, id_, name, minor, plan.currency, {"interval": interval, "interval_count": count})


# --- the list


def add_catalog_prices(account: Account) -> None:
    """Create the catalog's prices that have a `stripe_price`, if the account does not have them yet."""
    app = _app(account)
    packs = [pack.stripe_price for pack in app.packs.values()] if app else []
    plans = [id_ for plan in app.plans.values() for id_ in plan.prices] if app else []
    for id_ in filter(None, [*packs, *plans]):
        known(account, id_)
