"""A demo shop: does what an app's site and back end do, through Scrip's API with the app's sandbox key."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import quote, urlencode

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from models import money
from models.catalog import catalog
from sandbox import formatting, scrip
from sandbox.context import current
from sandbox.pages import outcomes
from sandbox.pages.portal import expect_app
from sandbox.store.account import Refused
from sandbox.store.store import Thing

blueprint = Blueprint("shop", __name__)
DEMO = "demo"
MOST_ENTRIES = 10
# The maximum quantity of Scrip's POST /v1/checkout.
MOST_PACKS = 10_000
START_SCRIP = "Start Scrip with: make run. Then try again."


def _call(app: str, method: str, path: str, body: Thing | None = None) -> tuple[int, Any]:
    return scrip.call(current().receiver, app, method, path, body)


def _get(app: str, path: str, what: str) -> Any:
    """The body of a GET at Scrip; `what` names it in errors. Raises Refused."""
    status, answer = _call(app, "GET", path)
    if status == 0:
        raise Refused(f"Scrip does not respond: {answer}.", status=502, hint=START_SCRIP)
    if status != 200:
        raise Refused(f"Scrip did not return {what}: {scrip.reason(answer)}", status=404)
    return answer


# --- the shop


@blueprint.get("/shop/<app>")
def shop(app: str) -> str:
    """The packs and plans of the app's catalog, for a customer."""
    expect_app(app)
    sold = _get(app, "/v1/catalog", f"the catalog of {app}")
    customer = request.args.get("customer", DEMO).strip() or DEMO
    left = request.args.get("left")
    return render_template(
        "shop.html",
        app=app,
        catalog=sold,
        customer=customer,
        tier=_tier(app, customer),
        left=_abandoned(app, left) if left else None,
        ways={key: _ways(app, pack["price"]) for key, pack in sold["packs"].items()},
        plan_ways={key: _ways(app, plan["price"], key) for key, plan in sold["plans"].items()},
        typed=request.args,
        most=MOST_PACKS,
    )


def _tier(app: str, customer: str) -> str | None:
    """The customer's tier; None for a customer that Scrip does not know."""
    status, answer = _call(app, "GET", scrip.of_customer(customer))
    return answer["tier"] if status == 200 else None


def _abandoned(app: str, checkout: str) -> Thing:
    """The checkout whose payment page the buyer left; `pay` is the address of that page."""
    status, answer = _call(app, "GET", f"/v1/checkouts/{quote(checkout, safe='')}")
    return {"pay": answer["url"] if status == 200 else None}


def _ways(app: str, price: dict[str, str], plan: str | None = None) -> Thing:
    """The providers that can sell a pack or the plan, and why others cannot (`why_not`).

    `providers` has the app's own first.
    """
    usual = catalog.current()[app].provider if app in catalog.current() else "stripe"
    both = ("paypal", "stripe") if usual == "paypal" else ("stripe", "paypal")
    reasons = {provider: _why_not(provider, price["amount"], price["currency"]) for provider in both}
    if plan and not _has_paypal_plan(app, plan):
        reasons["paypal"] = "This plan has no plan at PayPal (paypal_plan)."
    providers = [provider for provider in both if not reasons[provider]]
    return {"providers": providers, "why_not": [reason for reason in reasons.values() if reason]}


def _has_paypal_plan(app: str, plan: str) -> bool:
    known = catalog.current()
    declared = known[app].plans.get(plan) if app in known else None
    return bool(declared and declared.paypal_plan)


def _why_not(provider: str, amount: str, currency: str) -> str:
    """Why the provider cannot charge the amount; empty if it can."""
    minor = money.to_minor(amount, currency)
    if provider == "paypal" and minor == 0:
        return "PayPal does not accept free orders."
    if provider == "paypal" and currency.lower() not in money.AT_PAYPAL:
        return f"PayPal does not accept {currency.upper()}."
    try:
        money.check_chargeable(minor, currency, provider)
    except ValueError as reason:
        return f"{reason}."
    return ""


@blueprint.post("/shop/<app>")
def buy(app: str) -> AnyResponse:
    """Create a checkout with POST /v1/checkout and redirect to the payment page."""
    expect_app(app)
    provider, kind, key = _chosen(request.form.get("item", ""))
    if kind not in ("pack", "plan"):
        raise Refused("No pack or plan was selected.", hint="Select one in the shop.")
    checkout = f"shop-{secrets.token_hex(8)}"
    customer = request.form.get("customer", "")
    many = _quantity(f"{'quantity' if kind == 'pack' else 'seats'}-{key}")
    # A plan for one needs no quantity.
    quantity = {"quantity": many} if kind == "pack" or many > 1 else {}
    body = {"id": checkout, kind: key, "provider": provider, **quantity, **_pages(app, customer, checkout)}
    status, answer = _call(app, "POST", "/v1/checkout", body)
    if status == 0:
        raise Refused(f"Scrip does not respond: {answer}.", status=502, hint=START_SCRIP)
    if status not in (200, 201):
        raise Refused(f"Scrip rejected the checkout: {scrip.reason(answer)}", hint="Select another item in the shop.")
    return redirect(answer["url"], 303)


