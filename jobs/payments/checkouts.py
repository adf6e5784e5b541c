"""Checkouts: pages of a provider on which a customer pays.

The row, with the terms of the sale, is committed before the provider is called. The call runs outside of any
transaction, under an idempotency key made of the checkout's id; then the row gets the provider's id and URL. After a
crash or a timeout in between, the same request continues from the row and returns the same session.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from jobs import idempotency
from jobs.payments import offers, own_customers
from jobs.providers.paypal import checkout as paypal_checkout
from models import database, money
from models.catalog.apps import App, Pack
from models.database import Connection
from models.errors import Conflict, Invalid, LimitReached, NotFound, ProviderRefused, ScripError
from models.ledger import accounts
from models.payments import checkouts, purchase_limits
from models.tables import Checkout
from runtime.crashpoints import crashpoint

OPERATION = "CHECKOUT"
# Opens the checkout at the provider. Returns its id there, and the URL at which the customer pays.
OPENERS: dict[str, Callable[[App, Checkout], tuple[str, str]]] = {
    "stripe": own_customers.open_session,
    "paypal": paypal_checkout.open_page,
}
# The field of the request body that a provider's parameter comes from.
FIELDS = {
    "customer_email": "email",
    "email": "email",
    "success_url": "success_url",
    "cancel_url": "cancel_url",
    "line_items[0][quantity]": "quantity",
}


def start(app: App, body: dict[str, Any], *, now: datetime, is_own_id: bool = False) -> tuple[dict[str, Any], bool]:
    """Open a checkout. Returns (`{"id", "url", "provider"}`, whether it is new).

    `is_own_id`: the id is private to the customer, whose token gave it.

    Raises:
        Invalid: no such pack, plan or price, the provider cannot sell it, or a URL's host is not allowed.
        TierRequired: the pack is for another tier.
        AlreadySubscribed, LimitReached: the customer has it already.
        Conflict: the id is stored with other content.
        ProviderAway: the provider is unavailable; the same request can be sent again.
        ProviderRefused: the provider refused it. Nothing is stored.
    """
    given_id = body.get("id") or uuid.uuid4().hex
    checkout_id = checkouts.private_id(body["customer"], given_id) if is_own_id else given_id
    content = _content(app, body)
    try:
        checkout = _stored(app, checkout_id, content) or _promise(
            app, checkout_id, given_id, content, body.get("metadata"), now
        )
        return _open(app, checkout, now)
    except ScripError as refusal:
        details = {"key": f"checkout:{checkout_id}", "id": given_id, **content}
        idempotency.log_refusal(app.slug, OPERATION, body["customer"], details, refusal, now)
        raise


def _content(app: App, body: dict[str, Any]) -> dict[str, Any]:
    """What must be the same in a repeated request. A default that is named does not make another checkout."""
    content = {name: value for name, value in body.items() if name not in idempotency.NOT_CONTENT and value is not None}
    if content.get("provider") == app.provider:
        del content["provider"]
    if not content.get("another"):
        content.pop("another", None)
    return content


def get(app: App, checkout_id: str, *, owner: str | None = None, is_token: bool = False) -> dict[str, Any]:
    """A checkout in the form of the API: `{"id", "customer", "state", …}`.

    `owner`: the customer whose token gave the id. `is_token`: a token asks, which may also read other checkouts of its
    customer, and of no other.

    Raises:
        NotFound: there is no such checkout.
    """
    checkout = checkouts.find(app.slug, checkouts.private_id(owner, checkout_id)) if owner else None
    if checkout is None and (owner is None or is_token):
        checkout = checkouts.find(app.slug, checkout_id)
    if checkout is None or (is_token and checkout.customer != owner):
        raise NotFound(f"no checkout {checkout_id!r}")
    return {
        "id": checkouts.shown_id(checkout),
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
        shown = checkouts.shown_id(checkout)
        raise Conflict(f"checkout {shown!r} is stored with other content", id=shown)
    return checkout


def _promise(
    app: App, checkout_id: str, given_id: str, content: dict[str, Any], metadata: dict[str, str] | None, now: datetime
) -> Checkout:
    """Store a new checkout with the terms that the catalog has now."""
    sold = offers.sold(app, content, now=now)
    values = {
        **offers.terms(app, content, sold),
        "app": app.slug,
        "external_id": checkout_id,
        "given_id": given_id if given_id != checkout_id else None,
        "customer": content["customer"],
        "content": content,
        "options": offers.options(app, metadata),
        "success_url": content["success_url"],
        "cancel_url": content["cancel_url"],
        "now": now,
    }

    def work(conn: Connection) -> None:
        account_id = accounts.ensure(conn, app.slug, content["customer"], now=now)
        if isinstance(sold, Pack) and sold.limit_per_customer:
            purchase_limits.lock(conn, account_id)
            if not checkouts.is_stored(app.slug, checkout_id):
                _check_limit(conn, app, sold, account_id, content, now)
        checkouts.insert(conn, values)

    database.transaction(work)
    crashpoint("checkout-promised")
    stored = _stored(app, checkout_id, content)  # a concurrent request may have stored other content first
    assert stored is not None
    return stored


def _check_limit(
    conn: Connection, app: App, pack: Pack, account_id: int, content: dict[str, Any], now: datetime
) -> None:
    """Raises LimitReached if the customer, whose account is locked, would have bought more than the pack allows."""
    limit, customer = pack.limit_per_customer, content["customer"]
    bought = purchase_limits.bought(conn, app.slug, account_id, customer, pack.key, now=now)
    if bought + content["quantity"] > limit:
        raise LimitReached(
            f"a customer may buy {pack.key!r} {limit} times; {customer!r} has bought or opened {bought} already",
            limit=limit,
            bought=bought,
        )


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
    return {"id": checkouts.shown_id(checkout), "url": url, "provider": checkout.provider}


def _error_of(refusal: ProviderRefused, checkout: Checkout) -> ScripError:
    """`Invalid` if the refused parameter comes from a field of the request; else the refusal itself."""
    field = FIELDS.get(refusal.param)
    if field is None and checkout.content.get("stripe_price") and refusal.param == "line_items[0][price]":
        field = "stripe_price"
    return Invalid([(field, refusal.detail)]) if field else refusal
