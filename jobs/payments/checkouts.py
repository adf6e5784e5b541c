"""Checkouts: pages of a provider on which a customer pays.

The row, with the terms of the sale, is committed before the provider is called. The call runs outside of any
transaction, under an idempotency key made of the checkout's id; then the row gets the provider's id and URL. After a
crash or a timeout in between, the same request continues from the row and returns the same session.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NoReturn

from jobs import idempotency
from jobs.providers.paypal import checkout as paypal_checkout
from jobs.providers.stripe import checkout as stripe_checkout
from jobs.providers.stripe import client
from models import customers, database, durations, money
from models.catalog.apps import App, Pack, Plan
from models.database import Connection
from models.errors import Conflict, Invalid, NotFound, ProviderRefused, ScripError, TierRequired
from models.ledger import accounts
from models.payments import checkouts
from models.tables import Checkout
from runtime.crashpoints import crashpoint

OPERATION = "CHECKOUT"
MOST_UNITS = 10**12
# Opens the checkout at the provider. Returns its id there, and the URL at which the customer pays.
OPENERS: dict[str, Callable[[App, Checkout], tuple[str, str]]] = {
    "stripe": stripe_checkout.open_session,
    "paypal": paypal_checkout.open_page,
}
# The field of the request body that a provider's parameter comes from.
FIELDS = {
    "customer_email": "email",
    "success_url": "success_url",
    "cancel_url": "cancel_url",
    "line_items[0][quantity]": "quantity",
}


def start(app: App, body: dict[str, Any], *, now: datetime) -> tuple[dict[str, Any], bool]:
    """Open a checkout. Returns (`{"id", "url", "provider"}`, whether it is new).

    Raises:
        Invalid: no such pack, plan or price, or the provider cannot sell it.
        TierRequired: the pack is for another tier.
        Conflict: the id is stored with other content.
        ProviderAway: the provider is unavailable; the same request can be sent again.
        ProviderRefused: the provider refused it. Nothing is stored.
    """
    checkout_id = body.get("id") or uuid.uuid4().hex
    content = {name: value for name, value in body.items() if name not in idempotency.NOT_CONTENT and value is not None}
    if content.get("provider") == app.provider:
        del content["provider"]  # it is the default: naming it does not make another checkout
    try:
        checkout = _stored(app, checkout_id, content) or _promise(app, checkout_id, content, now)
        return _open(app, checkout, now)
    except ScripError as refusal:
        details = {"key": f"checkout:{checkout_id}", "id": checkout_id, **content}
        idempotency.log_refusal(app.slug, OPERATION, body["customer"], details, refusal, now)
        raise


def get(app: App, checkout_id: str) -> dict[str, Any]:
    """A checkout in the form of the API: `{"id", "customer", "state", …}`.

    Raises:
        NotFound: the app has no such checkout.
    """
    checkout = checkouts.find(app.slug, checkout_id)
    if checkout is None:
        raise NotFound(f"no checkout {checkout_id!r}")
    return {
        "id": checkout.external_id,
        "customer": checkout.customer,
        "state": checkout.state,
        "provider": checkout.provider,
        "pack": checkout.pack,
        "plan": checkout.plan,
        "quantity": checkout.quantity,
        "units": checkout.units * checkout.quantity,
        "money": money.as_json(checkout.price_minor * checkout.quantity, checkout.currency),
        "url": checkout.url if checkout.state == "open" else None,
        "payment": checkout.payment_id,
        "created_at": checkout.created_at,
    }


def _stored(app: App, checkout_id: str, content: dict[str, Any]) -> Checkout | None:
    """The checkout of this id. Raises Conflict if it is stored with other content."""
    checkout = checkouts.find(app.slug, checkout_id)
    if checkout is not None and checkout.content != content:
        raise Conflict(f"checkout {checkout_id!r} is stored with other content", id=checkout_id)
    return checkout


def _promise(app: App, checkout_id: str, content: dict[str, Any], now: datetime) -> Checkout:
    """Store a new checkout with the terms that the catalog has now."""
    sold = _sold(app, content, now)
    values = {
        **_terms(app, content, sold),
        "app": app.slug,
        "external_id": checkout_id,
        "customer": content["customer"],
        "content": content,
        "success_url": content["success_url"],
        "cancel_url": content["cancel_url"],
        "now": now,
    }

    def work(conn: Connection) -> None:
        accounts.ensure(conn, app.slug, content["customer"], now=now)
        checkouts.insert(conn, values)

    database.transaction(work)
    crashpoint("checkout-promised")
    stored = _stored(app, checkout_id, content)  # a concurrent request may have stored other content first
    assert stored is not None
    return stored


def _open(app: App, checkout: Checkout, now: datetime) -> tuple[dict[str, Any], bool]:
    if checkout.url is not None:
        return _response(checkout, checkout.url), False
    database.release()
    try:
        provider_id, url = OPENERS[checkout.provider](app, checkout)
    except ProviderRefused as refusal:
        checkouts.delete_refused(app.slug, checkout.external_id)
        raise _error_of(refusal, checkout) from refusal
    crashpoint("checkout-opened")
    is_new = checkouts.complete(app.slug, checkout.external_id, provider_id, url, now=now)
    return _response(checkout, url), is_new


def _response(checkout: Checkout, url: str) -> dict[str, Any]:
    return {"id": checkout.external_id, "url": url, "provider": checkout.provider}


def _error_of(refusal: ProviderRefused, checkout: Checkout) -> ScripError:
    """`Invalid` if the refused parameter comes from a field of the request; else the refusal itself."""
    field = FIELDS.get(refusal.param)
    if field is None and checkout.content.get("stripe_price") and refusal.param == "line_items[0][price]":
        field = "stripe_price"
    return Invalid([(field, refusal.detail)]) if field else refusal


# --- what is sold, and on which terms


def _sold(app: App, content: dict[str, Any], now: datetime) -> Pack | Plan:
    """The requested pack or plan, after the checks that need the catalog or the customer."""
    sold = _named(app, content)
    at_paypal = content.get("provider", app.provider) == "paypal"
    if isinstance(sold, Plan) and content["quantity"] != 1 and not at_paypal:
        raise Invalid([("quantity", "must be 1 for a plan")])
    if sold.units * content["quantity"] > MOST_UNITS:
        raise Invalid([("quantity", f"comes to more than {MOST_UNITS} units")])
    required = sold.requires_tier if isinstance(sold, Pack) else None
    if required and customers.tier(app, content["customer"], now=now) != required:
        raise TierRequired(f"{sold.key} is for the tier {required!r}", reasons=["tier"])
    return sold


def _named(app: App, content: dict[str, Any]) -> Pack | Plan:
    if "pack" in content:
        return app.packs.get(content["pack"]) or _unknown("pack", content["pack"], app.packs)
    if "plan" in content:
        return app.plans.get(content["plan"]) or _unknown("plan", content["plan"], app.plans)
    price = content["stripe_price"]
    by_price = app.pack_by_stripe_price(price) or app.plan_by_stripe_price(price)
    if by_price is None:
        raise Invalid([("stripe_price", f"no pack or plan in the catalog has the price {price!r}")])
    return by_price


def _unknown(noun: str, key: str, known: Iterable[str]) -> NoReturn:
    raise Invalid([(noun, f"unknown {noun} {key!r}; the app has {', '.join(known) or 'none'}")])


def _terms(app: App, content: dict[str, Any], sold: Pack | Plan) -> dict[str, Any]:
    provider = content.get("provider") or ("stripe" if "stripe_price" in content else app.provider)
    _check_provider(app, provider, content, sold)
    lifetime = sold.expires_after
    return {
        "pack": sold.key if isinstance(sold, Pack) else None,
        "plan": sold.key if isinstance(sold, Plan) else None,
        "quantity": content["quantity"],
        "units": sold.units,
        "price_minor": sold.price_minor,
        "currency": sold.currency,
        "expires_after": lifetime if lifetime is None or isinstance(lifetime, str) else durations.write(lifetime),
        "refundable": sold.refundable if isinstance(sold, Pack) else True,
        "title": _title(app, sold),
        "stripe_price": sold.stripe_price,
        "email": content.get("email"),
        "provider": provider,
    }


def _check_provider(app: App, provider: str, content: dict[str, Any], sold: Pack | Plan) -> None:
    if provider == "stripe" and not client.is_reachable(app):
        raise Invalid([("provider", "Stripe is not configured: set STRIPE_SECRET_KEY")])
    if provider == "paypal" and isinstance(sold, Plan) and not sold.paypal_plan:
        raise Invalid([("provider", f"must be stripe: the plan {sold.key!r} has no paypal_plan in the catalog")])
    if provider == "paypal" and "stripe_price" in content:
        raise Invalid([("provider", "must be stripe: stripe_price is a price at Stripe")])
    if provider == "paypal" and not paypal_checkout.is_reachable(app):
        raise Invalid([("provider", "PayPal is not configured: set PAYPAL_CLIENT_ID and PAYPAL_CLIENT_SECRET")])
    if provider == "paypal" and sold.price_minor == 0:
        raise Invalid([("provider", "must be stripe: PayPal does not accept a price of zero")])
    try:
        money.check_chargeable(sold.price_minor * content["quantity"], sold.currency, provider)
    except ValueError as reason:
        raise Invalid([("provider", str(reason))]) from None


def _title(app: App, sold: Pack | Plan) -> str:
    """The name of the item on the provider's page."""
    units = f"{sold.units:,} {app.unit}" if sold.units == 1 else f"{sold.units:,} {app.unit}s"
    return f"{app.name}: {units} a month" if isinstance(sold, Plan) else f"{app.name}: {units}"