def _quantity(field: str) -> int:
    """The quantity of a pack, or the seats of a plan. Raises Refused."""
    text = request.form.get(field, "").strip() or "1"
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MOST_PACKS):
        raise Refused(f"The quantity must be a whole number from 1 to {MOST_PACKS:,}, not {text[:20]}.")
    return int(text)


def _chosen(item: str) -> tuple[str, str, str]:
    """The provider, "pack" or "plan", and its key; empty strings for missing parts."""
    provider, _, sold = item.partition(":")
    kind, _, key = sold.partition(":")
    return provider, kind, key


def _pages(app: str, customer: str, checkout: str) -> dict[str, str]:
    """The customer and the return addresses, as fields of POST /v1/checkout."""
    url, named = current().url, {"customer": customer}
    # Stripe replaces the placeholder with the session's id; PayPal adds the order's id as `token`.
    thanks = f"{urlencode({**named, 'checkout': checkout})}&session={{CHECKOUT_SESSION_ID}}"
    left = urlencode({**named, "left": checkout})
    return {
        **named,
        "success_url": f"{url}/thanks/{quote(app)}?{thanks}",
        "cancel_url": f"{url}/shop/{quote(app)}?{left}",
    }


@blueprint.post("/shop/<app>/tier")
def set_tier(app: str) -> AnyResponse:
    """Set a customer's tier with PATCH /v1/customers/{customer}."""
    expect_app(app)
    customer = request.form.get("customer", "")
    status, answer = _call(app, "PATCH", scrip.of_customer(customer), {"tier": request.form.get("tier") or None})
    if status != 200:
        raise Refused(f"Scrip did not set the tier: {scrip.reason(answer)}")
    return redirect(f"/shop/{quote(app)}?{urlencode({'customer': customer})}", 303)


# --- after the payment


@blueprint.get("/thanks/<app>")
def thanks(app: str) -> str:
    """The page that buyers return to: the state of the payment, and the balance."""
    expect_app(app)
    customer = request.args.get("customer", DEMO)
    balance = _get(app, scrip.of_customer(customer, "balance"), "the balance")
    with current().account(app) as account:
        paid_at = request.args.get("token") or request.args.get("session", "")
        outcome, details = outcomes.of(account, paid_at)
        deliver = account.ways.deliver
    checkout = _checkout(app, request.args.get("checkout", ""))
    if outcome == "unknown" and checkout:
        outcome = "paid" if checkout["state"] == "paid" else "waiting"
    return render_template(
        "thanks.html",
        app=app,
        customer=customer,
        balance=balance,
        outcome=outcome,
        details=details or {},
        checkout=checkout,
        bought=_bought(app, checkout) if checkout else None,
        deliver=deliver,
        moving=outcome in outcomes.MOVING,
    )


def _checkout(app: str, id_: str) -> Thing | None:
    """The checkout as Scrip has it, or None."""
    status, answer = _call(app, "GET", f"/v1/checkouts/{quote(id_, safe='')}") if id_ else (404, None)
    return answer if status == 200 else None


def _bought(app: str, checkout: Thing) -> Thing:
    """Texts about what a checkout sells; `price` is the catalog's, monthly for a plan."""
    known = catalog.current()
    unit = known[app].unit if app in known else "unit"
    monthly = " a month" if checkout["plan"] else ""
    price = formatting.decimal_price(checkout["money"]["amount"], checkout["money"]["currency"])
    return {
        "what": formatting.count(checkout["units"], unit) + monthly,
        "price": price + monthly,
        "is_plan": bool(checkout["plan"]),
    }


@blueprint.get("/customer/<app>")
def customer(app: str) -> str:
    """A customer at Scrip: the balance, the tier and the newest entries."""
    expect_app(app)
    name = request.args.get("customer", DEMO)
    balance = _get(app, scrip.of_customer(name, "balance"), "the balance")
    path = f"{scrip.of_customer(name, 'entries')}?limit={MOST_ENTRIES}"
    status, answer = _call(app, "GET", path)
    entries = answer["entries"] if status == 200 else []
    return render_template(
        "customer.html", app=app, customer=name, balance=balance, tier=_tier(app, name), entries=entries
    )
