"""What a checkout sells and on which terms, by the catalog at the time of sale."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NoReturn
from urllib.parse import urlsplit

from jobs.providers.paypal import checkout as paypal_checkout
from jobs.providers.stripe import client
from jobs.providers.stripe.billing import prices
from models import customers, durations, money
from models.catalog.apps import App, Pack, Plan
from models.errors import AlreadySubscribed, Invalid, ProviderRefused, TierRequired
from models.plans import listing
from settings import settings

MOST_UNITS = 10**12
DEFAULT_PORTS = {"http": 80, "https": 443}


def sold(app: App, content: dict[str, Any], *, now: datetime) -> Pack | Plan:
    """The requested pack or plan, after the checks that need the catalog or the customer.

    Raises:
        Invalid: it is not in the catalog, or too much; or a URL's host is not allowed.
        TierRequired: the pack is for another tier.
        AlreadySubscribed: the customer has the plan, and did not ask for another one.
    """
    named = _named(app, content)
    if named.units * content["quantity"] > MOST_UNITS:
        raise Invalid([("quantity", f"comes to more than {MOST_UNITS} units")])
    check_hosts(app, content, ("success_url", "cancel_url"))
    required = named.requires_tier if isinstance(named, Pack) else None
    if required and customers.tier(app, content["customer"], now=now) != required:
        raise TierRequired(f"{named.key} is for the tier {required!r}", reasons=["tier"])
    if isinstance(named, Plan) and not content.get("another"):
        running = listing.running_with(app.slug, content["customer"], named.key, now=now)
        if running is not None:
            raise AlreadySubscribed(
                f"{content['customer']!r} has a running subscription to {named.key!r}; change its quantity, or send"
                ' "another": true to sell another one',
                subscription=running,
            )
    return named


def check_hosts(app: App, content: dict[str, Any], fields: Iterable[str]) -> None:
    """Check that the hosts of the URLs are among `return_hosts` of the catalog, if it has any.

    A host without a port allows the default port only. The sandbox's own pages are allowed in a sandbox.

    Raises:
        Invalid: naming the fields.
    """
    allowed = app.checkout.return_hosts
    if not allowed:
        return
    own = [urlsplit(settings.sandbox_url).netloc] if settings.sandbox and settings.sandbox_url else []
    bad = [field for field in fields if not _hosts(content[field]) & {*allowed, *own}]
    if bad:
        raise Invalid([(field, f"its host must be one of {', '.join(allowed)}") for field in bad])


def _hosts(url: str) -> set[str]:
    """The ways in which a list may name the host of the URL."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".").lower()
    default = DEFAULT_PORTS.get(parts.scheme)
    port = parts.port if parts.port is not None else default
    return {f"{host}:{port}", *((host,) if port == default else ())}


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


def terms(app: App, content: dict[str, Any], thing: Pack | Plan) -> dict[str, Any]:
    """The columns of a checkout that promise what is sold.

    Raises:
        Invalid: the provider cannot sell it.
        ProviderAway: the price could not be read.
    """
    provider = content.get("provider") or ("stripe" if "stripe_price" in content else app.provider)
    _check_provider(app, provider, content, thing)
    price = content.get("stripe_price") or thing.stripe_price
    amount_minor, currency = _amount(app, thing, price)
    lifetime = thing.expires_after
    return {
        "pack": thing.key if isinstance(thing, Pack) else None,
        "plan": thing.key if isinstance(thing, Plan) else None,
        "quantity": content["quantity"],
        "units": thing.units,
        "price_minor": amount_minor,
        "currency": currency,
        "expires_after": lifetime if lifetime is None or isinstance(lifetime, str) else durations.write(lifetime),
        "refundable": thing.refundable if isinstance(thing, Pack) else True,
        "title": _title(app, thing),
        "stripe_price": price,
        "email": content.get("email"),
        "provider": provider,
    }


def _amount(app: App, thing: Pack | Plan, price: str | None) -> tuple[int, str]:
    """What one costs: by the catalog, or at a further price of a plan, such as one by the year, by Stripe."""
    if price == thing.stripe_price or price is None:
        return thing.price_minor, thing.currency
    try:
        found = prices.price(app, price)
    except ProviderRefused as refusal:
        raise Invalid([("stripe_price", refusal.detail)]) from refusal
    if found.amount_minor is None:
        return thing.price_minor, thing.currency
    return found.amount_minor, found.currency


def options(app: App, metadata: dict[str, str] | None) -> dict[str, Any]:
    """What a checkout passes on to the provider: the catalog's rules and the request's metadata."""
    rules = app.checkout
    return {
        "automatic_tax": rules.automatic_tax,
        "allow_promotion_codes": rules.allow_promotion_codes,
        "invoice_creation": rules.invoice_creation,
        "locale": rules.locale,
        "metadata": metadata or {},
    }


def _check_provider(app: App, provider: str, content: dict[str, Any], thing: Pack | Plan) -> None:
    if provider == "stripe" and not client.is_reachable(app):
        raise Invalid([("provider", "Stripe is not configured: set STRIPE_SECRET_KEY")])
    if provider == "paypal" and isinstance(thing, Plan) and not thing.paypal_plan:
        raise Invalid([("provider", f"must be stripe: the plan {thing.key!r} has no paypal_plan in the catalog")])
    if provider == "paypal" and "stripe_price" in content:
        raise Invalid([("provider", "must be stripe: stripe_price is a price at Stripe")])
    if provider == "paypal" and not paypal_checkout.is_reachable(app):
        raise Invalid([("provider", "PayPal is not configured: set PAYPAL_CLIENT_ID and PAYPAL_CLIENT_SECRET")])
    if provider == "paypal" and thing.price_minor == 0:
        raise Invalid([("provider", "must be stripe: PayPal does not accept a price of zero")])
    try:
        money.check_chargeable(thing.price_minor * content["quantity"], thing.currency, provider)
    except ValueError as reason:
        raise Invalid([("provider", str(reason))]) from None


def _title(app: App, thing: Pack | Plan) -> str:
    """The name of the item on the provider's page."""
    units = f"{thing.units:,} {app.unit}" if thing.units == 1 else f"{thing.units:,} {app.unit}s"
    return f"{app.name}: {units} a month" if isinstance(thing, Plan) else f"{app.name}: {units}"
