"""PayPal's billing plans: those of the app's catalog (`paypal_plan`), and those that the API creates."""

from __future__ import annotations

import re

from models import money
from models.catalog import catalog
from models.catalog.apps import Plan
from sandbox import formatting
from sandbox.paypal.objects import Unprocessable, amount_of, link, new_id
from sandbox.store.account import Account, Refused, written
from sandbox.store.store import Thing

PLAN = "paypal.plan"
UNITS = {"DAY": "day", "WEEK": "week", "MONTH": "month", "YEAR": "year"}
# The prices of free trials.
FREE = re.compile(r"0*\.?0+")
TENURES = ("TRIAL", "REGULAR")
# After so many failed payments in a row PayPal suspends the subscription.
FAILURES = 3


def need(account: Account, id_: object) -> Thing:
    """A plan by id. Raises Refused with 404."""
    plan = account.get(PLAN, id_) or _of_catalog(account, str(id_))
    if plan is None:
        raise Refused("The specified resource does not exist.", status=404, code="INVALID_RESOURCE_ID")
    return plan


def _of_catalog(account: Account, id_: str) -> Thing | None:
    """The catalog's plan with this `paypal_plan`, billed by the month; created at its first use."""
    app = next((app for app in catalog.current() if app.slug == account.name), None)
    sold = app.plan_by_paypal_plan(id_) if app and id_ else None
    if app is None or sold is None:
        return None
    name = f"{app.name}: {formatting.count(sold.units, app.unit)} a month"
    return account.save(_plan(account, id_, name, f"PROD-{app.slug}", [_cycle(sold)], None), PLAN)


def _cycle(sold: Plan) -> Thing:
    price = {"value": money.paypal_value(sold.price_minor, sold.currency), "currency_code": sold.currency.upper()}
    return {
        "frequency": {"interval_unit": "MONTH", "interval_count": 1},
        "tenure_type": "REGULAR",
        "sequence": 1,
        "total_cycles": 0,
        "pricing_scheme": {"fixed_price": price},
    }


def create(account: Account, body: Thing) -> Thing:
    """Create a plan from the API's body. Raises Refused."""
    cycles = body.get("billing_cycles")
    if not body.get("name") or not isinstance(cycles, list) or not cycles:
        raise Refused("A plan needs a name and billing_cycles.", code="MISSING_REQUIRED_PARAMETER")
    read = sorted((_read_cycle(cycle) for cycle in cycles), key=lambda cycle: int(cycle["sequence"]))
    if read[-1]["tenure_type"] != "REGULAR":
        raise Unprocessable("INVALID_BILLING_CYCLE_SEQUENCE", "The last billing cycle must be a regular one.")
    fee = (body.get("payment_preferences") or {}).get("setup_fee")
    plan = _plan(account, f"P-{new_id()}", str(body["name"]), str(body.get("product_id", "PROD")), read, fee)
    return account.save(plan, PLAN)


def _read_cycle(given: Thing) -> Thing:
    frequency, tenure = given["frequency"], given["tenure_type"]
    unit, count = frequency["interval_unit"], int(frequency.get("interval_count", 1))
    if unit not in UNITS or not 1 <= count <= 365 or tenure not in TENURES:
        raise Unprocessable("INVALID_PARAMETER_VALUE", f"The billing cycle is {given!r}"[:200])
    price = (given.get("pricing_scheme") or {}).get("fixed_price")
    if price is None and tenure != "TRIAL":
        raise Unprocessable("MISSING_REQUIRED_PARAMETER", "A regular billing cycle needs a pricing_scheme.")
    if price and not FREE.fullmatch(str(price.get("value"))):
        price = amount_of(price)
    return {
        "frequency": {"interval_unit": unit, "interval_count": count},
        "tenure_type": tenure,
        "sequence": int(given["sequence"]),
        "total_cycles": int(given.get("total_cycles", 1 if tenure == "TRIAL" else 0)),
        **({"pricing_scheme": {"fixed_price": price}} if price else {}),
    }


def _plan(account: Account, id_: str, name: str, product: str, cycles: list[Thing], setup_fee: Thing | None) -> Thing:
    currency = price_of(cycles[-1])["currency_code"]
    fee = setup_fee or {"value": "0.0", "currency_code": currency}
    return {
        "id": id_,
        "product_id": product,
        "name": name,
        "status": "ACTIVE",
        "billing_cycles": cycles,
        "payment_preferences": {
            "service_type": "PREPAID",
            "auto_bill_outstanding": True,
            "setup_fee": fee,
            "setup_fee_failure_action": "CANCEL",
            "payment_failure_threshold": FAILURES,
        },
        "quantity_supported": True,
        "create_time": written(account.moment),
        "update_time": written(account.moment),
        "links": [link(f"{account.url}/paypal/v1/billing/plans/{id_}", "self")],
    }


def price_of(cycle: Thing) -> Thing:
    """The price of a billing cycle as {"value", "currency_code"}; a free trial has none and costs "0"."""
    price: Thing = (cycle.get("pricing_scheme") or {}).get("fixed_price") or {"value": "0", "currency_code": ""}
    return price


def currency_of(plan: Thing) -> str:
    """The currency of a plan."""
    return str(price_of(plan["billing_cycles"][-1])["currency_code"])
