"""Checkouts: a customer is sent to a provider to pay; what is promised is written down before.

The row is committed first, then the provider is asked, outside of any transaction and under an idempotency key of the
checkout's own, then the row is completed. Whoever crashed in between, or got no answer, sends the same request again:
it goes on from the row and gets the same session.
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
from models.errors import Conflict, Invalid, NotFound, ProviderRefused, ScripError, TierRequired
from models.ledger import accounts
from models.payments import checkouts
from models.payments.checkouts import Checkout
from runtime.crashpoints import crashpoint

OPERATION = "CHECKOUT"
MOST_UNITS = 10**12
# Opens the checkout at the provider: its id there, and where the customer pays.
OPENERS: dict[str, Callable[[App, Checkout], tuple[str, str]]] = {
    "stripe": stripe_checkout.open_session,
    "paypal": paypal_checkout.open_order,
}
# What of a provider's refusal is the fault of a field of ours.
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
        ProviderAway, ProviderRefused: of the first the same request again is right.
    """
    checkout_id = body.get("id") or uuid.uuid4().hex
    content = {name: value for name, value in body.items() if name not in idempotency.NOT_CONTENT and value is not None}
    if content.get("provider") == app.provider:
        del content["provider"]  # the one that is meant where none is named
    try:
        checkout = _stored(app, checkout_id, content) or _promise(app, checkout_id, content, now)
        return _open(app, checkout, now)
    except ScripError as refusal:
        details = {"key": f"checkout:{checkout_id}", "id": checkout_id, **content}
        idempotency.log_refusal(app.slug, OPERATION, body["customer"], details, refusal, now)
        raise


def get(app: App, checkout_id: str) -> dict[str, Any]:
    """A checkout as its client may see it: `{"id", "customer", "state", …}`.

    Raises:
        NotFound: the app has no such checkout.
    """
    it = checkouts.find(app.slug, checkout_id)
    if it is None:
        raise NotFound(f"no checkout {checkout_id!r}")
    return {
        "id": it.id,
        "customer": it.customer,
        "state": it.state,
        "provider": it.provider,
        "pack": it.pack,
        "plan": it.plan,
        "quantity": it.quantity,
        "units": it.units * it.quantity,
        "money": money.as_json(it.price_minor * it.quantity, it.currency),
        "url": it.url if it.state == "open" else None,
        "payment": it.payment_id,
        "created_at": it.created_at,
    }


def _stored(app: App, checkout_id: str, content: dict[str, Any]) -> Checkout | None:
    """The checkout of this id. Raises Conflict where it was another one."""
    known = checkouts.find(app.slug, checkout_id)
    if known is not None and known.content != content:
        raise Conflict(f"checkout {checkout_id!r} is stored with other content", id=checkout_id)
    return known


def _promise(app: App, checkout_id: str, content: dict[str, Any], now: datetime) -> Checkout:
    """Write down what is sold, as the catalog has it now."""
    sold = _sold(app, content)
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

    def work(conn: Any) -> None:
        accounts.ensure(conn, app.slug, content["customer"], now=now)
        checkouts.insert(conn, values)

    database.transaction(work)
    crashpoint("checkout-promised")
    stored = _stored(app, checkout_id, content)  # another request may have been first, with other content
    assert stored is not None
    return stored


def _open(app: App, checkout: Checkout, now: datetime) -> tuple[dict[str, Any], bool]:
    if checkout.url is not None:
        return _answer(checkout, checkout.url), False
    database.release()
    try:
        provider_id, url = OPENERS[checkout.provider](app, checkout)
    except ProviderRefused as refusal:
        checkouts.forget(app.slug, checkout.id)
        raise _told(refusal, checkout) from refusal
    crashpoint("checkout-opened")
    return _answer(checkout, url), checkouts.complete(app.slug, checkout.id, provider_id, url, now=now)


def _answer(checkout: Checkout, url: str) -> dict[str, Any]:
    return {"id": checkout.id, "url": url, "provider": checkout.provider}


def _told(refusal: ProviderRefused, checkout: Checkout) -> ScripError:
    """The refusal, as the fault of the field that the client gave, where it is one."""
    field = FIELDS.get(refusal.param)
    if field is None and checkout.content.get("stripe_price") and refusal.param == "line_items[0][price]":
        field = "stripe_price"
    return Invalid([(field, refusal.detail)]) if field else refusal


# --- what is sold, and on which terms


def _sold(app: App, content: dict[str, Any]) -> Pack | Plan:
    """The pack or plan that is asked for, checked for this customer."""
    sold = _named(app, content)
    if isinstance(sold, Plan) and content["quantity"] != 1:
        raise Invalid([("quantity", "must be 1 for a plan")])
    if sold.units * content["quantity"] > MOST_UNITS:
        raise Invalid([("quantity", f"comes to more than {MOST_UNITS} units")])
    required = sold.requires_tier if isinstance(sold, Pack) else None
    if required and customers.tier(app, content["customer"]) != required:
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
        raise Invalid([("stripe_price", f"no pack and no plan of the catalog has the price {price!r}")])
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
        raise Invalid([("provider", "Stripe is not set up here: it has no STRIPE_SECRET_KEY")])
    if provider == "paypal" and isinstance(sold, Plan):
        raise Invalid([("provider", "plans are sold through stripe only")])
    if provider == "paypal" and "stripe_price" in content:
        raise Invalid([("provider", "a price of Stripe's is sold through stripe only")])
    if provider == "paypal" and not paypal_checkout.is_reachable(app):
        raise Invalid([("provider", "PayPal is not set up here: it has no PAYPAL_CLIENT_ID and secret")])
    if provider == "paypal" and sold.price_minor == 0:
        raise Invalid(
            [("provider", "PayPal sells nothing for free: a pack without a price is sold through stripe only")]
        )
    try:
        money.check_chargeable(sold.price_minor * content["quantity"], sold.currency, provider)
    except ValueError as reason:
        raise Invalid([("provider", str(reason))]) from None


def _title(app: App, sold: Pack | Plan) -> str:
    """What the provider's page says is bought."""
    units = f"{sold.units:,} {app.unit}" if sold.units == 1 else f"{sold.units:,} {app.unit}s"
    return f"{app.name}: {units} a month" if isinstance(sold, Plan) else f"{app.name}: {units}"
